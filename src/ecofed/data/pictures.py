"""A picture's bytes to what a viewer shows: its first frame, upright, opaque, 8 bits, grey or colour.

Training, evaluation, ``predict`` and devices all decode here, so that they see the same. How a picture then becomes the
input of a network (its size) is the matter of :mod:`ecofed.data.images`.

- **Upright**: the orientation that a camera notes (EXIF) is carried out.
- **Opaque**: what is transparent shows white.
- **Depth**: 16 bits often hold numbers of 10 or 12, which are almost black in the full range. No single picture can
  tell, so a white level is settled once for a whole data set, and a network is used with the one of its training.

Colour profiles are not applied. Shape legend: H rows, W columns, C channels (1 or 3).
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ecofed.config.network_input import FULL_WHITE
from ecofed.errors import DataError, EcoFedError, MissingExtraError

MAX_PIXELS = 64_000_000
"""A picture whose header promises more is refused before memory is taken for it."""
FRACTIONS = 1
"""The white level of pictures in fractions of one (float TIFF)."""
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".dib", ".gif", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif", ".heic", ".heif", ".hif"),
)
"""Names of files that are taken for pictures."""

# Pillow knows more, and some of those start other programs (EPS: Ghostscript).
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_WHITES = tuple((1 << bits) - 1 for bits in (8, 10, 12, 14, 16, 24, 32))
_ORIENTATION = 0x0112
_TURNED: dict[Any, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels),
}
# Pillow reads 16-bit colour by its upper bytes. Read in the other byte order the same data give the lower ones.
_LOWER = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
_WHITE_IS_ZERO, _PHOTOMETRIC, _SAMPLE_BITS, _SAMPLE_FORMAT, _UNSIGNED = 0, 262, 258, 339, 1


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a viewer shows of a picture."""

    pixels_HWC: np.ndarray
    """uint8."""
    needs: int
    """The white level that its numbers need, where they have more than 8 bits: :data:`FRACTIONS`, 255, 1023, ...
    0: it has 8 bits, or is black."""
    several: bool = False
    """The file holds further pictures: an animation, pages. Only the first is shown."""


def show(where: str, data: bytes, white: int | None = None) -> Shown:
    """Decode a picture.

    Args:
        where: names the picture in an error.
        data: the content of its file.
        white: the number that is white, in pictures of more than 8 bits; ``None``: what this picture needs.

    Raises:
        DataError: it cannot be read, or holds no brightness (negative numbers, NaN, fractions among whole numbers).
        MissingExtraError: a HEIC picture, without the package that reads them.
    """
    with _failing(where), warnings.catch_warnings():
        # Of metadata that cannot be understood; they name no file, and viewers say nothing either.
        warnings.simplefilter("ignore")
        return _shown(where, data, white)


def _shown(where: str, data: bytes, white: int | None) -> Shown:
    with _opened(where, data) as image:
        if image.width * image.height > MAX_PIXELS:
            raise DataError(f"{where}: {image.width}x{image.height} pixels are more than {MAX_PIXELS:,}")
        deep = _deep(where, image, data)
        if deep is None:
            pixels_HWC, needs = _eight_bit(image), 0
        else:
            values_HWC, opaque_HW = deep
            needs = _white_for(values_HWC)
            pixels_HWC = _scaled(where, values_HWC, opaque_HW, needs, white)
        # Asked after loading: TIFF files turn themselves then, and say so.
        turn = _TURNED.get(_orientation(image))
        upright_HWC = pixels_HWC if turn is None else np.ascontiguousarray(turn(pixels_HWC))
        return Shown(pixels_HWC=upright_HWC, needs=needs, several=_holds_several(image))


@contextmanager
def _failing(where: str) -> Iterator[None]:
    try:
        yield
    except EcoFedError:
        raise
    # Pillow's decoders raise whatever they like on malformed input (SyntaxError and struct.error among them).
    except Exception as error:
        unknown = isinstance(error, UnidentifiedImageError)  # whose words are of an object in memory, not of the file
        reason = "of no format that is known" if unknown else (str(error) or type(error).__name__).splitlines()[0][:120]
        raise DataError(f"{where}: not a picture that can be read ({reason})") from error


def _opened(where: str, data: bytes) -> Image.Image:
    if not data:
        raise DataError(f"{where}: not a picture that can be read (the file is empty)")
    if data[4:8] == b"ftyp" and data[8:12] in _BRANDS:
        try:
            import pillow_heif
        except ImportError as error:
            raise MissingExtraError("pillow-heif", "heic", f"reading {where}") from error
        pillow_heif.register_heif_opener()  # does nothing the second time
        return Image.open(io.BytesIO(data), formats=("HEIF",))
    return Image.open(io.BytesIO(data), formats=_FORMATS)


def _orientation(image: Image.Image) -> Any:
    """As the camera noted it; what cannot be understood is ignored, as viewers do."""
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:
        return None


def _holds_several(image: Image.Image) -> bool:
    # Phones put what belongs to the one picture into the same file (MPO: the other eye, depth, brightness).
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def _eight_bit(image: Image.Image) -> np.ndarray:
    grey = image.mode in ("1", "L", "LA", "La")
    plain, whole = ("L", "LA") if grey else ("RGB", "RGBA")
    # A key in the palette or in the header, or a channel of its own.
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info or _palette_alpha(image):
        over = image.convert("RGBA").convert(whole) if image.mode in ("La", "RGBa", "1") else image.convert(whole)
        shown = Image.new(plain, image.size, "white")
        shown.paste(over.convert(plain), mask=over.getchannel("A"))
    else:
        shown = image.convert(plain)
    pixels = np.array(shown, np.uint8)
    return pixels.reshape(*pixels.shape[:2], -1)


def _palette_alpha(image: Image.Image) -> bool:
    return image.mode == "P" and image.palette is not None and image.palette.mode.endswith("A")


# --- more than 8 bits ---


def _deep(where: str, image: Image.Image, data: bytes) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Numbers (H, W, C) and, where some are transparent, opacity (H, W) in 0..1; ``None`` for 8 bits and fewer."""
    tags: Any = getattr(image, "tag_v2", {})
    raw = _raw_mode(image)
    values_HWC: np.ndarray
    opaque_HW: np.ndarray | None = None
    if image.mode[0] in "IF":
        values_HWC = np.asarray(image)[..., None]
        if values_HWC.dtype == np.int32 and tags.get(_SAMPLE_FORMAT) == (_UNSIGNED,):
            values_HWC = values_HWC.view(np.uint32)
    elif ";16" in raw and image.mode != "CMYK":
        values_HWC = _wide(image, data, raw)
        if values_HWC.shape[2] in (2, 4):
            opaque_HW, values_HWC = values_HWC[..., -1] / FULL_WHITE, values_HWC[..., :-1]
    elif image.mode != "CMYK" and max(tags.get(_SAMPLE_BITS, (8,))) > 8:
        raise DataError(f"{where}: holds colour of more than 8 bits in a form that cannot be read; save it as PNG")
    else:
        return None
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        raise DataError(f"{where}: holds more than 8 bits with white as 0, and nothing says what black is; invert it")
    if not np.isfinite(values_HWC).all():
        raise DataError(f"{where}: holds numbers that are not finite")
    if values_HWC.min() < 0:
        raise DataError(f"{where}: holds negative numbers, which are no brightness; save it with 8 or 16 bits")
    if values_HWC.max() > _WHITES[-1]:
        raise DataError(f"{where}: holds numbers above {_WHITES[-1]:,}; save it with 8 or 16 bits")
    key = image.info.get("transparency")
    if key is not None and opaque_HW is None:
        opaque_HW = (values_HWC != np.reshape(key, (1, 1, -1))).any(axis=2).astype(np.float64)
    return values_HWC, opaque_HW


def _raw_mode(image: Image.Image) -> str:
    """How the numbers lie in the file, in Pillow's words."""
    tiles: list[Any] = getattr(image, "tile", [])
    arguments: Any = tiles[0][3] if tiles else ""
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return raw if isinstance(raw, str) else ""


def _wide(image: Image.Image, data: bytes, raw: str) -> np.ndarray:
    """16-bit numbers (H, W, 2 to 4) of colour, or of grey with opacity."""
    # Two numbers of two bytes are, byte by byte, what four channels of 8 bits are.
    other = "RGBA" if raw == "LA;16B" else raw.partition(";")[0] + ";" + _LOWER[raw.partition(";")[2]]
    with Image.open(io.BytesIO(data), formats=_FORMATS) as again:
        again.tile = [
            tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other)
            for tile in again.tile
        ]
        bytes_HWC = np.asarray(again).astype(np.uint16)
    if raw == "LA;16B":
        return bytes_HWC[..., ::2] << 8 | bytes_HWC[..., 1::2]
    return np.asarray(image).astype(np.uint16) << 8 | bytes_HWC


def _white_for(values_HWC: np.ndarray) -> int:
    largest = values_HWC.max()
    if largest == 0:
        return 0
    if values_HWC.dtype.kind == "f" and largest <= FRACTIONS:
        return FRACTIONS
    return next(level for level in _WHITES if largest <= level)


def _scaled(
    where: str, values_HWC: np.ndarray, opaque_HW: np.ndarray | None, needs: int, white: int | None
) -> np.ndarray:
    level = (white or needs) if needs else FULL_WHITE
    if FRACTIONS in (level, needs) and needs and level != needs:
        raise DataError(
            f"{where}: holds {_numbers(needs)}, but white is {level} in the pictures before it, or in those that the "
            "network was trained with; save them all with 8 or all with 16 bits"
        )
    shown_HWC = np.minimum(values_HWC.astype(np.float64) * (255 / level), 255)
    if opaque_HW is not None:
        shown_HWC = 255 + (shown_HWC - 255) * opaque_HW[..., None]
    return np.rint(shown_HWC).astype(np.uint8)


def _numbers(needs: int) -> str:
    return "fractions of one" if needs == FRACTIONS else f"numbers up to {needs}"
