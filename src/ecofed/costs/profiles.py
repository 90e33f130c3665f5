"""Profiles of machines and links: small TOML files, shipped in the package or written by ``ecofed profile``.

A profile states numbers and, under ``[sources]``, where each comes from. Rates are what a program achieves, not what a
data sheet promises.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from ecofed.errors import ConfigError, nearest
from ecofed.files.disk import read_text
from ecofed.files.json_values import parse_toml

FOLDERS = ("devices", "servers", "links")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A device or a server. All rates are effective ones, for float32."""

    name: str
    title: str
    inference_flops_per_second: float
    training_flops_per_second: float
    memory_bytes_per_second: float
    """Reading and writing together."""
    call_overhead_seconds: float
    """Fixed cost of calling one layer once."""
    memory_bytes: int
    runtime_bytes: int
    """What the operating system and the program take before the first tensor."""
    sample_overhead_seconds: float = 0.0
    """Preparing one image on a device: crop, mirror image, normalisation."""
    idle_watts: float | None = None
    busy_watts: float | None = None
    """While computing. Without both figures there is no energy."""

    @property
    def free_bytes(self) -> int:
        """What is left for the network, training and messages."""
        return self.memory_bytes - self.runtime_bytes


@dataclass(frozen=True, kw_only=True)
class Link:
    """Between one device and the server. Every device has its own."""

    name: str
    title: str
    uplink_bits_per_second: float
    downlink_bits_per_second: float
    latency_seconds: float
    """One way."""
    loss: float = 0.0
    """Fraction of the bytes that is lost and sent again."""

    def uplink_seconds(self, count: float) -> float:
        """Sending ``count`` bytes from device to server, without the latency."""
        return 8 * count / self.uplink_bits_per_second / (1 - self.loss)

    def downlink_seconds(self, count: float) -> float:
        """Sending ``count`` bytes from server to device, without the latency."""
        return 8 * count / self.downlink_bits_per_second / (1 - self.loss)


P = TypeVar("P", Machine, Link)


def profile_names(folder: str) -> list[str]:
    """The shipped profiles in ``devices``, ``servers`` or ``links``."""
    files = (resources.files("ecofed.costs") / "library" / folder).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_device(name: str) -> Machine:
    """A shipped device's name, or the path of a profile.

    Raises:
        ConfigError: no such profile, or a file that is not one.
    """
    return _load(name, ("devices", "servers"), Machine)


def load_server(name: str) -> Machine:
    """A shipped server's name, or the path of a profile; errors as for :func:`load_device`."""
    return _load(name, ("servers", "devices"), Machine)


def load_link(name: str) -> Link:
    """A shipped link's name, or the path of a profile; errors as for :func:`load_device`."""
    return _load(name, ("links",), Link)


MOST_DEALT = 10_000
"""Of one profile, in a row."""


def dealt(text: str, what: str = "profile") -> list[str]:
    """``"a:2,b"`` is ``["a", "a", "b"]``: the pattern in which profiles are dealt to the devices, over and over.

    ``what`` they are, for the error.

    Raises:
        ConfigError: an empty list, or a count that is not in 1..10,000.
    """
    pattern: list[str] = []
    for item in (part.strip() for part in text.split(",")):
        name, colon, count = item.rpartition(":")
        if not colon:
            name, count = item, "1"
        if not name or not count.isdecimal() or not 1 <= int(count[:9]) <= MOST_DEALT:
            raise ConfigError(f"{what} '{item}': must be NAME, or NAME:COUNT with a count in 1..{MOST_DEALT}")
        pattern += [name] * int(count)
    return pattern


def sources(name: str, folder: str) -> dict[str, str]:
    """Where the numbers of a shipped profile come from."""
    text = (resources.files("ecofed.costs") / "library" / folder / f"{name}.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text)["sources"])


def _load(name: str, folders: tuple[str, ...], cls: type[P]) -> P:
    for folder in folders:
        if name in profile_names(folder):
            text = (resources.files("ecofed.costs") / "library" / folder / f"{name}.toml").read_text(encoding="utf-8")
            return _parse(text, name, name, cls)
    path = Path(name)
    if not os.path.isfile(path):  # which is also no for a name that no file can have
        known = [shipped for folder in folders for shipped in profile_names(folder)]
        raise ConfigError(f"no profile '{name}'{nearest(name, known)}: a file, or one of {', '.join(known)}")
    return _parse(read_text(path), path.stem, name, cls)


def _parse(text: str, name: str, where: str, cls: type[P]) -> P:
    try:
        values = parse_toml(text)
    except ValueError as error:
        raise ConfigError(f"profile {where}: {error}") from None
    values.pop("sources", None)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.name != "name"}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"profile {where}: unknown key '{key}'{nearest(key, fields)}")
        if key == "title" and not isinstance(value, str):
            raise ConfigError(f"profile {where}: title = {value!r} must be text")
        if key != "title" and not _is_number(value):
            raise ConfigError(f"profile {where}: {key} = {value!r} must be a finite number up to 1e30, not negative")
    missing = [key for key, field in fields.items() if field.default is dataclasses.MISSING and key not in values]
    if missing:
        raise ConfigError(f"profile {where}: lacks '{missing[0]}'")
    zero = [key for key, value in values.items() if key.endswith("per_second") and value <= 0]
    if zero:
        raise ConfigError(f"profile {where}: {zero[0]} must be above 0")
    if values.get("loss", 0) >= 1:
        raise ConfigError(f"profile {where}: loss = {values['loss']} must be below 1")
    return cls(name=name, **values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1e30
