"""Public images to pre-train on: rendered fractals, or any labelled set that the data layer reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from ecofed.config.network_input import Frame
from ecofed.data import Dataset, load_dataset
from ecofed.data.reading import Reading
from ecofed.data.transforms import centre, padded, with_channels
from ecofed.data.unlabelled import read_unlabelled, unlabelled_folder
from ecofed.errors import ConfigError, DataError
from ecofed.pretraining.fractals import fractal_images
from ecofed.randomness import permutation

FRACTALS = "fractals"
FRACTAL_COUNT = 30_000
Labels = Literal["labels", "rotations"]


@dataclass(frozen=True, kw_only=True)
class PublicImages:
    """Images that belong to nobody in the federation."""

    name: str
    """What to load again: ``fractals``, a data set's name, or a path."""
    title: str
    """For cards."""
    images_NHWC: np.ndarray
    """uint8, (N, 32, 32, 1 or 3)."""
    labels_N: np.ndarray
    """int64."""
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool
    """Whether a mirrored image is still valid."""


class Pictures(NamedTuple):
    """Public pictures, and what they are."""

    images_NHWC: np.ndarray
    title: str


def load_images(
    source: str, *, channels: int, labels: Labels = "labels", seed: int = 0, limit: int | None = None
) -> PublicImages:
    """Images with ``channels`` channels: colour becomes grey by luminance, grey becomes three equal channels.

    Args:
        source: ``fractals``, or what ``data.name`` takes: a known set, a folder, a parquet file. Of a set with two
            splits only the training split is used. For ``rotations`` any folder of pictures will do.
        labels: ``rotations`` ignores the labels: the task is to tell by which multiple of 90 degrees an image was
            turned, so any pictures will do (self-supervised).
        seed: for the fractals, and for the choice of ``limit`` images.
        limit: at most this many images, of a set drawn at random.

    Raises:
        DataError: the set is missing or malformed. ConfigError: fewer than two classes in it.
    """
    if source == FRACTALS:
        fractals = fractal_images(limit or FRACTAL_COUNT, seed=seed, channels=channels)
        images_NHWC, labels_N, title, flip = fractals.images_NHWC, fractals.labels_N, "rendered fractals", False
    elif labels == "rotations" and (folder := unlabelled_folder(source)) is not None:
        images, title = read_unlabelled(folder, lambda total: _some(total, limit, seed))
        images_NHWC, flip = padded(with_channels(images[:], channels)), True
    else:
        dataset = _data_set(source, Reading())
        chosen_N = _some(len(dataset.train), limit, seed)
        images_NHWC, labels_N = dataset.train.images_NHWC[chosen_N], dataset.train.labels_N[chosen_N]
        title, flip = dataset.title, dataset.flip
        images_NHWC = padded(with_channels(images_NHWC, channels))
    if labels == "rotations":
        labels_N = np.arange(len(images_NHWC), dtype=np.int64) % 4
        images_NHWC = np.stack(
            [np.rot90(image_HWC, int(turns)) for image_HWC, turns in zip(images_NHWC, labels_N, strict=True)]
        )
    classes = int(labels_N.max(initial=0)) + 1
    if len(np.unique(labels_N)) < 2:
        drawn = f" among the {len(labels_N)} images that --limit {limit} leaves" if limit else ""
        raise ConfigError(
            f"--images {source}: one class only{drawn}; add --labels rotations to pre-train without labels"
        )
    scaled = images_NHWC[:: max(1, len(images_NHWC) // 5000)].astype(np.float64) / 255
    return PublicImages(
        name=source,
        title=title if labels == "labels" else f"{title}, rotations",
        images_NHWC=images_NHWC[:],
        labels_N=labels_N,
        classes=classes,
        # Rounded, so that the constants read well on a card. Public images may be measured; a device's never are.
        mean=tuple(round(float(value), 4) for value in scaled.mean(axis=(0, 1, 2))),
        std=tuple(round(max(float(value), 0.01), 4) for value in scaled.std(axis=(0, 1, 2))),
        flip=flip,
    )


def load_pictures(source: str, *, channels: int, side: int, limit: int | None = None, seed: int = 0) -> Pictures:
    """Pictures without their labels, of the size that a network takes them in: uint8, (N, side, side, channels).

    Args:
        source: as for :func:`load_images` with ``rotations``.
        channels: 1 or 3.
        side: of the network's input.
        limit: at most this many, drawn at random.
        seed: of the draw.

    Raises:
        DataError: the set is missing or malformed.
    """
    if source == FRACTALS:
        fractals = fractal_images(limit or FRACTAL_COUNT, seed=seed, channels=channels, size=side)
        return Pictures(fractals.images_NHWC[:], "rendered fractals")
    how = Reading(frame=Frame(image_size=side))
    if (folder := unlabelled_folder(source)) is not None:
        rows, title = read_unlabelled(folder, lambda total: _some(total, limit, seed), how)
        images_NHWC = rows[:]
    else:
        dataset = _data_set(source, how)
        images_NHWC, title = dataset.train.images_NHWC[_some(len(dataset.train), limit, seed)], dataset.title
    images_NHWC = with_channels(images_NHWC, channels)
    return Pictures(np.ascontiguousarray(centre(images_NHWC, side)), f"{len(images_NHWC):,} pictures of {title}")


def _data_set(source: str, how: Reading) -> Dataset:
    """As :func:`load_dataset`, whose messages name ``data.name``.

    Raises:
        DataError: the set is missing or malformed.
    """
    if unlabelled_folder(source) is not None:
        raise DataError(
            f"--images {source}: holds pictures, and no data set that says what they show; give each class a folder of "
            "its own, or add --labels rotations, which needs none"
        )
    try:
        return load_dataset(source, how=how)
    except DataError as error:
        raise DataError(str(error).replace(f"data.name = '{source}'", f"--images {source}")) from error


def _some(total: int, limit: int | None, seed: int) -> np.ndarray | slice:
    """Which images, ascending: a set may be sorted by class, so its first ones need not have all classes."""
    if limit is None or limit >= total:
        return slice(None)
    return np.sort(permutation(seed, "pretraining images", total)[:limit])
