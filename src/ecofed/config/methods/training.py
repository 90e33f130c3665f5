"""How the server trains: what the sections of several methods share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ecofed.config.fields import require

#: Samples of a batch that keep a processor's units for matrices busy; more gain little.
AUTO_BATCH = 200


def cosine(progress: float) -> float:
    """A learning rate's share of its start, ``progress`` (0..1) through the whole training."""
    return 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, kw_only=True)
class PooledTraining:
    """How the server trains on what devices have sent it, all pooled."""

    server_batch_size: int | Literal["auto"] | None = None
    """Samples of a batch when the server trains on what is pooled; ``none``: ``batch_size``. Larger ones suit a
    server's processor: so many samples take about half the time in batches of 100 instead of 20. ``auto``: 200, at a
    learning rate that is larger by the square root of how many times ``batch_size`` that is."""
    server_steps: int | None = None
    """SGD steps a round on the pooled samples; default as many as the sampled devices' samples make batches (what the
    paper does)."""
    optimiser: Literal["sgd", "adamw"] = "sgd"
    """``sgd`` with ``momentum``, or ``adamw`` (Loshchilov and Hutter, 2019), whose weight decay is for matrices only. A
    pre-trained backbone wants ``adamw`` and a ``learning_rate`` of about 0.001."""
    warm_up: float = 0.0
    """The share of the whole training over which the learning rate rises from zero."""
    statistics: Literal["auto", "running", "frozen"] = "auto"
    """BatchNorm statistics of what is trained, where ``normalisation`` is ``frozen``: ``running`` ones, since pooled
    batches are mixed over devices; or ``frozen``, as they are at the start, while scales and shifts are trained.
    ``auto``: frozen where the network starts from published weights, whose statistics are of many more pictures."""
    fresh_momentum: bool = False
    """Start each round with zero momentum (the paper) instead of keeping it. ``fedavg`` always does."""
    sampling: Literal["uniform", "class", "device"] = "uniform"
    """What comes equally often in pooled batches: every sample, every class, or every device."""
    mixup: float = 0.0
    """Parameter of the beta distribution that weighs two mixed samples of a batch; 0 mixes none."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """The learning rate over all rounds. ``cosine`` falls from ``learning_rate`` to zero."""
    weight_decay: float = 0.0005
    """Of the server's optimiser."""
    ema: float = 0.0
    """Decay per step of a running average of the weights, which is then what is tested and saved; 0 keeps no average,
    0.998 averages over about 500 steps."""
    label_smoothing: float = 0.0
    """Share of the training target that is spread over all classes."""

    def batch(self, config_batch_size: int) -> int:
        """Samples of a batch, where the configuration's ``batch_size`` is this one."""
        if self.server_batch_size == "auto":
            return max(AUTO_BATCH, config_batch_size)
        return self.server_batch_size or config_batch_size

    def rate(self, learning_rate: float, config_batch_size: int) -> float:
        """The learning rate that suits the batches: noise of gradients falls with the square root of their size."""
        if self.server_batch_size != "auto":
            return learning_rate
        return learning_rate * math.sqrt(self.batch(config_batch_size) / config_batch_size)

    def steps(self, samples: Iterable[int], config_batch_size: int) -> int:
        """SGD steps of a round about devices with so many samples each; 0 without any device.

        Where the server has a batch size of its own, batches are filled across devices.
        """
        counts = list(samples)
        if not counts or self.server_steps:
            return (self.server_steps or 0) if counts else 0
        if self.server_batch_size:
            return -(-sum(counts) // self.batch(config_batch_size))
        return sum(-(-count // config_batch_size) for count in counts)

    def check(self, section: str) -> None:
        """Raise :class:`ConfigError` for an impossible value; ``section`` names the key."""
        steps = self.server_steps
        most = 10_000_000
        require(steps is None or 1 <= steps <= most, f"{section}.server_steps", steps, f"must be in 1..{most}")
        size = self.server_batch_size
        usable = size in (None, "auto") or (isinstance(size, int) and 1 <= size <= 65536)
        require(usable, f"{section}.server_batch_size", size, "must be in 1..65536, auto, or none")
        require(0 <= self.mixup < math.inf, f"{section}.mixup", self.mixup, "must not be negative")
        require(
            not (self.fresh_momentum and self.optimiser == "adamw"),
            f"{section}.fresh_momentum",
            self.fresh_momentum,
            f"needs {section}.optimiser=sgd",
        )
        for key in ("ema", "label_smoothing", "weight_decay", "warm_up"):
            require(0 <= getattr(self, key) < 1, f"{section}.{key}", getattr(self, key), "must be in [0, 1)")
