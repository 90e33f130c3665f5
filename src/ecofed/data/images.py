"""Pictures to one uint8 array as networks take it. Grey stays one channel; what is not 28..32 pixels becomes 32x32."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ecofed.data.pictures import show

SIZE = 32
"""Side of the images that the networks take."""
NATIVE = range(28, SIZE + 1)
"""Sides that are kept as they are; the rest up to 32 is padding."""

_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PN": "PNG"}

Encoded = Iterable[tuple[str, bytes]]
"""Where a picture is, for errors, and its file's content."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split as a format reads it, before class names are settled."""

    images_NHWC: np.ndarray
    labels_N: np.ndarray
    """int64; positions in ``label_names`` where there are any, otherwise the source's own numbers."""
    label_names: tuple[str, ...] | None = None
    compressed_as: str | None = None
    compressed_bytes_N: np.ndarray | None = None
    shared_header_bytes: int = 0
    stored_bytes: int = 0
    """Of one raw image at the source's own size, where that is smaller than ``images_NHWC``; otherwise 0."""
    white: int = 0
    """The white level of its pictures of more than 8 bits (:mod:`ecofed.data.pictures`); 0: it has none."""
    too_bright: int = 0
    """How many pictures hold numbers above the white level that was asked for: there they are white."""
    several: int = 0
    """How many files hold more than one picture: the first was taken."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Pictures as pixels and, unless one of them was resized, what they took compressed."""

    images_NHWC: np.ndarray
    compressed_as: str | None = None
    """``JPEG`` (also when only some are) or ``PNG``."""
    compressed_bytes_N: np.ndarray | None = None
    shared_header_bytes: int = 0
    """How many bytes all of them begin with."""
    white: int = 0
    too_bright: int = 0
    several: int = 0

    def split(self, labels_N: np.ndarray, label_names: tuple[str, ...] | None) -> Split:
        """With their labels."""
        return Split(labels_N=labels_N, label_names=label_names, **vars(self))


def decode(encoded: Callable[[], Encoded], white: int | None = None, size: tuple[int, ...] = ()) -> Decoded:
    """Decode pictures.

    Args:
        encoded: makes an iterator over them, always the same. It is asked a second time where pictures have more than
            8 bits and a later one shows that they have more than was thought.
        white: the level of the pictures of more than 8 bits; ``None``: what the one that needs most needs.
        size: height and width that all are scaled to; empty: 32x32 unless all are of one size of 28 to 32 pixels.

    Raises:
        DataError: for the first picture that does not decode.
    """
    pictures: list[np.ndarray] = []
    sizes: list[int] = []
    kinds: set[str | None] = set()
    resized = False
    header: bytes | None = None
    needed, several, levels = 0, 0, dict[int, int]()
    for number, (where, data) in enumerate(encoded()):
        shown = show(where, data, white or needed or None)
        if shown.needs > needed > 0 and white is None:  # it was shown by the others' level
            shown = show(where, data)
        needed = max(needed, shown.needs)
        several += shown.several
        if shown.needs:
            levels[number] = needed if white is None else shown.needs
        picture, changed = as_input(shown.pixels_HWC, size)
        resized |= changed
        pictures.append(picture)
        sizes.append(len(data))
        kinds.add(_MAGIC.get(data[:3]))
        if header is None or not data.startswith(header):
            header = data if header is None else _common_start(header, data)
    if not pictures:
        return Decoded(images_NHWC=np.zeros((0, SIZE, SIZE, 1), np.uint8))
    too_bright = 0 if white is None else sum(level > white for level in levels.values())
    outdated = {number for number, level in levels.items() if white is None and level < needed}
    if outdated:
        for number, (where, data) in enumerate(encoded()):
            if number in outdated:
                pictures[number], _ = as_input(show(where, data, needed).pixels_HWC, size)
    if len({picture.shape[:2] for picture in pictures}) > 1:
        resized = True
        pictures = [resize(picture) for picture in pictures]
    if len({picture.shape[2] for picture in pictures}) > 1:
        pictures = [as_colour(picture) for picture in pictures]
    kind = "JPEG" if "JPEG" in kinds else "PNG" if kinds == {"PNG"} else None
    stored = kind is not None and not resized
    return Decoded(
        images_NHWC=np.stack(pictures),
        compressed_as=kind if stored else None,
        compressed_bytes_N=np.array(sizes, np.int64) if stored else None,
        shared_header_bytes=len(header or b"") if stored else 0,
        white=needed if white is None or not needed else white,
        too_bright=too_bright,
        several=several,
    )


def _common_start(first: bytes, second: bytes) -> bytes:
    length = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    return first[:length]


def as_input(pixels_HWC: np.ndarray, size: tuple[int, ...] = ()) -> tuple[np.ndarray, bool]:
    """A picture of any size at 28 to 32 pixels a side (or at just this size), uint8; and whether it was resized."""
    height, width = pixels_HWC.shape[:2]
    if size:
        return resize(pixels_HWC, size), (height, width) != size
    if height in NATIVE and width in NATIVE:
        return pixels_HWC, False
    return resize(pixels_HWC), True


def resize(image_HWC: np.ndarray, size: tuple[int, ...] = (SIZE, SIZE)) -> np.ndarray:
    """Bilinear to this height and width, uint8; an image of that size is returned as it is."""
    if image_HWC.shape[:2] == size:
        return image_HWC
    grey = image_HWC.shape[2] == 1
    image = Image.fromarray(image_HWC[:, :, 0] if grey else image_HWC)
    height, width = size
    pixels = np.array(image.resize((width, height), Image.Resampling.BILINEAR), np.uint8)
    return pixels.reshape(height, width, -1)


def native_size(images_NHWC: np.ndarray, size: tuple[int, ...] = ()) -> np.ndarray:
    """Raw images at 28..32 pixels a side: unchanged, or resized to 32x32; or at just this size."""
    if images_NHWC.shape[1:3] == size:
        return images_NHWC
    if not size and images_NHWC.shape[1] in NATIVE and images_NHWC.shape[2] in NATIVE:
        return images_NHWC
    size = size or (SIZE, SIZE)
    return np.stack([resize(image, size) for image in images_NHWC]) if len(images_NHWC) else images_NHWC


def as_colour(image: np.ndarray) -> np.ndarray:
    """Three equal channels from one; the channel axis is the last."""
    return image if image.shape[-1] == 3 else np.repeat(image, 3, axis=-1)
