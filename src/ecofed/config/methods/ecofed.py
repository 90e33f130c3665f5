"""ecofed, declared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ecofed.config.codecs import codec_facts
from ecofed.config.facts import Facts
from ecofed.config.fields import Needs, require
from ecofed.config.methods.training import PooledTraining

if TYPE_CHECKING:
    from ecofed.config.schema import Config

#: Bits per entry of an activation as it is.
LOSSLESS_BITS = 32


@dataclass(frozen=True, kw_only=True)
class EcoFedConfig(PooledTraining):
    """Frozen pre-trained front, quantised activations, replay buffer."""

    front: str = "auto"
    """``auto`` (a backbone's own, see ``model.weights``; otherwise the shipped front for this model: of 256 bytes an
    image where ``bits`` is 2, otherwise the full-size one; without any, ``random``, and a note), ``random``
    (calibrated statistics), ``pretrain`` (built-in pre-training, cached), the name of a shipped front, or a path to a
    bundle."""
    bytes_per_image: int = 256
    """Of the bottleneck that a backbone's own front ends in (``front=auto``): as many channels as so many bytes of
    codes can say, before entropy coding. Shipped fronts have their own (``ecofed front list``)."""
    codec: str = "uniform"
    """``uniform`` (unsigned levels, per-channel constants from the bundle), ``lloyd-max`` (the same with levels where
    the values are), ``top-k`` (the largest entries and a mask), ``dct`` (a cosine transform over the map and one step
    for all coefficients, for a backbone's own front), ``minmax`` (the paper's symmetric int8, scale max/127 of each
    batch), ``float32`` (lossless), or a plug-in's."""
    bits: int = 2
    """Bits per entry, 1-8; ``lloyd-max`` has 2-4, ``top-k`` 1-7 (and one for the mask), ``minmax`` and ``dct`` need 8,
    ``float32`` ignores it."""
    density: float = 0.1
    """``top-k``: the share of entries that is kept."""
    entropy: Literal["none", "deflate", "range"] = "range"
    """Lossless coding of each upload. ``range``: an adaptive range coder or ``deflate``, whichever is shorter.
    ``deflate``: standard library. ``none``: packed codes as they are, whose size is known before."""
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
    front_precision: Literal["full", "int8"] = "int8"
    """``int8``: convolution weights of the front are rounded to 8 bits, for the server and the tests as for devices;
    its delivery is half as long. ``full``: as the front was made."""
    front_delivery: Literal["download", "preinstalled"] = "download"
    """``download``: the front's encoded bytes count once per device. ``preinstalled``: not counted, as in the paper."""

    device_cuts: str | None = None
    """Where weak devices stop: the server runs the rest of the front for them. A layer before ``model.cut``, or several
    layers, as ``block1:2,block2``, dealt to the devices in this pattern, over and over (``clock.device`` has the same);
    ``auto``: each device's latest layer at which it keeps up with the slowest, by its profiles in ``clock``; ``none``:
    everybody runs the whole front."""
    early_bits: int = 8
    """Bits per entry of activations that are uploaded at an earlier layer, 1-8 (``uniform``), or 32: lossless
    (``float32``)."""

    NEEDS: ClassVar[Needs] = {
        "density": ("ecofed.codec=top-k", lambda own: own.codec == "top-k"),
        "period": ("ecofed.refresh=period", lambda own: own.refresh == "period" or not own.replay),
        "memorised": ("ecofed.refresh=plateau", lambda own: own.refresh == "plateau"),
        "buffer_bytes": ("ecofed.buffer=disk", lambda own: own.buffer == "disk"),
        "early_bits": ("ecofed.device_cuts", lambda own: own.device_cuts is not None),
        **dict.fromkeys(
            ("flip", "shift", "cutout", "server_steps"), ("ecofed.server=pooled", lambda own: own.server == "pooled")
        ),
    }

    def __post_init__(self) -> None:
        require(1 <= self.bits <= 8, "ecofed.bits", self.bits, "must be in 1..8")
        narrow = self.bytes_per_image
        require(1 <= narrow <= 1 << 20, "ecofed.bytes_per_image", narrow, "must be in 1..1048576")
        early = self.early_bits
        require(1 <= early <= 8 or self.lossless_early, "ecofed.early_bits", early, "must be in 1..8, or 32 (lossless)")
        codec_facts(self.codec).check_bits(self.bits)
        require(0 < self.density <= 1, "ecofed.density", self.density, "must be above 0 and at most 1")
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
        for key in ("flip", "shift", "cutout"):
            require(0 <= getattr(self, key) <= 1, f"ecofed.{key}", getattr(self, key), "is a probability, 0..1")
        if not self.replay:
            needs = "ecofed.replay=false needs ecofed.refresh=period and ecofed.period=1"
            require(self.refresh == "period", "ecofed.refresh", self.refresh, needs)
            require(self.period == 1, "ecofed.period", self.period, needs)

    @property
    def lossless_early(self) -> bool:
        """Whether devices that stop early upload float32."""
        return self.early_bits == LOSSLESS_BITS

    @property
    def exportable(self) -> bool:
        """Whether what the codec does to an activation can be written as ONNX."""
        return codec_facts(self.codec).exportable

    @property
    def limit_bits(self) -> int | None:
        """For how many bits the codec takes quantiser limits from the front's bundle; ``None``: it needs none."""
        return self.bits if codec_facts(self.codec).uses_limits else None

    @property
    def narrows(self) -> bool:
        """Whether a bottleneck suits the codec: codes of every entry, from zero to the limits that come with it."""
        facts = codec_facts(self.codec)
        return facts.uses_limits and not facts.sparse


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
    stops_early = True

    @classmethod
    def coded(cls, config: Config) -> EcoFedConfig:
        return config.ecofed
