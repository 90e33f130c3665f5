"""Data formats of plug-ins: what they read, as every other format does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecofed.config.registry import FormatEntry
from ecofed.data.assembling import checked_arrays
from ecofed.data.formats import Format
from ecofed.data.formats.parts import Part
from ecofed.data.images import Split, decode, native_size
from ecofed.data.inventory import left_out
from ecofed.data.reading import Reading
from ecofed.errors import DataError, EcoFedError


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """One part of a data set, as a plug-in's format reads it. Sizes, orientation, depth and colour are seen to here."""

    images: np.ndarray | Callable[[], Iterable[tuple[str, bytes]]]
    """Pixels, uint8, (N, H, W, C) with 1 or 3 channels, or (N, H, W). Or a function that gives, one after the other and
    always the same, where a picture is (for messages) and the content of its file (JPEG, PNG, ...)."""
    labels: Any
    """Whole numbers (N,)."""
    classes: tuple[str, ...] | None = None
    """Their names; then labels are positions in them. ``None``: the numbers are the names."""


def own_format(entry: FormatEntry) -> Format:
    """A plug-in's format as the others are."""
    cls = entry.cls

    def find(path: Path) -> list[Path]:
        found: list[Path] = _asked(cls, path, lambda: [Path(file) for file in cls.find(path)])
        return found

    def read(path: Path, part: Part, how: Reading) -> Split | None:
        def split() -> Split | None:
            pictures = cls.read(path, part)
            return None if pictures is None else _split(pictures, how, f"{path}: its {part} part")

        found: Split | None = _asked(cls, path, split)
        return found

    def notes(path: Path, how: Reading) -> list[str]:  # noqa: ARG001
        return left_out(path, find(path))

    return Format(layout=str(cls.layout), find=find, read=read, version=entry.origin.digest, notes=notes)


def _asked(cls: Any, path: Path, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except (EcoFedError, OSError):
        raise
    except Exception as error:  # whatever a stranger's reader raises for a file that it does not understand
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{path}: the format '{cls.name}' cannot read it ({reason})") from error


def _split(pictures: Pictures, how: Reading, where: str) -> Split:
    if callable(pictures.images):
        decoded = decode(pictures.images, how)
        images: Any = np.empty((len(decoded.images_NHWC), 1, 1), np.uint8)  # stands for them: only labels are to check
        _, labels_N = checked_arrays(images, pictures.labels, where)
        split = decoded.split(labels_N, pictures.classes)
    else:
        images_NHWC, labels_N = checked_arrays(pictures.images, pictures.labels, where)
        images_NHWC = native_size(images_NHWC, how.frame)
        split = Split(images_NHWC=images_NHWC, labels_N=labels_N, label_names=pictures.classes)
    classes = pictures.classes
    if classes is not None and not (labels_N.min() >= 0 and labels_N.max() < len(classes)):
        raise DataError(f"{where} has labels {labels_N.min()}..{labels_N.max()} for {len(classes)} classes")
    return split
