"""Configuration: frozen dataclasses, checked once when they are made.

A run is described by one :class:`Config`. It comes from a preset or a TOML file, then ``--set key=value``; the
same dotted names work in all three. In a comparison any key may be overridden for one method
(``classic-fl.learning_rate = 0.03``); :class:`ecofed.config.settings.Settings` holds that unresolved state.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from ecofed.config.codecs import CodecConfig
from ecofed.config.fields import AS_NAMED, assign, convert, require
from ecofed.config.methods import (
    METHODS,
    OURS,
    ClassicFLConfig,
    ClosedFormConfig,
    EcoFedConfig,
    FedGKTConfig,
    LGLConfig,
    SendImagesConfig,
    VanillaDPFLConfig,
    facts_of,
    nearest_method,
)
from ecofed.config.moved import moved_keys, with_current_keys, with_current_paths
from ecofed.config.privacy import PrivacyConfig
from ecofed.config.problem import DataConfig, FrontConfig, ModelConfig
from ecofed.config.registry import codecs as plugin_codecs
from ecofed.config.registry import forget_when_new, origins, require_plugins
from ecofed.config.registry import formats as plugin_formats
from ecofed.config.registry import methods as plugin_methods
from ecofed.config.registry import networks as plugin_networks
from ecofed.config.simulation import AvailabilityConfig, ClockConfig
from ecofed.config.validation import ValidationConfig
from ecofed.errors import ConfigError, nearest

#: Devices of ``runtime = "processes"``: each takes some 100 MB.
MAX_PROCESSES = 64
#: Of a configuration that was written: the plug-ins that it needs.
PLUGINS = "plugins"
#: Of any setting that is a number: products of two are finite.
MOST_NUMBER = 1e30
BUILT_IN_NETWORKS = ("vgg11", "resnet9", "alexnet", "lenet", "efficientnet-lite0")

T = typing.TypeVar("T")


def all_methods() -> tuple[str, ...]:
    """All methods there are: the built-in ones, then those of plug-ins."""
    return (*METHODS, *plugin_methods())


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run of one method, complete and reproducible."""

    method: str = OURS
    """The method that ``ecofed run`` trains; ``ecofed compare`` sets it for each."""
    seed: int = 0
    """Every random draw of a run is a function of it."""
    rounds: int = 20
    """In each, the sampled devices take part."""
    devices: int = 100
    """How many devices share the training images; ``auto``: with ``data.partition=column`` as many as the data name."""
    sampled_devices: int = 10
    """How many of them take part in a round."""
    batch_size: int = 20
    """Images of one SGD step, on devices and on the server."""
    learning_rate: float = 0.01
    """Of SGD, on devices and on the server."""
    momentum: float = 0.9
    """Of SGD; 0 is plain SGD."""
    local_epochs: int = 1
    """Passes of a sampled device over its images in one round."""
    aggregation: Literal["samples", "equal"] = "samples"
    """Weights of an average over devices: their sample counts, or all equal (the paper)."""
    initialisation: Literal["random", "front", "whole"] = "front"
    """What starts pre-trained: nothing, the front, or all but the last layer. ``ecofed`` needs a front to freeze:
    ``random`` gives it a random one. A backbone (``model.weights``) starts whole, unless ``random``."""
    normalisation: Literal["batch", "frozen", "group"] = "frozen"
    """``batch``: BatchNorm by each batch's own statistics, in training and in tests (the reference). ``frozen``:
    statistics are constants from public images wherever devices train; a back that the server trains on pooled batches
    keeps running averages. ``group``: GroupNorm instead."""
    test_samples: int = 2000
    """Test images of one evaluation; 0: none, the run is judged by what is held out (``validation.fraction``)."""
    test_part: Literal["tuning", "report"] = "tuning"
    """``tuning``: the first 2,000 of a fixed permutation of the test set (a fifth of it below 10,000 images).
    ``report``: the others. Fewer than 250 test images are not divided: all are used."""
    evaluate_every: int = 1
    """Rounds between evaluations; the last five rounds are always evaluated."""
    runtime: Literal["in-process", "processes"] = "in-process"
    """``processes``: each device is an operating-system process behind a socket. Same bytes, same results."""
    quorum: float = 0.5
    """How many of the devices that a round asks must answer, or it trains nothing: a share (at most 1), or a number
    (2 and more)."""
    deadline_seconds: float | None = 3600.0
    """How long devices have to answer in a round; ``none`` waits for ever. In-process devices are always waited for."""
    delivery: Literal["none", "float", "int8"] = "none"
    """``float``, ``int8``: after training the whole network goes to every device as ONNX, for predictions there; its
    bytes are counted."""
    keep_buffer: bool | None = None
    """Whether the finished run's folder keeps the replay buffer, where the method has one, so that the server can learn
    again without asking any device. ``none``: where devices are a fleet (Flower), whose uploads are dear; not where
    they are simulated."""
    encrypt_buffer: bool = False
    """Whether uploads are encrypted wherever the run's folder has them: in a kept buffer, in a buffer on disk, and in
    checkpoints. The key is in the environment (``ECOFED_BUFFER_KEY_FILE``); whoever learns from them needs it, too."""
    kept_per_device: int | None = None
    """How many samples of each device a kept buffer has at most; ``none``: all. Which, is drawn for each sample: a
    reservoir, in which those that came later have the same chance."""
    kept_per_class: int | None = None
    """The same of each class, over all devices."""
    kept_samples: int | None = None
    """The same in all."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Arithmetic of convolutions and matrix products in training, on devices and on the server. ``bfloat16``: mixed
    precision, up to twice as fast where the processor has it. ``auto``: that on processors that have it, float32 on
    others. Weights, optimisers, frozen fronts, tests and everything on the wire are float32 in all."""
    threads: int = 1
    """PyTorch threads of the server and of each device. Part of the configuration because results depend on it."""
    accelerator: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where the server trains."""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    clock: ClockConfig = field(default_factory=ClockConfig)
    availability: AvailabilityConfig = field(default_factory=AvailabilityConfig)
    front: FrontConfig = field(default_factory=FrontConfig)
    codec: CodecConfig = field(default_factory=CodecConfig)
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    classic_fl: ClassicFLConfig = field(default_factory=ClassicFLConfig)
    vanilla_dpfl: VanillaDPFLConfig = field(default_factory=VanillaDPFLConfig)
    lgl: LGLConfig = field(default_factory=LGLConfig)
    fedgkt: FedGKTConfig = field(default_factory=FedGKTConfig)
    ecofed: EcoFedConfig = field(default_factory=EcoFedConfig)
    send_images: SendImagesConfig = field(default_factory=SendImagesConfig)
    closed_form: ClosedFormConfig = field(default_factory=ClosedFormConfig)
    own: Any = None
    """The section of a plug-in's method: its settings, where that method runs; otherwise ``None``."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            names = all_methods()
            rule = f"must be one of {', '.join(names)}{nearest_method(self.method, names)}"
            require(self.method in names, "method", self.method, rule)
            if self.own is None:
                object.__setattr__(self, "own", plugin_methods()[self.method].settings())
        require(0 <= self.seed < 2**63, "seed", self.seed, "must be in 0..2^63-1")
        named = self.devices == AS_NAMED
        rule = "needs data.partition=column, where the data name them; give a number"
        require(not named or self.data.partition == "column", "devices", "auto", rule)
        counts = ("rounds", *(() if named else ("devices",)), "sampled_devices", "local_epochs", "evaluate_every")
        for key in counts:
            require(getattr(self, key) >= 1, key, getattr(self, key), "must be at least 1")
        judged = self.test_samples >= 1 or (self.test_samples == 0 and self.validation.fraction > 0)
        rule = "must be at least 1; or 0 with validation.fraction above 0, to do without test images"
        require(judged, "test_samples", self.test_samples, rule)
        for key in ("kept_per_device", "kept_per_class", "kept_samples"):
            require((getattr(self, key) or 1) >= 1, key, getattr(self, key), "must be at least 1, or none")
        require(1 <= self.batch_size <= 65536, "batch_size", self.batch_size, "must be in 1..65536")
        require(1 <= self.threads <= 1024, "threads", self.threads, "must be in 1..1024")
        sampled, most = self.sampled_devices, f"must not exceed devices = {self.devices}"
        require(named or sampled <= self.devices, "sampled_devices", sampled, most)
        rate = self.learning_rate
        require(0 < rate < math.inf, "learning_rate", rate, "must be a finite number above 0")
        few = self.runtime != "processes" or self.devices <= MAX_PROCESSES
        rule = f"runtime=processes starts a process each, at most {MAX_PROCESSES}; use runtime=in-process"
        require(few, "devices", self.devices, rule)
        usable = 0 <= self.quorum <= 1 or (1 < self.quorum < math.inf and self.quorum == int(self.quorum))
        require(usable, "quorum", self.quorum, "must be a share of 0..1, or a whole number from 2")
        usable = self.deadline_seconds is None or 0 < self.deadline_seconds < math.inf
        require(usable, "deadline_seconds", self.deadline_seconds, "must be a finite number above 0, or none")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "must be in [0, 1)")
        if (coded := facts_of(self.method).coded(self)) is not None:
            rule = f"codec.name={coded.name} cannot be written as ONNX; use delivery=none"
            require(self.delivery == "none" or coded.exportable, "delivery", self.delivery, rule)

    def of_method(self, method: str) -> Any:
        """The method's own section."""
        if method in METHODS:
            return getattr(self, method.replace("-", "_"))
        return self.own if method == self.method else plugin_methods()[method].settings()

    def to_dict(self) -> dict[str, Any]:
        """Nested plain dict with the dashed names of TOML; :meth:`from_dict` reads it back."""
        values = {dashed(key): value for key, value in dataclasses.asdict(self).items()}
        own = values.pop("own")
        entries = (
            plugin_methods().get(self.method),
            plugin_networks().get(self.model.name),
            plugin_codecs().get(self.codec.name),
            plugin_formats().get(self.data.name.partition(":")[0]),
        )
        if own is not None:
            values[self.method] = own
        if found := origins(*entries):
            values[PLUGINS] = found
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """Inverse of :meth:`to_dict`. Unknown keys and wrong types are a :class:`ConfigError`, and so is a plug-in
        that is not loaded, or another version of it."""
        kept = {key: value for key, value in with_current_keys(values).items() if key != PLUGINS}
        require_plugins(values.get(PLUGINS, []))
        own: dict[str, Any] = {}
        method = kept.get("method", cls.method)
        for name, entry in plugin_methods().items():
            if name in kept:
                section = kept.pop(name)
                if not isinstance(section, Mapping):
                    raise not_a_key(name, section)
                try:
                    settings: Any = _build(entry.settings, section, f"{name}.")
                except (ValueError, TypeError, ArithmeticError, AssertionError) as error:  # as strangers check values
                    said = f"{error}" or f"a check of its Settings fails ({type(error).__name__})"
                    raise ConfigError(f"{name}, with {dict(section)}: {said}") from error
                own |= {"own": settings} if name == method else {}
        return _build(cls, kept, "", **own)

    def replace(self, **changes: Any) -> Config:
        """A copy with changed keys; nested ones with ``__``: ``replace(seed=1, data__partition="shards")``."""
        values = self.to_dict()
        (changed,) = with_current_paths([(path_of(key), value) for key, value in changes.items()])
        for path, value in changed:
            assign(values, list(path), value)
        return Config.from_dict(values)


# Method sections are dashed in TOML and on the command line; Python attributes use underscores.
_DASHED = {name.replace("-", "_"): name for name in METHODS}


def dashed(name: str) -> str:
    dashed = name.replace("_", "-")
    return _DASHED.get(name, dashed if dashed in plugin_methods() else name)


def path_of(keyword: str) -> tuple[str, ...]:
    """The key that a Python keyword means: ``data__name`` is ``data.name``."""
    return tuple(dashed(part) for part in keyword.split("__"))


@cache
def _hints_of(cls: type) -> Mapping[str, Any]:
    """The types of a class's fields; working them out is slow."""
    return MappingProxyType(typing.get_type_hints(cls))


@forget_when_new
@cache
def section_types() -> Mapping[str, type]:
    """The sections' names, as in TOML, and their dataclasses."""
    hints = _hints_of(Config)
    sections = {dashed(name): hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}
    return MappingProxyType(sections | {name: entry.settings for name, entry in plugin_methods().items()})


def all_keys() -> list[str]:
    """Every dotted key, for messages and documentation."""
    sections = section_types()
    keys = [f.name for f in dataclasses.fields(Config) if dashed(f.name) not in sections and f.name != "own"]
    for name, section in sections.items():
        keys += [f"{name}.{f.name}" for f in dataclasses.fields(section)]
    return keys


def _build(cls: type[T], values: Mapping[str, Any], prefix: str, **ready: Any) -> T:
    hints = _hints_of(typing.cast(type, cls))
    fields = dataclasses.fields(typing.cast(Any, cls))
    names = {dashed(f.name) if not prefix else f.name: f.name for f in fields if prefix or f.name != "own"}
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if key not in names:
            raise unknown_key(dotted)
        hint = hints[names[key]]
        if is_dataclass(hint):
            if not isinstance(value, Mapping):
                raise not_a_key(dotted, value)
            arguments[names[key]] = _build(typing.cast(type, hint), value, f"{dotted}.")
        else:
            arguments[names[key]] = convert(dotted, value, hint)
    built = cls(**arguments, **ready)
    for name, value in arguments.items():
        large = isinstance(value, float) and MOST_NUMBER < abs(value) < math.inf
        require(not large, f"{prefix}{dashed(name)}", value, f"must be at most {MOST_NUMBER:g}")
    return built


def unknown_key(dotted: str) -> ConfigError:
    """The error for a key that does not exist; method overrides are among the suggestions where one was tried."""
    methods = all_methods()
    general = [key for key in all_keys() if key.partition(".")[0] not in methods]
    overrides = [f"{method}.{key}" for method in methods for key in general] if "." in dotted else []
    suggestion = nearest(dotted, [*all_keys(), *overrides, *moved_keys()])
    for old, new in moved_keys().items():
        suggestion = suggestion.replace(f"'{old}'", f"'{new}'")
    return ConfigError(f"unknown key '{dotted}'{suggestion}; 'ecofed presets --keys' lists all")


def not_a_key(section: str, value: Any) -> ConfigError:
    # A method without keys of its own still takes any general key.
    example = next((key for key in all_keys() if key.startswith(f"{section}.")), f"{section}.learning_rate")
    return ConfigError(f"{section} = {value!r}: is a section; set one of its keys, such as {example}")


@forget_when_new
@cache
def hints_of_keys() -> Mapping[str, Any]:
    """The type of every dotted key."""
    hints = dict(_hints_of(Config))
    for name, section in section_types().items():
        hints |= {f"{name}.{key}": hint for key, hint in _hints_of(section).items()}
    return MappingProxyType({key: hints[key] for key in all_keys()})
