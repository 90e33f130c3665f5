"""Pictures to one uint8 array, or rows on the disk, as networks take them. Grey stays one channel.

Without a frame, what is not 28..32 pixels becomes 32x32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from tempfile import TemporaryFile, gettempdir
from typing import BinaryIO

import numpy as np
from PIL import Image

from ecofed.config.network_input import ANY_FRAME, Frame
from ecofed.data.pictures import show
from ecofed.data.reading import Reading
from ecofed.data.stored import ImageRows, RowFile, StoredImages
from ecofed.errors import StorageError
from ecofed.files.disk import writing

SIZE = 32
"""Side of the images that the networks take."""
NATIVE = range(28, SIZE + 1)
"""Sides that are kept as they are; the rest up to 32 is padding."""

ANYHOW = Reading()

_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PN": "PNG"}

Encoded = Iterable[tuple[str, bytes]]
"""Where a picture is, for errors, and its file's content."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split as a format reads it, before class names are settled."""

    images_NHWC: ImageRows
    labels_N: np.ndarray
    """int64; positions in ``label_names`` where there are any, otherwise the source's own numbers."""
    label_names: tuple[str, ...] | None = None
    compressed_as: str | None = None
    compressed_bytes_N: np.ndarray | None = None
    shared_header_bytes: int = 0
    device_N: np.ndarray | None = None
    """int64; whose image it is, in the order of the devices' names, where that was asked for."""
    device_names: tuple[str, ...] = ()
    """Of those devices."""
    stored_bytes: int = 0
    """Of one raw image at the source's own size, where that is smaller than ``images_NHWC``; otherwise 0."""
    white: int = 0
    """The white level of its pictures of more than 8 bits (:mod:`ecofed.data.pictures`); 0: it has none."""
    needed: int = 0
    """The white level that they need by themselves."""
    too_bright: int = 0
    """How many pictures hold numbers above the white level that was asked for: there they are white."""
    several: int = 0
    """How many files hold more than one picture: the first was taken."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Pictures as pixels and, unless one of them was resized, what they took compressed."""

    images_NHWC: ImageRows
    compressed_as: str | None = None
    """``JPEG`` (also when only some are) or ``PNG``."""
    compressed_bytes_N: np.ndarray | None = None
    shared_header_bytes: int = 0
    """How many bytes all of them begin with."""
    white: int = 0
    needed: int = 0
    too_bright: int = 0
    several: int = 0

    def split(
        self,
        labels_N: np.ndarray,
        label_names: tuple[str, ...] | None,
        owners: tuple[np.ndarray, tuple[str, ...]] | None = None,
    ) -> Split:
        """With their labels, and whose they are: numbers, and the names of the devices."""
        device_N, device_names = owners or (None, ())
        return Split(
            labels_N=labels_N, label_names=label_names, device_N=device_N, device_names=device_names, **vars(self)
        )


def decode(encoded: Callable[[], Encoded], how: Reading = ANYHOW) -> Decoded:
    """Decode pictures. Those of a frame that covers stay on the disk, others in memory.

    ``encoded`` makes an iterator over them, always the same. It is asked a second time where pictures have more than 8
    bits and a later one shows that they have more than was thought, or where colour comes after grey.

    Raises:
        DataError: for the first picture that does not decode. StorageError: no room for decoded photographs.
    """
    seen = _Seen(how.white)
    images_NHWC, resized = _on_disk(encoded, seen, how) if how.frame.cover else _in_memory(encoded, seen, how.frame)
    if len(images_NHWC) == 0:
        return Decoded(images_NHWC=np.zeros((0, SIZE, SIZE, 1), np.uint8))
    kind = "JPEG" if "JPEG" in seen.kinds else "PNG" if seen.kinds == {"PNG"} else None
    stored = kind is not None and not resized
    return Decoded(
        images_NHWC=images_NHWC,
        compressed_as=kind if stored else None,
        compressed_bytes_N=np.array(seen.sizes, np.int64) if stored else None,
        shared_header_bytes=len(seen.header or b"") if stored else 0,
        white=seen.white or seen.needed if seen.needed else 0,
        needed=seen.needed,
        too_bright=seen.too_bright,
        several=seen.several,
    )


class _Seen:
    """What pictures tell while they are decoded, one after the other."""

    def __init__(self, white: int | None) -> None:
        self.white = white
        self.start()

    def start(self) -> None:
        """Before the first picture."""
        self.sizes: list[int] = []
        self.kinds: set[str | None] = set()
        self.header: bytes | None = None
        self.needed, self.several = 0, 0
        self._levels: dict[int, int] = {}

    def pixels(self, where: str, data: bytes) -> np.ndarray:
        """The next picture, (H, W, C)."""
        shown = show(where, data, self.white or self.needed or None)
        if shown.needs > self.needed > 0 and self.white is None:  # it was shown by the others' level
            shown = show(where, data)
        self.needed = max(self.needed, shown.needs)
        self.several += shown.several
        if shown.needs:
            self._levels[len(self.sizes)] = self.needed if self.white is None else shown.needs
        self.sizes.append(len(data))
        self.kinds.add(_MAGIC.get(data[:3]))
        if self.header is None or not data.startswith(self.header):
            self.header = data if self.header is None else _common_start(self.header, data)
        return shown.pixels_HWC

    @property
    def too_bright(self) -> int:
        return 0 if self.white is None else sum(level > self.white for level in self._levels.values())

    def again(self, encoded: Callable[[], Encoded]) -> Iterator[tuple[int, np.ndarray]]:
        """Those that a later picture's level changes, with their numbers."""
        outdated = {number for number, level in self._levels.items() if self.white is None and level < self.needed}
        for number, (where, data) in enumerate(encoded() if outdated else ()):
            if number in outdated:
                yield number, show(where, data, self.needed).pixels_HWC


def _in_memory(encoded: Callable[[], Encoded], seen: _Seen, frame: Frame) -> tuple[np.ndarray, bool]:
    """All of them, and whether one was resized."""
    resized = False
    pictures: list[np.ndarray] = []
    for where, data in encoded():
        picture, changed = as_input(seen.pixels(where, data), frame)
        resized |= changed
        pictures.append(picture)
    for number, pixels_HWC in seen.again(encoded):
        pictures[number], _ = as_input(pixels_HWC, frame)
    if len({picture.shape[:2] for picture in pictures}) > 1:
        resized = True
        pictures = [resize(picture) for picture in pictures]
    if len({picture.shape[2] for picture in pictures}) > 1:
        pictures = [as_colour(picture) for picture in pictures]
    return np.stack(pictures) if pictures else np.empty((0, 0, 0, 1), np.uint8), resized


class _ColourAfterGrey(Exception):  # noqa: N818 - no error: pictures are read once more
    pass


def _on_disk(encoded: Callable[[], Encoded], seen: _Seen, how: Reading) -> tuple[ImageRows, bool]:
    """All of them in a file; that they were resized makes no difference to what their own files take."""

    def write(stream: BinaryIO) -> tuple[int, int, int]:
        try:
            return _write_rows(stream, encoded, seen, how.frame, coloured=False)
        except _ColourAfterGrey:
            stream.seek(0)
            stream.truncate()
            return _write_rows(stream, encoded, seen, how.frame, coloured=True)

    try:
        if how.store is None:
            raise StorageError("no place to keep them")
        with writing(how.store, durable=False) as kept:
            shape_HWC = write(kept)
        file: BinaryIO = how.store.open("rb")
    except (OSError, StorageError):  # a full or read-only disk costs time on the next run, nothing else
        try:
            file = TemporaryFile()  # noqa: SIM115 - it lives as long as its pictures
            shape_HWC = write(file)
        except OSError as error:
            raise StorageError(f"no room for decoded photographs in {gettempdir()} ({error.strerror})") from error
    return StoredImages(RowFile(file), shape_HWC, np.arange(len(seen.sizes))), False


def _write_rows(
    stream: BinaryIO, encoded: Callable[[], Encoded], seen: _Seen, frame: Frame, *, coloured: bool
) -> tuple[int, int, int]:
    """Write pictures row after row; returns the shape of one."""
    seen.start()
    shape_HWC = (0, 0, 1)
    for number, (where, data) in enumerate(encoded()):
        pixels_HWC = seen.pixels(where, data)
        frame = frame.settled(*pixels_HWC.shape[:2])
        row_HWC, _ = as_input(as_colour(pixels_HWC) if coloured else pixels_HWC, frame)
        if number == 0:
            shape_HWC = (row_HWC.shape[0], row_HWC.shape[1], row_HWC.shape[2])
        elif row_HWC.shape[2] > shape_HWC[2]:
            raise _ColourAfterGrey
        stream.write((as_colour(row_HWC) if shape_HWC[2] == 3 else row_HWC).tobytes())
    for number, pixels_HWC in seen.again(encoded):
        row_HWC, _ = as_input(as_colour(pixels_HWC) if shape_HWC[2] == 3 else pixels_HWC, frame)
        stream.seek(number * row_HWC.size)
        stream.write(row_HWC.tobytes())
    return shape_HWC


def _common_start(first: bytes, second: bytes) -> bytes:
    length = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    return first[:length]


def as_input(pixels_HWC: np.ndarray, frame: Frame = ANY_FRAME) -> tuple[np.ndarray, bool]:
    """A picture of any size as a frame that is settled wants it (otherwise 28 to 32 pixels a side), uint8; and whether
    it was resized."""
    height, width = pixels_HWC.shape[:2]
    if frame.cover:
        return covering(pixels_HWC, frame.sides), (height, width) != frame.sides
    if frame.sides:
        return resize(pixels_HWC, frame.sides), (height, width) != frame.sides
    if height in NATIVE and width in NATIVE:
        return pixels_HWC, False
    return resize(pixels_HWC), True


def covering(image_HWC: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    """The middle of an image, scaled with antialiasing to this height and width (equal ones); proportions are kept."""
    height, width = image_HWC.shape[:2]
    side = min(height, width)
    top, left = (height - side) / 2, (width - side) / 2
    return resize(image_HWC, sides, (left, top, left + side, top + side))


def resize(
    image_HWC: np.ndarray, size: tuple[int, ...] = (SIZE, SIZE), box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """Bilinear, with antialiasing, to this height and width, uint8; an image of that size is returned as it is.

    ``box``: the part of the image that is taken: left, upper, right, lower; ``None``: all of it.
    """
    height, width = image_HWC.shape[:2]
    if (height, width) == size and box in (None, (0, 0, width, height)):
        return image_HWC
    grey = image_HWC.shape[2] == 1
    image = Image.fromarray(image_HWC[:, :, 0] if grey else image_HWC)
    height, width = size
    pixels = np.array(image.resize((width, height), Image.Resampling.BILINEAR, box), np.uint8)
    return pixels.reshape(height, width, -1)


def native_size(images_NHWC: np.ndarray, frame: Frame) -> np.ndarray:
    """Raw images of one size at 28..32 pixels a side: unchanged, or resized to 32x32; or as a frame wants them."""
    height, width = images_NHWC.shape[1:3]
    frame = frame.settled(height, width)
    if not frame.sides and height in NATIVE and width in NATIVE:
        return images_NHWC
    if (height, width) == frame.sides or len(images_NHWC) == 0:
        return images_NHWC
    return np.stack([as_input(image, frame)[0] for image in images_NHWC])


def as_colour(image: np.ndarray) -> np.ndarray:
    """Three equal channels from one; the channel axis is the last."""
    return image if image.shape[-1] == 3 else np.repeat(image, 3, axis=-1)


def coloured(images_NHWC: ImageRows) -> ImageRows:
    """:func:`as_colour` of all of them, wherever they are."""
    return images_NHWC.as_colour() if isinstance(images_NHWC, StoredImages) else as_colour(images_NHWC)
