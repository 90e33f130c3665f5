"""What a user asked for that changes nothing in a run: said, because whoever sets a key expects something of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ecofed.config import Config, Settings
from ecofed.config.methods import BUILT_IN, OURS, facts_of
from ecofed.config.schema import all_methods, hints_of_keys, section_types
from ecofed.config.settings import key_for
from ecofed.costs.profiles import dealt

#: Of ``[front]``: what is about one that stays as it is.
OF_A_FROZEN_FRONT = ("precision", "delivery", "bytes_per_image")
#: What keeps a key from having an effect is the same for whoever names the methods of a comparison or a sweep.
OF_A_COMPARISON = "--methods says which methods are trained"


@dataclass(frozen=True)
class Asked:
    """A run that is going to be."""

    config: Config
    said: Mapping[str, str] = field(default_factory=dict)
    """Keys that something else than the settings decides, and what does: ``codec.bits``, ``--bits``."""


def without_effect(settings: Settings, methods: Sequence[str], *, one: bool) -> list[str]:
    """A line for each ``--set`` that changes nothing, and for profiles that no device has.

    Files are not looked at key by key: one may well serve several methods.

    Args:
        settings: what the user gave.
        methods: those that will be trained.
        one: the key ``method`` says which; otherwise an option does.

    Raises:
        ConfigError: a pattern of profiles is malformed.
    """
    asked = [Asked(settings.for_method(method)) for method in methods]
    return without_effect_on(settings, asked, chosen="" if one else OF_A_COMPARISON)


def without_effect_on(settings: Settings, asked: Sequence[Asked], *, chosen: str) -> list[str]:
    """The same for runs that not the settings alone decide; ``chosen``: what says which methods they are of."""
    lines = []
    for path, value in settings.assignments[settings.from_file :]:
        if reason := chosen if path == ("method",) else _reason(path, asked):
            lines.append(f"{'.'.join(path)}={value} changes nothing: {reason}")
    return [*lines, *_dealt_to_nobody([one.config for one in asked])]


def no_effect_of(key: str, config: Config) -> str:
    """Why a key changes nothing in a run; empty: it does."""
    return "" if key == "method" else _reason(tuple(key.split(".")), [Asked(config)])


def _reason(path: tuple[str, ...], asked: Sequence[Asked]) -> str:
    if path[0] in all_methods():
        trained = [one.config.method for one in asked]
        asked = [one for one in asked if _reads(one.config.method, path[0], ".".join(path))]
        if not asked:
            names = list(dict.fromkeys(trained))
            return f"{path[0]} is not trained here, {', '.join(names)} {'is' if len(names) == 1 else 'are'}"
        if path[1] in all_methods() and path[1] != path[0]:
            return f"{path[0]} does not read the settings of {path[1]}"
    key = key_for(path, path[0]) or ".".join(path)
    instead = dict.fromkeys(one.said[key] for one in asked if key in one.said)
    free = [one.config for one in asked if key not in one.said]
    if not instead:
        return _unread(key, free)
    return f"it is decided by {' and '.join(instead)}" if not free or _unread(key, free) else ""


def _unread(key: str, configs: Sequence[Config]) -> str:
    """Why a key changes nothing in any of these runs."""
    section, _, name = key.rpartition(".")
    if section == "codec" and all(facts_of(config.method).coded(config) is None for config in configs):
        return f"it needs a method that uploads codes, such as {OURS}"
    frozen = any(facts_of(config.method).needs_frozen_front for config in configs)
    if section == "front" and name in OF_A_FROZEN_FRONT and not frozen:
        return f"it needs a method whose front is frozen, such as {OURS}"
    if key == "front.bytes_per_image" and not any(map(_makes_its_front, configs)):
        return "it needs a backbone's own front: model.name=efficientnet-lite0 or timm:NAME, and front.name=auto"
    reasons = [facts_of(config.method).unread(config).get(key, "") for config in configs]
    if all(reasons):
        return "; ".join(dict.fromkeys(reasons))
    needs = getattr(section_types().get(section), "NEEDS", {}).get(name)
    if needs is None:
        return ""
    condition, holds = needs
    sections = [getattr(config, section.replace("-", "_")) for config in configs]
    return "" if any(holds(own) for own in sections) else f"it needs {condition}"


def _makes_its_front(config: Config) -> bool:
    return config.model.is_backbone and config.front.name == "auto"


def _reads(method: str, section: str, key: str) -> bool:
    """Whether a method reads what stands in another's section: a variant of it does, of the keys that are its own."""
    variant = section in BUILT_IN and issubclass(facts_of(method), BUILT_IN[section])
    return method == section or (variant and key in hints_of_keys())


def _dealt_to_nobody(configs: Sequence[Config]) -> list[str]:
    lines: list[str] = []
    for config in configs:
        patterns = {"clock.device": config.clock.device, "clock.link": config.clock.link}
        if facts_of(config.method).stops_early and config.ecofed.device_cuts not in (None, "auto"):
            patterns["ecofed.device_cuts"] = str(config.ecofed.device_cuts)
        for key, pattern in patterns.items():
            names = dealt(pattern, f"{key}:")
            used = names[: config.devices]
            for name in dict.fromkeys(name for name in names if name not in used):
                count = f"{config.devices} device{'s' if config.devices > 1 else ''}"
                lines.append(f"{key}: no device has '{name}', the pattern is longer than the {count} of the run")
    return list(dict.fromkeys(lines))
