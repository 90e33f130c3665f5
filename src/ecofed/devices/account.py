"""What a device has given away so far, and the secret that its noise is drawn from.

Noise is a function of the secret and of what it is for, so that whoever asks for the same thing twice gets the same
bytes, and learns nothing more: a repeated request costs nothing, and a device that is killed between drawing and
sending has not spent twice. Everything else is added up, and refused where it would exceed what the device allows.
What is spent reaches the disk before anything leaves the device.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

from ecofed.config.accountant import composed, epsilon_of
from ecofed.errors import ConfigError, DeviceError
from ecofed.files.disk import json_text, read_text, write_bytes
from ecofed.files.json_values import Within, parse, read_as
from ecofed.files.ownership import owned

SCHEMA = "ecofed-privacy-account/1"
SECRET_BYTES = 32
#: A device that was asked for so many different things refuses others: its file stays readable.
MOST_ENTRIES = 100_000
#: How long an answer waits while other processes of the device put down what they spend, which takes milliseconds each.
WAIT_SECONDS = 10.0

_Spent = Annotated[float, Within(0, 1e12)]


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What the device's owner lets it give away, in all runs together, whatever a server asks for. ``None``: what runs
    say."""

    epsilon: float | None = None
    """Of each image."""
    delta: float = 1e-5
    label_epsilon: float | None = None
    """Of each image's label, by itself."""

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return self.epsilon is not None or self.label_epsilon is not None


@dataclass(frozen=True, kw_only=True)
class Promised:
    """What a run says of each image; a server that asks for more breaks its own word."""

    run: str
    epsilon: float
    delta: float

    def check(self, mus: Mapping[str, float]) -> None:
        """Raise :class:`DeviceError` if an image's uploads in this run are more: those that cover its number."""
        covering: list[tuple[int, float]] = []
        for key, mu in mus.items():
            run, first, end, _ = [*key.split(":", 3), "", "", ""][:4]
            if run == self.run:
                covering += [(int(first), mu * mu), (int(end), -mu * mu)]
        squares = accumulate(square for _, square in sorted(covering))
        found = epsilon_of(math.sqrt(max(squares, default=0.0)), self.delta)
        if found > self.epsilon * (1 + 1e-6):
            raise DeviceError(
                f"privacy: with this upload epsilon of an image would be {found:.4g} in this run, which promises "
                f"{self.epsilon:g}; it is refused"
            )


def key_in_run(run: str, first: int, end: int, what: str) -> str:
    """Of an upload of the images with numbers from ``first`` to ``end`` (which is none of them)."""
    return f"{run}:{first}:{end}:{what}"


@dataclass(kw_only=True)
class Spent:
    """By what it was for."""

    mus: dict[str, _Spent] = field(default_factory=dict)
    """Gaussian noise on images, or on sums that hold their labels, too: sensitivity over standard deviation."""
    labels: dict[str, _Spent] = field(default_factory=dict)
    """Randomised labels: epsilon."""


@dataclass(frozen=True, kw_only=True)
class _Content:
    """Of the file."""

    schema: str
    secret: str
    mus: dict[str, _Spent]
    labels: dict[str, _Spent]


class Account:
    """Of one device. Kept in memory; :meth:`on_disk` keeps it for longer than a process."""

    def __init__(self, secret: bytes | None = None, allowance: Allowance | None = None) -> None:
        """Without ``secret``: one from the operating system, which nobody else can know."""
        self.secret = secrets.token_bytes(SECRET_BYTES) if secret is None else secret
        self.allowance = allowance or Allowance()
        self.spent = Spent()

    @classmethod
    def simulated(cls, seed: int, device: int) -> Account:
        """Of a device that is simulated: its noise follows from the run's seed, so that a run can be repeated. Whoever
        knows the seed can take the noise off again: this promises nothing, it shows what noise costs."""
        return cls(sha256(f"ecofed simulated device {device} of seed {seed}".encode()).digest())

    @staticmethod
    def on_disk(path: Path, allowance: Allowance | None = None) -> Account:
        """The account in a file, which is made where there is none.

        Raises:
            ConfigError: it is another file, or damaged.
        """
        return _Stored(path, allowance)

    def spend(self, key: str, *, mu: float = 0.0, label_epsilon: float = 0.0, promised: Promised | None = None) -> None:
        """Put down what is about to be sent; the same ``key`` is free after the first time.

        Args:
            key: what it is for.
            mu: of noise on images: sensitivity over standard deviation.
            label_epsilon: of randomised labels.
            promised: what the run promises; its key begins with what tells the run and which images
                (:func:`key_in_run`).

        Raises:
            DeviceError: it is more than the device's owner allows, or than the run promises; nothing is put down.
        """
        with self._changing() as spent:
            mus, labels = dict(spent.mus), dict(spent.labels)
            if mu:
                mus.setdefault(key, mu)
            if label_epsilon:
                labels.setdefault(key, label_epsilon)
            if (mus, labels) == (spent.mus, spent.labels):
                return
            if len(mus) + len(labels) > MOST_ENTRIES:
                raise DeviceError(f"privacy: asked for more than {MOST_ENTRIES} different uploads")
            self._check(mus, labels)
            if promised is not None:
                promised.check(mus)
            spent.mus, spent.labels = mus, labels

    def _check(self, mus: Mapping[str, float], labels: Mapping[str, float]) -> None:
        allowed = self.allowance
        by_sums = epsilon_of(composed(mus.values()), allowed.delta)
        told = ((allowed.epsilon, by_sums, "each image"), (allowed.label_epsilon, sum(labels.values()), "each label"))
        for most, found, of_what in told:
            if most is not None and found > most * (1 + 1e-9):
                raise DeviceError(
                    f"privacy: with this upload epsilon of {of_what} would be {found:.4g} over all runs; this device's "
                    f"owner allows {most:g}, and it is refused"
                )

    @contextmanager
    def _changing(self) -> Iterator[Spent]:
        yield self.spent


class _Stored(Account):
    def __init__(self, path: Path, allowance: Allowance | None) -> None:
        super().__init__(allowance=allowance)
        self._path = path
        with self._changing():  # a secret that was drawn is one that stays
            pass

    @contextmanager
    def _changing(self) -> Iterator[Spent]:
        """Two processes may answer at the same time: one waits for the other, and each sees what the other spent."""
        owner = f".{self._path.name}.owner"
        with owned(self._path.parent, owner, subject=self._path, wait_seconds=WAIT_SECONDS):
            before = self._read()
            yield self.spent
            content = _Content(schema=SCHEMA, secret=self.secret.hex(), **asdict(self.spent))
            if content != before:
                write_bytes(self._path, (json_text(asdict(content)) + "\n").encode(), mode=0o600)

    def _read(self) -> _Content | None:
        if not self._path.exists():
            return None
        try:
            content: _Content = read_as(_Content, parse(read_text(self._path)))
            self.secret = bytes.fromhex(content.secret)
            if content.schema != SCHEMA or len(self.secret) != SECRET_BYTES:
                raise ValueError("of another kind")
        except ValueError as error:
            raise ConfigError(
                f"{self._path}: not a device's privacy account ({error}); bring it back from a copy, or name a new "
                "file, which starts with nothing spent"
            ) from error
        self.spent.mus, self.spent.labels = dict(content.mus), dict(content.labels)
        return content


def allowance_of(node_config: Mapping[str, Any]) -> Allowance:
    """Of a device's own settings.

    Raises:
        ConfigError: one is no number above 0.
    """
    values: dict[str, float] = {}
    for name, key in {"epsilon": "max-epsilon", "delta": "max-delta", "label_epsilon": "max-label-epsilon"}.items():
        if key in node_config:
            said = node_config[key]
            largest = 1.0 if name == "delta" else 1e6
            if isinstance(said, bool) or not isinstance(said, int | float) or not 0 < said < largest:
                raise ConfigError(f"node config {key} = {said!r}: must be a number above 0 and below {largest:g}")
            values[name] = float(said)
    return Allowance(**values)
