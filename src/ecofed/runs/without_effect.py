"""What a user asked for that changes nothing in a run: said, because whoever sets a key expects something of it."""

from __future__ import annotations

from collections.abc import Sequence

from ecofed.config import Config, Settings
from ecofed.config.methods import BUILT_IN, OURS, facts_of
from ecofed.config.schema import all_methods, hints_of_keys, section_types
from ecofed.costs.profiles import dealt

#: Of ``[front]``: what is about one that stays as it is.
OF_A_FROZEN_FRONT = ("precision", "delivery", "bytes_per_image")


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
    configs = [settings.for_method(method) for method in methods]
    lines = []
    for path, value in settings.assignments[settings.from_file :]:
        if reason := _reason(path, configs, one=one):
            lines.append(f"{'.'.join(path)}={value} changes nothing: {reason}")
    return [*lines, *_dealt_to_nobody(configs)]


def _reason(path: tuple[str, ...], configs: Sequence[Config], *, one: bool) -> str:
    if path == ("method",):
        return "" if one else "--methods says which methods are trained"
    trained = [config.method for config in configs]
    key = ".".join(path)
    if path[0] in all_methods():
        configs = [config for config in configs if _reads(config.method, path[0], key)]
        if not configs:
            return f"{path[0]} is not trained here, {', '.join(trained)} {'is' if len(trained) == 1 else 'are'}"
        if path[1] in all_methods() and path[1] != path[0]:
            return f"{path[0]} does not read the settings of {path[1]}"
    section, name = path[-2] if len(path) > 1 else "", path[-1]
    if section == "codec" and all(facts_of(config.method).coded(config) is None for config in configs):
        return f"it needs a method that uploads codes, such as {OURS}"
    frozen = any(facts_of(config.method).needs_frozen_front for config in configs)
    if section == "front" and name in OF_A_FROZEN_FRONT and not frozen:
        return f"it needs a method whose front is frozen, such as {OURS}"
    if key.endswith("front.bytes_per_image") and not any(map(_makes_its_front, configs)):
        return "it needs a backbone's own front: model.name=efficientnet-lite0 or timm:NAME, and front.name=auto"
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
