"""Images of a device as one JPEG upload: the header that they share once, then each image's own bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ecofed.data.images import NATIVE, SIZE
from ecofed.errors import WireError

#: What a scan of an image begins with. Few bytes can hold thousands of scans, each over the whole image; what is sent
#: here has one, and these bytes once more by chance.
_SCAN, _MOST_SCANS = b"\xff\xda", 4


@dataclass(frozen=True, kw_only=True)
class JpegBatch:
    """N images of one size."""

    header: bytes
    """What every one of them begins with: with the same quality and size, all tables."""
    bodies: bytes
    """The rest of each, one after the other."""
    lengths_N: np.ndarray
    """Bytes of each body; uint16, or uint32 where one is longer."""


def compress_images(images_NHWC: np.ndarray, quality: int, size: int | None = None) -> JpegBatch:
    """uint8 images (N, H, W, 1 or 3) as JPEG, scaled to ``size`` x ``size`` pixels before where one is given."""
    encoded = []
    for pixels_HWC in images_NHWC:
        image = Image.fromarray(pixels_HWC[:, :, 0] if pixels_HWC.shape[2] == 1 else pixels_HWC)
        if size is not None:
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        encoded.append(buffer.getvalue())
    shared = _common_prefix(encoded)
    bodies = [data[shared:] for data in encoded]
    longest = max(map(len, bodies), default=0)
    return JpegBatch(
        header=encoded[0][:shared] if encoded else b"",
        bodies=b"".join(bodies),
        lengths_N=np.array([len(body) for body in bodies], np.uint16 if longest < 1 << 16 else np.uint32),
    )


def decompress_images(
    batch: JpegBatch, channels: int, sent_size: tuple[int, int] | None = None, *, input_size: int = SIZE
) -> np.ndarray:
    """Pixels (N, H, W, channels), uint8, as the network takes them (:func:`received_size`).

    Args:
        batch: the upload.
        channels: 1 or 3.
        input_size: side of the network's input; no larger picture is ever decoded.
        sent_size: height and width that every image must have been sent at; ``None``: any, the same for all.

    Raises:
        WireError: anything that is not such a batch.
    """
    if int(batch.lengths_N.sum(dtype=np.int64)) != len(batch.bodies):
        raise WireError(f"{len(batch.bodies)} bytes of images whose lengths sum to {batch.lengths_N.sum()}")
    ends_N = np.cumsum(batch.lengths_N, dtype=np.int64)
    images_NHWC = np.empty((0, SIZE, SIZE, channels), np.uint8)
    for number, (end, length) in enumerate(zip(ends_N.tolist(), batch.lengths_N.tolist(), strict=True)):
        picture = _decode(batch.header + batch.bodies[end - length : end], channels, sent_size, input_size)
        if number == 0:  # memory for all of them only when there is one
            images_NHWC = np.empty((len(ends_N), *picture.shape), np.uint8)
        if picture.shape != images_NHWC.shape[1:]:
            raise WireError("images of several sizes in one upload")
        images_NHWC[number] = picture
    return images_NHWC


def received_size(sent_size: tuple[int, int], input_size: int = SIZE) -> tuple[int, int]:
    """Height and width after :func:`decompress_images` of images that were sent at this size: smaller ones are scaled
    up, unless the rest up to a network's 32 pixels is padding."""
    kept = input_size == SIZE and all(side in NATIVE for side in sent_size)
    return sent_size if kept else (input_size, input_size)


def _decode(data: bytes, channels: int, sent_size: tuple[int, int] | None, input_size: int) -> np.ndarray:
    if data.count(_SCAN) > _MOST_SCANS:
        raise WireError("an image of many scans")
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if max(image.size) > input_size:
                raise WireError(
                    f"an image of {image.width}x{image.height} pixels; at most {input_size}x{input_size} are allowed"
                )
            if sent_size is not None and sent_size != (image.height, image.width):
                raise WireError(f"an image of {image.width}x{image.height} pixels, not {sent_size[1]}x{sent_size[0]}")
            plain = image.convert("RGB" if channels == 3 else "L")
            height, width = received_size((plain.height, plain.width), input_size)
            if (height, width) != (plain.height, plain.width):
                plain = plain.resize((width, height), Image.Resampling.BILINEAR)
            return np.array(plain, np.uint8).reshape(plain.height, plain.width, channels)
    except WireError:
        raise
    # Pillow's decoders raise whatever they like on malformed input (SyntaxError and struct.error among them).
    except Exception as error:
        raise WireError("an image that cannot be decoded") from error


def _common_prefix(encoded: list[bytes]) -> int:
    """How many bytes all begin with."""
    if not encoded:
        return 0
    first, last = min(encoded), max(encoded)
    shared = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return min(shared, *(len(data) for data in encoded)) if len(encoded) > 1 else len(first)
