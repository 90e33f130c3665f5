"""Scikit-learn's handwritten digits: 1,797 8x8 images in a Python package, for machines that reach no other."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ecofed.config.network_input import ANY_FRAME, Frame
from ecofed.data.dataset import PNG_HEADER_BYTES, png_bytes
from ecofed.data.images import Split, native_size
from ecofed.errors import MissingExtraError
from ecofed.randomness import permutation

_TOP_LEVEL = 16


@cache
def read_digits(frame: Frame = ANY_FRAME) -> tuple[Split, Split]:
    """Training and test split, 80/20 by a fixed permutation; 32x32 after resizing.

    They never change, so a process makes them once: the arrays cannot be written to.
    """
    table = _table()
    levels = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / _TOP_LEVEL)).astype(np.uint8)
    images_NHWC, labels_N = native_size(levels[..., None], frame), table[:, -1].astype(np.int64)
    order = permutation(0, "digits split", len(labels_N))
    count = len(order) * 4 // 5
    # What sending them would cost is that of 8x8 pixels.
    sizes_N = np.array([png_bytes(image[..., None]) for image in levels], np.int64)
    train, test = (
        Split(
            images_NHWC=_frozen(images_NHWC[part]),
            labels_N=_frozen(labels_N[part]),
            compressed_as="PNG",
            compressed_bytes_N=_frozen(sizes_N[part]),
            shared_header_bytes=PNG_HEADER_BYTES,
            stored_bytes=levels[0].size,
        )
        for part in np.split(order, [count])
    )
    return train, test


def _table() -> np.ndarray:
    """(1797, 65): the pixels, then the digit.

    The package's file is read as it is, since importing the package takes as long as importing PyTorch.
    """
    found = find_spec("sklearn")
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        file = Path(place, "datasets", "data", "digits.csv.gz")
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "digits", "the data set 'digits'") from error
    source = load_digits()
    return np.column_stack([source.data, source.target])


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
