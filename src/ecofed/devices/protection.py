"""What is done to a device's numbers before they are coded or sent: clipping, noise, and the account of both.

numpy only: devices with and without PyTorch do the same. The noise comes from SHAKE-256 keyed with the device's secret,
which nobody can tell from chance without it. What is sent is rounded to a thousandth of the noise, so that the last
digits of floating-point numbers tell nothing (Mironov, CCS 2012).
"""

from __future__ import annotations

import math
from hashlib import blake2b, sha256, shake_256
from typing import Any

import numpy as np

from ecofed.config.accountant import epsilon_of
from ecofed.config.methods import facts_of
from ecofed.config.privacy import check_privacy
from ecofed.config.schema import Config
from ecofed.config.task import Task
from ecofed.data.stored import ImageRows
from ecofed.devices.account import Account, Allowance
from ecofed.errors import ConfigError

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
        return self.noisy or self._account.allowance.any

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
        self._account.spend(key, mu=1 / multiplier, label_epsilon=labels)
        return _rounded(sums, self._normal(key, b"", sums.shape) * sensitivity * multiplier, sensitivity * multiplier)

    def _uploads(self) -> int:
        uploads = facts_of(self._config.method).uploads_at_most(self._config)
        assert uploads is not None
        return uploads

    def _key(self, what: str, first: int, **asked: Any) -> str:
        """Of an upload: equal only where the same images are asked for the same thing. Anything else that a server may
        say is in the task: the same noise on other numbers of the same images would cancel out."""
        data = sha256(b"".join(self._digests_of_images()[first:])).hexdigest()
        return sha256(f"{what} {sorted(asked.items())} {data} {self._task.to_json()}".encode()).hexdigest()[:40]

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
    if allowed.label_epsilon is not None and not (facts.noise == "sums" and config.privacy.epsilon is not None):
        return f"{only} epsilon {allowed.label_epsilon:g} of each label, and the run has them sent as they are"
    return ""


def _rounded(exact: np.ndarray, noise: np.ndarray, deviation: float) -> np.ndarray:
    """The sum of both on a grid that is fine beside the noise."""
    step = 2.0 ** math.floor(math.log2(deviation)) * _ROUNDED_TO
    rounded: np.ndarray = np.rint((exact + noise) / step) * step
    return rounded
