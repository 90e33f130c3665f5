"""What may be set anew when a back is trained from a kept buffer, and what the buffer has settled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ecofed.config import Config, Settings
from ecofed.config.fields import flatten
from ecofed.config.methods import OURS, PooledTraining
from ecofed.config.moved import with_current_paths
from ecofed.config.schema import PLUGINS
from ecofed.config.settings import assignments_of
from ecofed.errors import ConfigError
from ecofed.results import flatten as flat
from ecofed.runs.without_effect import without_effect

#: Sections all of whose keys may change.
_SECTIONS = ("clock", "validation")
#: How long is trained, with which draws, on what and where it is tested, and on which machine.
_GENERAL = (
    *("seed", "rounds", "sampled_devices", "batch_size", "learning_rate", "momentum", "local_epochs", "aggregation"),
    *("test_samples", "test_part", "evaluate_every", "precision", "threads", "accelerator", "keep_buffer"),
    *("model.back_width", "model.head_width", "model.back", "model.weights", "initialisation"),
)
#: Of the method's own section.
_OWN = (
    *(field.name for field in dataclasses.fields(PooledTraining)),
    *("server", "flip", "shift", "cutout", "crop", "buffer", "buffer_bytes"),
)
#: What a message lists: those that one would want.
_NAMED = (
    "learning_rate, rounds, seed, momentum, batch_size, model.back_width, model.head_width, and of "
    f"[{OURS}] optimiser, schedule, server_batch_size, server_steps, weight_decay, ema, label_smoothing, mixup, "
    "sampling, flip, crop"
)


def settings_of(config: Config, sets: Iterable[str] = (), keys: Mapping[str, Any] | None = None) -> Settings:
    """The settings of a run, with ``key=value`` words and keyword settings on top.

    Raises:
        ConfigError: an unknown key, or an impossible value.
    """
    values = {key: value for key, value in config.to_dict().items() if key != PLUGINS}
    pairs = flatten(values, ())
    (on_top,) = with_current_paths(assignments_of(sets, "learning_rate=0.003"))
    return Settings((*pairs, *on_top), config.method, len(pairs)).with_set(**dict(keys or {}))


def changed(config: Config, settings: Settings, *, also: tuple[Sequence[str], Sequence[str]] = ((), ())) -> Config:
    """What is trained: a run's configuration with what was set, which touches nothing that made its buffer.

    ``also``: keys, and sections, that may change besides.

    Raises:
        ConfigError: it does; names the key and what it was.
    """
    asked = settings.for_method(settings.method)
    then, now = flat(config.to_dict()), flat(asked.to_dict())
    for key in sorted(then.keys() | now.keys()):
        free = _free(key) or key in also[0] or key.partition(".")[0] in also[1]
        if then.get(key) != now.get(key) and not free:
            raise ConfigError(
                f"{key} = {now.get(key)!r}: the buffer was made with {then.get(key)!r}, and only what comes after the "
                f"cut and how it is trained can change: {_NAMED}"
            )
    return asked


def say_what_changes_nothing(settings: Settings, note: Callable[[str], None]) -> None:
    """A note for each key that was set on top of a run's own and changes nothing."""
    for text in without_effect(settings, [settings.method], one=True):
        note(text)


def alone(config: Config) -> Config:
    """The same with nobody to deliver to, and nobody to ask how good the network is: no device is there.

    What devices held out themselves is not in the buffer. Where test images judge nothing more is held out, and where
    there are none a share of what is there.
    """
    fraction = config.validation.fraction
    if config.validation.on_devices and config.test_samples:
        fraction = 0.0
    return config.replace(delivery="none", validation__on_devices=False, validation__fraction=fraction)


def differences(config: Config, other: Config) -> dict[str, list[Any]]:
    """Keys that differ, with both values."""
    then, now = flat(config.to_dict()), flat(other.to_dict())
    return {key: [then.get(key), now[key]] for key in now if then.get(key) != now[key] and key != "delivery"}


def _free(key: str) -> bool:
    section, _, name = key.rpartition(".")
    return key in _GENERAL or section in _SECTIONS or (section == OURS and name in _OWN)
