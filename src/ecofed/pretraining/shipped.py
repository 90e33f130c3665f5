"""The fronts inside the package: which there are, and the one for a model; and the backbones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from ecofed.config.methods import facts_of
from ecofed.config.schema import Config
from ecofed.errors import ConfigError, nearest
from ecofed.files.disk import json_text, write_together
from ecofed.wire import FrontBundle

#: Of the bottleneck fronts, the one that is taken where none is named: fewer bytes an image than its JPEG.
AUTOMATIC_BYTES = 256

_SUFFIX = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class ShippedFront:
    """A front in the package, by its card; :meth:`load` reads the bundle."""

    name: str
    model: str
    width: float
    cut: str
    in_channels: int
    bottleneck: bool
    normalisation: str
    card: dict[str, Any]

    def load(self) -> FrontBundle:
        """Read the bundle."""
        return FrontBundle.decode((_folder() / f"{self.name}{_SUFFIX}").read_bytes())


def shipped_fronts() -> list[ShippedFront]:
    """All fronts in the package, by name."""
    names = sorted(entry.name.removesuffix(".json") for entry in _folder().iterdir() if entry.name.endswith(".json"))
    return [_read(name) for name in names]


def shipped_front(name: str) -> ShippedFront:
    """The front of that name.

    Raises:
        ConfigError: there is none.
    """
    names = [front.name for front in shipped_fronts()]
    if name not in names:
        raise ConfigError(f"no front '{name}'{nearest(name, names)}; 'ecofed front list' shows those that ship")
    return _read(name)


def load_front(name: str) -> FrontBundle:
    """A bundle file, or a shipped front by name.

    Raises:
        ConfigError: neither. WireError: a file that is not a bundle.
    """
    return FrontBundle.load(Path(name)) if Path(name).is_file() else shipped_front(name).load()


def find_shipped(
    model: str,
    width: float,
    cut: str,
    in_channels: int,
    *,
    normalisation: str = "frozen",
    narrow: tuple[int, int] | None = None,
) -> ShippedFront | None:
    """The front for a model, width, cut and input, or ``None``.

    ``narrow``: bytes an image and bits of a bottleneck front; without it the full-size one.
    """
    wanted = (model, width, cut, in_channels, normalisation, narrow)
    for front in shipped_fronts():
        size = (front.card["bytes_per_image"], front.card["bits"]) if front.bottleneck else None
        own = (front.model, front.width, front.cut, front.in_channels, front.normalisation, size)
        if own == wanted:
            return front
    return None


def automatic_front(config: Config, cut: str, in_channels: int, normalisation: str) -> ShippedFront | None:
    """What ``front.name = "auto"`` means: where 2-bit codes travel a bottleneck front, if one ships."""
    place = (config.model.name, config.model.width, cut, in_channels)
    coded, narrow = facts_of(config.method).coded(config), None
    if coded is not None and coded.narrows:
        narrow = find_shipped(*place, normalisation=normalisation, narrow=(AUTOMATIC_BYTES, coded.bits))
    return narrow or find_shipped(*place, normalisation=normalisation)


def write_front(bundle: FrontBundle, folder: Path, name: str) -> Path:
    """Write ``name.safetensors`` and, beside it, ``name.json`` with the card and what identifies the front."""
    path = folder / f"{name}{_SUFFIX}"
    content = bundle.file_content()
    text = json_text({"name": name, **card_of(bundle), "file_sha256": sha256(content).hexdigest()}, indent=2) + "\n"
    write_together({folder / f"{name}.json": text.encode(), path: content})
    return path


def card_of(bundle: FrontBundle) -> dict[str, Any]:
    """What identifies a front, and its card. JSON values."""
    return {
        "id": bundle.id,
        "model": bundle.model,
        "width": bundle.width,
        "cut": bundle.cut,
        "in_channels": bundle.in_channels,
        "bottleneck": bool(bundle.expansion),
        "normalisation": bundle.normalisation,
        "activation_shape": list(bundle.activation_shape),
        "device_bytes": len(bundle.for_device().encode()),
        "card": dict(bundle.card),
    }


def shipped_weights(model: str) -> Traversable:
    """Where the weights of a whole backbone are in the package (:mod:`ecofed.pretraining.int8_weights`)."""
    return _package() / "backbones" / f"{model}{_SUFFIX}"


def shipped_statistics_file(model: str, cut: str) -> Traversable:
    """Where the statistics of a backbone's cut are, if there are any (:mod:`ecofed.pretraining.cut_statistics`)."""
    return _package() / "backbones" / f"{model}-{cut}.statistics"


def _folder() -> Traversable:
    return _package() / "fronts"


def _package() -> Traversable:
    return resources.files("ecofed")


def _read(name: str) -> ShippedFront:
    values = json.loads((_folder() / f"{name}.json").read_text(encoding="utf-8"))
    fields = ("name", "model", "width", "cut", "in_channels", "bottleneck", "normalisation", "card")
    return ShippedFront(**{field: values[field] for field in fields})
