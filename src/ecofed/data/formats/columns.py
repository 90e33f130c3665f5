"""Which column of a parquet file holds the pictures, which the labels: named, by a usual name, or as the hub says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ecofed.data.reading import Reading
from ecofed.errors import DataError, nearest
from ecofed.errors.foreign_text import clean
from ecofed.files.json_values import parse

_IMAGE_COLUMNS = ("img", "image", "images", "picture")
# CIFAR-100 has both fine and coarse labels; the fine ones are the task.
_LABEL_COLUMNS = ("fine_label", "label", "labels", "class", "target")


def columns_of(file: Path, schema: Any, how: Reading) -> tuple[str, str]:
    """Names of the picture and the label column of a ``pyarrow.Schema``.

    Raises:
        DataError: there is none, or there are several and nobody said which.
    """
    present: list[str] = schema.names
    kinds = _kinds(schema)
    image = _column(file, present, how.image_column, "data.image_column", _IMAGE_COLUMNS, kinds["image"])
    label = _column(file, present, how.label_column, "data.label_column", _LABEL_COLUMNS, kinds["label"])
    return image, label


def class_names(schema: Any, label: str) -> tuple[str, ...] | None:
    """Class names that the hub keeps in the schema's metadata, where there are any."""
    names = _features(schema).get(label, {}).get("names")
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _column(file: Path, present: list[str], named: str | None, key: str, usual: tuple[str, ...], fit: list[str]) -> str:
    if named is not None:
        if named in present:
            return named
        raise DataError(
            f"{file}: no column '{clean(named)}' ({key}){nearest(named, present)}; it has {_listed(present)}"
        )
    for name in usual:
        if name in present:
            return name
    if len(fit) == 1:
        return fit[0]
    kind = key.removeprefix("data.").removesuffix("_column")
    several = f"several columns could be the {kind} ({_listed(fit)})" if fit else f"no {kind} column"
    expected = f"{key} names it; without it one of {', '.join(usual)} is taken"
    raise DataError(f"{file}: {several}; {expected}; found {_listed(present)}")


def _kinds(schema: Any) -> dict[str, list[str]]:
    """Columns that the hub calls pictures and class labels."""
    told, types = _features(schema), {"image": "Image", "label": "ClassLabel"}
    return {kind: [name for name in told if told[name].get("_type") == word] for kind, word in types.items()}


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """What the hub says of each column that is there."""
    try:
        told = parse((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: told[name] for name in schema.names if isinstance(told.get(name), dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _listed(names: list[str]) -> str:
    return clean(", ".join(names)) or "none"
