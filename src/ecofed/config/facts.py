"""What everybody outside of a method or a codec may ask of it: facts, which are read without PyTorch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from ecofed.errors import ConfigError

if TYPE_CHECKING:
    from ecofed.config.codecs import CodecConfig
    from ecofed.config.schema import Config


@dataclass(frozen=True)
class NoSettings:
    """A method without settings of its own."""


class PooledEnd(NamedTuple):
    """What a network ends in whose features are pooled after the cut, and classified by one linear layer."""

    features: int
    """At most so many."""
    in_ball: bool
    """Whether each image's lie in a ball, as where sums bear noise."""


class Facts:
    """A method, as those see it who do not run it: set-up, planner, reports, saved networks, devices.

    A built-in method is declared as a subclass in :mod:`ecofed.config.methods`, which its program on the server
    inherits; a method of a plug-in is its own declaration.
    """

    name: ClassVar[str]
    """On the command line, in TOML and in results."""
    Settings: ClassVar[type] = NoSettings
    """A frozen dataclass: the section of the configuration that bears the method's name."""
    role: ClassVar[Literal["paper", "rival", "own"]] = "own"
    """``paper``: compared unless others are asked for. ``rival``: what a sceptic would do instead."""
    colour: ClassVar[str | None] = None
    """For plots, ``#rrggbb``, readable on white; ``None``: a spare one."""
    dark_colour: ClassVar[str | None] = None
    """The same where the page is dark; ``None``: as on white."""
    marker: ClassVar[str | None] = None
    """For plots, one of Matplotlib's."""
    labels_leave_device: ClassVar[bool] = True
    images_leave_device: ClassVar[bool] = False
    Device: ClassVar[type | str | None] = None
    """Its side on devices: a class, or where it is, as ``module:Class``. ``answers`` map each request to the name of a
    method there; devices refuse all others (but take the trained network)."""
    trains_on_device: ClassVar[bool] = True
    """Whether its devices need PyTorch."""
    needs_frozen_front: ClassVar[bool] = False
    """Whether devices are sent a frozen front."""
    keeps_uploads: ClassVar[bool] = False
    """Whether its server keeps samples as devices upload them, so that some can be held out (``validation``)."""
    keeps_buffer: ClassVar[bool] = False
    """Whether its server has a replay buffer that the finished run's folder can keep (``keep_buffer``)."""
    stops_early: ClassVar[bool] = False
    """Whether weak devices may stop at an earlier layer of it (``ecofed.device_cuts``)."""
    cuts_network: ClassVar[bool] = True
    """Whether what it costs depends on where the network is cut."""
    has_network: ClassVar[bool] = True
    """Whether what it trains can be saved as a network: the one that the configuration names, or :meth:`pooled_end`."""
    noise: ClassVar[Literal["none", "images", "sums"]] = "none"
    """Where its devices add noise before anything leaves them (``privacy``): to what is of each image, or to sums over
    all of theirs, which hold the labels, too."""
    against_flower: ClassVar[str | None] = None
    """Why it makes no sense over Flower, to be read after its name; ``None``: it does."""

    @classmethod
    def uploads_at_most(cls, config: Config) -> int | None:  # noqa: ARG003
        """How often a run may ask a device about the same image; ``None``: that is not known before."""
        return 1

    @classmethod
    def unread(cls, config: Config) -> Mapping[str, str]:
        """General keys that change nothing in a run of this configuration, and why: said to whoever sets them."""
        bounds = [key for key in ("kept_per_device", "kept_per_class", "kept_samples") if getattr(config, key)]
        if not cls.keeps_buffer:
            keys = [*bounds, "keep_buffer"] if config.keep_buffer else bounds
            return dict.fromkeys(keys, f"{cls.name} has no replay buffer that could be kept")
        return {} if config.keep_buffer else dict.fromkeys(bounds, "it needs keep_buffer=true")

    @classmethod
    def limits_sent(cls, config: Config, there: Collection[int]) -> int | None:  # noqa: ARG003
        """For how many bits quantiser limits go to devices with a front that has some for these; ``None``: for all."""
        return config.codec.limit_bits

    # What is done to a test image besides running the network, said once: for evaluation, saved and exported networks.

    @classmethod
    def sent_as(cls, config: Config) -> tuple[int, int] | tuple[()]:  # noqa: ARG003
        """The JPEG quality, and side in pixels (0: its own), in which the network sees every image; empty: as it is."""
        return ()

    @classmethod
    def coded(cls, config: Config) -> CodecConfig | None:  # noqa: ARG003
        """The codec that every activation passes at the cut; ``None``: it arrives as it is."""
        return None

    @classmethod
    def pooled_end(cls, config: Config) -> PooledEnd | None:  # noqa: ARG003
        """What stands after the cut in the place of the network's rest; ``None``: the rest does."""
        return None


class CodecFacts:
    """A codec, as those see it who do not encode: settings, set-up, exports.

    A built-in codec is declared as a subclass in :mod:`ecofed.config.codecs`, which its implementation inherits; a
    codec of a plug-in is its own declaration.
    """

    name: ClassVar[str]
    """What ``codec.name`` says."""
    allowed_bits: ClassVar[range] = range(1, 9)
    """What ``codec.bits`` may say, of 1..8."""
    uses_limits: ClassVar[bool] = False
    """Whether it takes quantiser limits, one a channel for so many bits, from the front's bundle."""
    sparse: ClassVar[bool] = False
    """Whether it leaves entries out; then no bottleneck, which has none to spare, comes before it by itself."""
    transforms: ClassVar[bool] = False
    """Whether it codes frequencies: then a bottleneck in closed form leaves components as they are, for one step."""
    exportable: ClassVar[bool] = False
    """Whether what it does to an activation can be written as ONNX."""

    @classmethod
    def check_bits(cls, bits: int) -> None:
        """Raise :class:`ConfigError` for bits that it does not have."""
        allowed = cls.allowed_bits
        if bits in allowed:
            return
        if len(allowed) == 1:
            rule = f"is {allowed[0]} bits; set codec.bits={allowed[0]}"
        elif allowed[0] == 1:
            rule = f"has at most {allowed[-1]}"
        else:
            rule = f"has {', '.join(map(str, allowed[:-1]))} or {allowed[-1]}"
        raise ConfigError(f"codec.bits = {bits}: the '{cls.name}' codec {rule}")
