"""Encoded pictures to one uint8 array. Grey stays one channel; what is not 28..32 pixels becomes 32x32."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ecofed.errors import DataError

SIZE = 32
"""Side of the images that the networks take."""
NATIVE = range(28, SIZE + 1)
"""Sides that are kept as they are; the rest up to 32 is padding."""
MAX_PIXELS = 64_000_000
"""A picture whose header promises more is refused before memory is taken for it."""

# Pillow knows more, and some of those start other programs (EPS: Ghostscript).
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
_GREY_MODES = ("1", "L", "LA", "I")
_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PN": "PNG"}


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


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Pictures as pixels and, unless one of them was resized, what they took compressed."""

    images_NHWC: np.ndarray
    compressed_as: str | None = None
    """``JPEG`` (also when only some are) or ``PNG``."""
    compressed_bytes_N: np.ndarray | None = None
    shared_header_bytes: int = 0
    """How many bytes all of them begin with."""


def decode(encoded: Iterable[tuple[str, bytes]]) -> Decoded:
    """Decode ``(where, bytes)`` pairs; ``where`` names a picture in an error.

    Raises :class:`DataError` for the first picture that does not decode.
    """
    pictures: list[np.ndarray] = []
    sizes: list[int] = []
    kinds: set[str | None] = set()
    resized = False
    header: bytes | None = None
    for where, data in encoded:
        picture, changed = decode_one(where, data)
        resized |= changed
        pictures.append(picture)
        sizes.append(len(data))
        kinds.add(_MAGIC.get(data[:3]))
        if header is None or not data.startswith(header):
            header = data if header is None else _common_start(header, data)
    if not pictures:
        return Decoded(images_NHWC=np.zeros((0, SIZE, SIZE, 1), np.uint8))
    if len({picture.shape[:2] for picture in pictures}) > 1:
        resized = True
        pictures = [resize(picture) for picture in pictures]
    if len({picture.shape[2] for picture in pictures}) > 1:
        pictures = [as_colour(picture) for picture in pictures]
    images_NHWC = np.stack(pictures)
    kind = "JPEG" if "JPEG" in kinds else "PNG" if kinds == {"PNG"} else None
    if resized or kind is None:
        return Decoded(images_NHWC=images_NHWC)
    return Decoded(
        images_NHWC=images_NHWC,
        compressed_as=kind,
        compressed_bytes_N=np.array(sizes, np.int64),
        shared_header_bytes=len(header or b""),
    )


def _common_start(first: bytes, second: bytes) -> bytes:
    length = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    return first[:length]


def decode_one(where: str, data: bytes) -> tuple[np.ndarray, bool]:
    """One picture (H, W, 1 or 3), uint8, 28 to 32 pixels a side, and whether it was resized to that.

    Raises :class:`DataError`, naming ``where``.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{where}: {image.width}x{image.height} pixels are more than {MAX_PIXELS:,}")
            grey = image.mode in _GREY_MODES or image.mode.startswith("I;")
            changed = image.width not in NATIVE or image.height not in NATIVE
            plain = _eight_bit_grey(image) if grey else image.convert("RGB")
            if changed:
                plain = plain.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            pixels = np.array(plain, np.uint8)
    except DataError:
        raise
    # Pillow's decoders raise whatever they like on malformed input (SyntaxError and struct.error among them).
    except Exception as error:
        raise DataError(f"{where}: not a picture that can be read ({_first_line(error)})") from error
    return pixels.reshape(*pixels.shape[:2], -1), changed


def _eight_bit_grey(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16 bits: Pillow's own conversion would clip at 255 instead of scaling.
        return Image.fromarray((np.asarray(image).astype(np.int64) // 257).clip(0, 255).astype(np.uint8))
    return image.convert("L")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]


def resize(image_HWC: np.ndarray) -> np.ndarray:
    """Bilinear to 32x32, uint8; an image of that size is returned as it is."""
    if image_HWC.shape[:2] == (SIZE, SIZE):
        return image_HWC
    grey = image_HWC.shape[2] == 1
    image = Image.fromarray(image_HWC[:, :, 0] if grey else image_HWC)
    pixels = np.array(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.uint8)
    return pixels.reshape(SIZE, SIZE, -1)


def native_size(images_NHWC: np.ndarray) -> np.ndarray:
    """Raw images at 28..32 pixels a side: unchanged, or resized to 32x32."""
    if images_NHWC.shape[1] in NATIVE and images_NHWC.shape[2] in NATIVE:
        return images_NHWC
    return np.stack([resize(image) for image in images_NHWC]) if len(images_NHWC) else images_NHWC


def as_colour(image: np.ndarray) -> np.ndarray:
    """Three equal channels from one; the channel axis is the last."""
    return image if image.shape[-1] == 3 else np.repeat(image, 3, axis=-1)
