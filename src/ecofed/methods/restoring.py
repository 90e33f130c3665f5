"""A method's state from a checkpoint, which is a file, and so may hold anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ecofed.activations import View
from ecofed.errors import CheckpointError, EcoFedError
from ecofed.methods.base import Method, expect


def restore(method: Method, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any], path: Path) -> None:
    """Have a method continue from what its ``state()`` once returned, which was read from ``path``.

    Raises:
        CheckpointError: it is not such a state: something is missing, surplus, or of another type or size.
    """
    try:
        method.load_state(arrays, values)
        kept, _ = method.state()
        compare(kept, arrays)
    except CheckpointError:
        raise
    # Whatever a wrong name, type or size does on its way in; LinAlgError is a ValueError, PyTorch's are RuntimeErrors.
    except (
        *(KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RuntimeError),
        EcoFedError,
    ) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{path}: damaged ({reason}); delete it to start this run again") from error


def compare(kept: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> None:
    """What was taken in must be what was there."""
    for name in sorted(kept.keys() | arrays.keys()):
        if name not in kept or name not in arrays:
            raise ValueError(f"it {'lacks' if name in kept else 'has a strange'} array '{name}'")
        if kept[name].shape != arrays[name].shape:
            raise ValueError(f"'{name}' has shape {arrays[name].shape}, not {kept[name].shape}")


def check_view(name: str, view: View, row_bytes: int, classes: int) -> None:
    """Raise ``ValueError`` unless a view of a checkpoint can be trained on."""
    count = len(view.rows)
    described = (getattr(view.rows, "dtype", None), getattr(view.rows, "shape", None))  # rows on disk are not read
    if described != (np.dtype(np.uint8), (count, row_bytes)):
        raise ValueError(f"'{name}/rows' is {described[0]} {described[1]}, not uint8 {(count, row_bytes)}")
    expect(f"{name}/scale_N", view.scale_N, np.float32, len(view.scale_N) and count)
    expect(f"{name}/sample_N", view.sample_N, np.int64, count)
    check_labels(f"{name}/labels_N", view.labels_N, count, classes)


def check_labels(name: str, labels_N: np.ndarray, count: int, classes: int) -> None:
    """Raise ``ValueError`` unless these are the labels of ``count`` samples."""
    expect(name, labels_N, np.int64, count)
    if count and not 0 <= labels_N.min() <= labels_N.max() < classes:
        raise ValueError(f"'{name}' has a label outside the {classes} classes")
