"""ecofed, declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Literal

from ecofed.config.codecs import CodecConfig
from ecofed.config.facts import Facts
from ecofed.config.fields import Needs, require
from ecofed.config.methods.training import PooledTraining

if TYPE_CHECKING:
    from ecofed.config.schema import Config

#: Bits per entry of an activation as it is.
LOSSLESS_BITS = 32
_MORE_UPLOADS = "ecofed.refresh=period, spread or plateau"


@dataclass(frozen=True, kw_only=True)
class EcoFedConfig(PooledTraining):
    """Frozen pre-trained front, quantised activations, replay buffer."""

    period: int = 2
    """A refresh every ``period`` rounds."""
    refresh: Literal["period", "once", "spread", "plateau"] = "once"
    """When sampled devices upload. ``period``: in rounds 1, 1 + period, ... ``once``: in the first round that samples
    them, and never again. ``spread``: at once, then evenly over the training until ``views`` or
    ``uplink_budget_bytes`` is used up. ``plateau``: at once, then when the buffer is known by heart (``memorised``)."""
    memorised: float = 0.5
    """``plateau``: new views are asked for while the loss on the buffer is below this fraction of the loss on
    activations that have just arrived."""
    views: int = 0
    """How many augmented passes a device may ever upload, all of which stay in the buffer; 0 is unbounded, and the
    buffer keeps the latest."""
    uplink_budget_bytes: int | None = None
    """What a device may ever upload: codes, scales and labels. The first view is always allowed; another is asked for
    only while one more of the same size fits."""
    replay: bool = True
    """``False`` (an ablation): train on this round's uploads only; needs ``period = 1``."""
    buffer: Literal["memory", "disk"] = "memory"
    """Where the server keeps uploads. ``disk``: memory-mapped files in the run's folder, for buffers that are larger
    than memory; checkpoints refer to them instead of copying them. Results are the same."""
    buffer_bytes: int = 1 << 28
    """``disk``: how much of the buffer's files may be in memory at a time, at least a MiB. What is not a code (labels,
    sample numbers, scales: 20 bytes a sample) always is."""
    server: Literal["pooled", "fedavg"] = "pooled"
    """``pooled``: one back, batches mixed over the whole buffer. ``fedavg``: one back per device, averaged (the
    paper)."""
    flip: float = 0.0
    """``pooled``: probability that an activation is mirrored, where a mirrored image is still valid."""
    shift: float = 0.0
    """``pooled``: probability that an activation is moved by one entry in one of eight directions."""
    cutout: float = 0.0
    """``pooled``: probability that a square of an activation is set to zero."""
    crop: float = 0.0
    """``pooled``: probability that a random part of an activation is enlarged to the size of the whole, as random crops
    of photographs are."""
    device_cuts: str | None = None
    """Where weak devices stop: the server runs the rest of the front for them. A layer before ``model.cut``, or several
    layers, as ``block1:2,block2``, dealt to the devices in this pattern, over and over (``clock.device`` has the same);
    ``auto``: each device's latest layer at which it keeps up with the slowest, by its profiles in ``clock``; ``none``:
    everybody runs the whole front."""
    early_bits: int = 8
    """Bits per entry of activations that are uploaded at an earlier layer, 1-8 (``uniform``), or 32: lossless
    (``float32``)."""

    MOVED: ClassVar[Mapping[str, str]] = {
        "front": "front.name",
        "front_precision": "front.precision",
        "front_delivery": "front.delivery",
        "bytes_per_image": "front.bytes_per_image",
        "codec": "codec.name",
        "bits": "codec.bits",
        "density": "codec.density",
        "entropy": "codec.entropy",
    }
    """Keys that stood here in earlier versions (:mod:`ecofed.config.moved`)."""
    NEEDS: ClassVar[Needs] = {
        "period": ("ecofed.refresh=period", lambda own: own.refresh == "period" or not own.replay),
        "memorised": ("ecofed.refresh=plateau", lambda own: own.refresh == "plateau"),
        "buffer_bytes": ("ecofed.buffer=disk", lambda own: own.buffer == "disk"),
        "early_bits": ("ecofed.device_cuts", lambda own: own.device_cuts is not None),
        # One upload is all there is with refresh=once, which is what views=1 says, too.
        "views": (_MORE_UPLOADS, lambda own: own.refresh != "once" or own.views == 1),
        "uplink_budget_bytes": (_MORE_UPLOADS, lambda own: own.refresh != "once" or own.uplink_budget_bytes is None),
        **dict.fromkeys(
            ("flip", "shift", "cutout", "crop", *(field.name for field in fields(PooledTraining))),
            ("ecofed.server=pooled", lambda own: own.server == "pooled"),
        ),
    }

    def __post_init__(self) -> None:
        early = self.early_bits
        require(1 <= early <= 8 or self.lossless_early, "ecofed.early_bits", early, "must be in 1..8, or 32 (lossless)")
        require(self.period >= 1, "ecofed.period", self.period, "must be at least 1")
        require(self.views >= 0, "ecofed.views", self.views, "must be 0 (unbounded) or more")
        require(self.buffer_bytes >= 1 << 20, "ecofed.buffer_bytes", self.buffer_bytes, "must be at least 1048576")
        require(0 < self.memorised <= 1, "ecofed.memorised", self.memorised, "must be above 0 and at most 1")
        budget = self.uplink_budget_bytes
        require(budget is None or budget >= 1, "ecofed.uplink_budget_bytes", budget, "must be at least 1")
        if self.refresh == "spread":
            limited = self.views > 0 or budget is not None
            require(
                limited, "ecofed.refresh", self.refresh, "needs ecofed.views or ecofed.uplink_budget_bytes to spread"
            )
        self.check("ecofed")
        for key in ("flip", "shift", "cutout", "crop"):
            require(0 <= getattr(self, key) <= 1, f"ecofed.{key}", getattr(self, key), "is a probability, 0..1")
        if not self.replay:
            needs = "ecofed.replay=false needs ecofed.refresh=period and ecofed.period=1"
            require(self.refresh == "period", "ecofed.refresh", self.refresh, needs)
            require(self.period == 1, "ecofed.period", self.period, needs)

    def batch(self, config_batch_size: int) -> int:
        """As for pooled training; ``fedavg`` takes the batches as they were uploaded."""
        return config_batch_size if self.server == "fedavg" else super().batch(config_batch_size)

    def steps(self, samples: Iterable[int], config_batch_size: int) -> int:
        """The same."""
        if self.server == "fedavg":
            return PooledTraining().steps(samples, config_batch_size)
        return super().steps(samples, config_batch_size)

    @property
    def lossless_early(self) -> bool:
        """Whether devices that stop early upload float32."""
        return self.early_bits == LOSSLESS_BITS


class EcoFedFacts(Facts):
    """Front down once, coded activations up now and then."""

    name = "ecofed"
    Settings = EcoFedConfig
    role = "paper"
    colour, dark_colour, marker = "#0f8560", "#3fe0a2", "o"
    Device = "ecofed.devices.methods.ecofed:Uploader"
    trains_on_device = False
    needs_frozen_front = True
    keeps_uploads = True
    keeps_buffer = True
    stops_early = True
    noise = "images"

    @classmethod
    def uploads_at_most(cls, config: Config) -> int | None:
        own = config.ecofed
        if own.refresh == "once":
            return 1
        bounds = [own.views] if own.views else []
        if own.refresh == "period":
            bounds.append(-(-config.rounds // own.period))
        return min(bounds, default=None)

    @classmethod
    def unread(cls, config: Config) -> Mapping[str, str]:
        found = {**super().unread(config), "local_epochs": f"devices of {cls.name} do not train"}
        if config.ecofed.server == "pooled":
            found["aggregation"] = "it needs ecofed.server=fedavg"
            if config.ecofed.optimiser != "sgd":
                found["momentum"] = "it needs ecofed.optimiser=sgd"
        return found

    @classmethod
    def coded(cls, config: Config) -> CodecConfig:
        return config.codec
