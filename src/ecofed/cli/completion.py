"""What a shell offers after the tab key: presets, methods, configuration keys and their values.

``ecofed --install-completion`` teaches it to the shell.
"""

from __future__ import annotations

from glob import escape, glob

from ecofed.config.keys import configuration_keys
from ecofed.config.presets import preset_description, preset_names
from ecofed.config.schema import all_methods

Offer = list[tuple[str, str]]


def sources(incomplete: str) -> Offer:
    """Presets, and TOML files and folders on the way to them."""
    found = [(name, preset_description(name)) for name in preset_names() if name.startswith(incomplete)]
    paths = [*glob(f"{escape(incomplete)}*.toml"), *glob(f"{escape(incomplete)}*/")]
    return found + [(path, "a file" if path.endswith(".toml") else "a folder") for path in sorted(paths)]


def methods(incomplete: str) -> Offer:
    """The next method of a list with commas; none twice."""
    before, comma, last = incomplete.rpartition(",")
    used = before.split(",")
    return [(f"{before}{comma}{name}", "") for name in all_methods() if name.startswith(last) and name not in used]


def assignments(incomplete: str) -> Offer:
    """``KEY=`` with what it means; after the sign, the values of a key that has few."""
    name, sign, value = incomplete.partition("=")
    override, dot, _ = name.partition(".")
    prefix = f"{override}{dot}" if override in all_methods() and dot else ""
    offers: Offer = []
    for key in configuration_keys():
        for written in dict.fromkeys((key.key, f"{prefix}{key.key}" if "." not in key.key else key.key)):
            if sign and written == name:
                offers += [(f"{name}={one}", "") for one in _values(key.key, key.type) if one.startswith(value)]
            elif not sign and written.startswith(name):
                offers.append((f"{written}=", key.doc.partition(". ")[0].rstrip(".")))
    return offers


def _values(key: str, words: str) -> list[str]:
    if key == "method":
        return list(all_methods())
    if key == "data.name":
        from ecofed.data.known import KNOWN

        return list(KNOWN)
    return words.split(" | ") if " | " in words else []
