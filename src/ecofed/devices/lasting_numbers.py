"""Numbers that a device's images keep, whatever comes to its folder later: a server asks for what is new by number.

A file on the device has a line for each image, in the order of their numbers: a fingerprint of its pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np

from ecofed.data.stored import ImageRows
from ecofed.errors import ConfigError
from ecofed.files.disk import read_text, write_text
from ecofed.files.ownership import owned

_DIGITS = 32
#: How long to wait for another process of the device that numbers its images; it reads none meanwhile.
_WAIT_SECONDS = 10.0
#: Images that are read at a time.
_AT_ONCE = 256


def lasting_order(file: Path, images_NHWC: ImageRows) -> np.ndarray:
    """The images' places in the order of their numbers, int64 (N,): those that the file knows, then those that are new,
    which it knows from now on.

    Of two processes of a device that see new images at the same time one waits for the other.

    Raises:
        ConfigError: an image that has a number is not there any more, or the file is another. StorageError: it cannot
            be written. InUseError: another process keeps it.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for at in range(0, len(images_NHWC), _AT_ONCE):
        for place, image_HWC in enumerate(images_NHWC[at : at + _AT_ONCE], start=at):
            places[sha256(np.ascontiguousarray(image_HWC).tobytes()).hexdigest()[:_DIGITS]].append(place)
    with owned(file.parent, f".{file.name}.owner", subject=file, wait_seconds=_WAIT_SECONDS):
        return _numbered(file, places)


def _numbered(file: Path, places: Mapping[str, list[int]]) -> np.ndarray:
    known = read_text(file).split() if file.is_file() else []
    order = []
    for number, digest in enumerate(known):
        if not places.get(digest):
            raise ConfigError(
                f"{file}: image number {number} of this device is not there any more; bring it back, or remove the "
                "file to number the images anew, and take part in new runs only"
            )
        order.append(places[digest].pop(0))
    new = sorted((place, digest) for digest, left in places.items() for place in left)
    if new:
        write_text(file, "".join(f"{digest}\n" for digest in (*known, *(digest for _, digest in new))))
    return np.array([*order, *(place for place, _ in new)], np.int64)
