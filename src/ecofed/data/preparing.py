"""What a trained network is given of a picture, carried out as its training settled it.

One way for evaluation, ``predict``, exported networks and devices: :func:`picture` (or a data set that is read with the
same white level and size), then :func:`tested_input`.
"""

from __future__ import annotations

import numpy as np

from ecofed.config.network_input import NetworkInput
from ecofed.data.images import as_input
from ecofed.data.jpeg import compress_images, decompress_images
from ecofed.data.pictures import show
from ecofed.data.transforms import centre, padded, to_input, with_channels


def picture(where: str, data: bytes, how: NetworkInput) -> tuple[np.ndarray, int]:
    """A picture's file as (H, W, C) uint8, and the white level that it needs (:class:`ecofed.data.pictures.Shown`).

    Raises:
        DataError: it cannot be read.
    """
    shown = show(where, data, how.white)
    pixels_HWC, _ = as_input(shown.pixels_HWC, how.frame)
    pixels_NHWC = with_channels(pixels_HWC[None], how.in_channels)
    # Where each picture decides for itself, they differ in size until they have their border.
    return (pixels_NHWC if how.picture_size else padded(pixels_NHWC, how.input_size))[0], shown.needs


def tested_input(images_NHWC: np.ndarray, how: NetworkInput) -> np.ndarray:
    """uint8 images as a trained network takes them: float32 (N, C, input_size, input_size)."""
    if how.cover:
        images_NHWC = centre(images_NHWC, how.input_size)
    if how.sent_as:
        quality, side = how.sent_as
        images_NHWC = as_received(images_NHWC, quality, side or None, how.input_size)
    return to_input(images_NHWC, how.mean, how.std, how.input_size)


def as_received(images_NHWC: np.ndarray, quality: int, side: int | None, input_size: int) -> np.ndarray:
    """uint8 images as the server would get them from a device: compressed, and where asked scaled, and back."""
    return decompress_images(compress_images(images_NHWC, quality, side), images_NHWC.shape[3], input_size=input_size)
