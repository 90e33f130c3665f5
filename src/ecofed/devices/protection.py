"""What is done to a device's numbers before they are coded or sent: clipping, noise, and the account of both.

numpy only: devices with and without PyTorch do the same. The noise comes from SHAKE-256 keyed with the device's secret,
which nobody can tell from chance without it. What is sent is rounded to a thousandth of the noise, so that the last
digits of floating-point numbers tell nothing (Mironov, CCS 2012).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from hashlib import blake2b, sha256, shake_256
from typing import Any

import numpy as np

from ecofed.activations.clipping import SENSITIVITY, Ball
from ecofed.config.accountant import epsilon_of, kept_share
from ecofed.config.methods import facts_of
from ecofed.config.privacy import check_privacy
from ecofed.config.schema import Config
from ecofed.config.task import Task
from ecofed.data.reading import task_reading
from ecofed.data.stored import ImageRows
from ecofed.devices.account import Account, Allowance, Promised, key_in_run
from ecofed.errors import ConfigError, DeviceError

#: Activations (B, C, H, W) and their images' numbers (B,) to the same with noise.
AddNoise = Callable[[np.ndarray, np.ndarray], np.ndarray]
_AT_ONCE = 256
_ROUNDED_TO = 2.0**-10


class Protection:
    """Of one device in one run.

    Args:
        task: whose settings say how much noise there is.
        account: secret and budget.
        images_NHWC: the device's images that take part.
        labels_N: their labels.
    """

    def __init__(self, task: Task, account: Account, images_NHWC: ImageRows, labels_N: np.ndarray) -> None:
        self._task, self._config = task, task.config
        self._account = account
        self._images_NHWC, self._labels_N = images_NHWC, labels_N
        self._digests: list[bytes] | None = None
        self._randomised_N: np.ndarray | None = None

    @property
    def config(self) -> Config:
        return self._config

    @property
    def noisy(self) -> bool:
        """Whether the run asks for noise."""
        return self._config.privacy.epsilon is not None

    @property
    def refusal(self) -> str:
        """Why this device takes no part in such a run at all; empty: it does."""
        return refused(self._config, self._account.allowance)

    @property
    def counts_stay(self) -> bool:
        """Whether exact counts may not be told."""
        return self._config.privacy.active or self._account.allowance.any

    def labels(self) -> np.ndarray:
        """Labels as they leave the device, in the order of its images. Where the run asks for it, each is the truth
        with the probability of randomised response, and otherwise any other class alike, the same ones for ever; or
        they are in an order of their own, which says how many of each class there are and nothing else.

        Raises:
            DeviceError: more than the device's owner allows.
        """
        epsilon = self._config.privacy.label_epsilon
        if self._config.privacy.labels == "counts":
            return np.sort(self._labels_N)
        if epsilon is None:
            return self._labels_N
        if self._randomised_N is None:
            classes = self._task.classes
            key = sha256(f"labels {epsilon!r} {classes} {self._task.class_names!r}".encode()).hexdigest()[:40]
            # An image in another size is another to what draws: its answer is new, and costs as much again.
            self._account.spend(key + self._read(), label_epsilon=epsilon)
            draws = [self._uniform(key, name, 2) for name in self._names()]
            uniform_N2 = np.array(draws, np.float64).reshape(-1, 2)
            lies_N = uniform_N2[:, 0] >= kept_share(epsilon, classes)
            moved_N = 1 + (uniform_N2[:, 1] * (classes - 1)).astype(np.int64)
            said_N = (self._labels_N.astype(np.int64) + lies_N * moved_N) % classes
            self._randomised_N = said_N.astype(self._labels_N.dtype)
        return self._randomised_N

    def noise_for(
        self, within: Ball, first: int, view: int, **asked: Any
    ) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """What puts noise on activations of one upload, which is put down in the account.

        Args:
            within: where activations are moved to before.
            first: the first image that is uploaded.
            view: the upload's number.
            asked: what decides the activations besides images and view.

        Returns:
            A function of activations (B, C, H, W) and their images' numbers (B,): the same with noise, float32.

        Raises:
            DeviceError: more uploads than the run may ask for, or more than the device's owner allows.
        """
        uploads = self._uploads()
        if not first and view >= uploads:  # of what came later, the account alone knows what was uploaded before
            raise DeviceError(
                f"privacy: upload number {view + 1} of the same images; this run's epsilon is for {uploads}, and it is "
                "refused"
            )
        deviation = SENSITIVITY * self._config.privacy.multiplier(uploads)
        key, names = self._key("activations", first, view=view, **asked), self._names()
        self._account.spend(key, mu=SENSITIVITY / deviation, promised=self._promised())

        def noisy(h_BCHW: np.ndarray, samples_B: np.ndarray) -> np.ndarray:
            units_BCHW = within.inside(h_BCHW)
            draws = [self._normal(key, names[sample], h_BCHW.shape[1:]) for sample in samples_B]
            noise_BCHW = deviation * np.array(draws, np.float64).reshape(h_BCHW.shape)
            return within.outside(_rounded(units_BCHW, noise_BCHW, deviation))

        return noisy

    def sums(self, sums: np.ndarray, sensitivity: float, **asked: Any) -> np.ndarray:
        """Sums over all images with noise, float64; put down in the account.

        Args:
            sums: of any shape.
            sensitivity: how much one image in the place of another can change of them (L2).
            asked: what decides them besides images and labels.

        Raises:
            DeviceError: more than the device's owner allows.
        """
        multiplier = self._config.privacy.multiplier(self._uploads())
        key = self._key("sums", 0, **asked)
        labels = 0.0
        if self._account.allowance.label_epsilon is not None:  # a label is part of what the noise hides
            labels = epsilon_of(1 / multiplier, self._account.allowance.delta)
        self._account.spend(key, mu=1 / multiplier, label_epsilon=labels, promised=self._promised())
        return _rounded(sums, self._normal(key, b"", sums.shape) * sensitivity * multiplier, sensitivity * multiplier)

    def _uploads(self) -> int:
        uploads = facts_of(self._config.method).uploads_at_most(self._config)
        assert uploads is not None
        return uploads

    def _key(self, what: str, first: int, **asked: Any) -> str:
        """Of an upload: equal only where the same images are asked for the same thing. Anything else that a server may
        say is in the task: the same noise on other numbers of the same images would cancel out."""
        data = sha256(b"".join(self._digests_of_images()[first:])).hexdigest()
        told = sha256(f"{what} {sorted(asked.items())} {data} {self._task.to_json()}".encode()).hexdigest()[:40]
        return key_in_run(self._run(), first, len(self._labels_N), told)

    def _run(self) -> str:
        """The same for all requests of a run, and another for runs with other settings."""
        return sha256(self._task.to_json().encode()).hexdigest()[:16]

    def _read(self) -> str:
        """How the device's images were read, which decides by what :meth:`_names` knows them."""
        return sha256(task_reading(self._task).key.encode()).hexdigest()[:16]

    def _promised(self) -> Promised:
        own = self._config.privacy
        assert own.epsilon is not None
        return Promised(run=self._run(), epsilon=own.epsilon, delta=own.delta)

    def _digests_of_images(self) -> list[bytes]:
        """Of pixels and label of each, in order."""
        if self._digests is None:
            self._digests = []
            for at in range(0, len(self._labels_N), _AT_ONCE):
                for image_HWC, label in zip(
                    self._images_NHWC[at : at + _AT_ONCE], self._labels_N[at : at + _AT_ONCE], strict=True
                ):
                    found = blake2b(int(label).to_bytes(8, "little"), digest_size=16)
                    found.update(np.ascontiguousarray(image_HWC).tobytes())
                    self._digests.append(found.digest())
        return self._digests

    def _names(self) -> list[bytes]:
        """Of each image, whatever its number: by what it is, and how many of the same come before it."""
        seen: Counter[bytes] = Counter()
        names = []
        for digest in self._digests_of_images():
            names.append(digest + seen[digest].to_bytes(4, "little"))
            seen[digest] += 1
        return names

    def _uniform(self, key: str, of: bytes, count: int) -> np.ndarray:
        """``count`` numbers between 0 and 1, neither included, that only the secret tells."""
        drawn = shake_256(self._account.secret + key.encode() + b"/" + of).digest(8 * count)
        return ((np.frombuffer(drawn, "<u8") >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def _normal(self, key: str, of: bytes, shape: tuple[int, ...]) -> np.ndarray:
        """Standard normal, by Box and Muller."""
        count = math.prod(shape)
        uniform_2P = self._uniform(key, of, 2 * -(-count // 2)).reshape(2, -1)
        radius_P, angle_P = np.sqrt(-2 * np.log(uniform_2P[0])), 2 * np.pi * uniform_2P[1]
        drawn = np.concatenate([radius_P * np.cos(angle_P), radius_P * np.sin(angle_P)])
        return drawn[:count].reshape(shape)


def refused(config: Config, allowed: Allowance) -> str:
    """Why a device whose owner allows so much takes no part in such a run at all; empty: it does."""
    facts = facts_of(config.method)
    try:
        check_privacy(config)
    except ConfigError as error:
        return f"privacy: {error}"
    only = "privacy: this device's owner allows"
    if facts.noise == "none" and allowed.any:
        return f"{only} runs with noise, and devices send without in a run of {facts.name}"
    if allowed.epsilon is not None and config.privacy.epsilon is None:
        return f"{only} epsilon {allowed.epsilon:g} of each image, and the run has no privacy.epsilon"
    own = config.privacy
    hidden = own.label_epsilon is not None or (facts.noise == "sums" and own.epsilon is not None)
    if allowed.label_epsilon is not None and not hidden:
        return f"{only} epsilon {allowed.label_epsilon:g} of each label, and the run has them sent as they are"
    return ""


def _rounded(exact: np.ndarray, noise: np.ndarray, deviation: float) -> np.ndarray:
    """The sum of both on a grid that is fine beside the noise."""
    step = 2.0 ** math.floor(math.log2(deviation)) * _ROUNDED_TO
    rounded: np.ndarray = np.rint((exact + noise) / step) * step
    return rounded
