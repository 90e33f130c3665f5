"""A data format of one's own: arrays in ``train.npz`` and ``test.npz``, as many notebooks leave them::

ecofed run quickstart --plugin examples/own_format.py --set data.name=npz:DIR
ecofed evaluate runs/quickstart-ecofed --plugin examples/own_format.py --data npz:OTHER
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import ecofed
from ecofed.data import Pictures


@ecofed.register_format
class Arrays:
    """Each file holds ``images``, uint8 (N, H, W, C), and ``labels`` (N,); ``train.npz`` may name the ``classes``."""

    name = "npz"
    layout = "train.npz and test.npz, each with the arrays 'images' and 'labels'"

    @staticmethod
    def find(path: Path) -> list[Path]:
        """The files, so that what was read is known again: by their content it is cached, and a change is noticed."""
        return [file for file in (path / "train.npz", path / "test.npz") if file.is_file()]

    @staticmethod
    def read(path: Path, part: str) -> Pictures | None:
        """``part`` is ``train`` or ``test``. Whatever is raised here becomes one line that names the path."""
        file = path / f"{part}.npz"
        if not file.is_file():
            return None
        with np.load(file) as arrays, np.load(path / "train.npz") as of_training:
            classes = tuple(map(str, of_training["classes"])) if "classes" in of_training else None
            return Pictures(images=arrays["images"], labels=arrays["labels"], classes=classes)
