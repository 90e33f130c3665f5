"""What a run's result says of its data."""

from __future__ import annotations

import numpy as np

from ecofed.data import Dataset, compressed_upload_bytes, label_counts, raw_bytes
from ecofed.data.jpeg import compress_images
from ecofed.data.transforms import centre
from ecofed.results import DataSummary, Floors

#: Floors of photographs: as JPEGs of these qualities, foreseen from so many.
FLOOR_QUALITIES, FLOOR_IMAGES = (50, 75, 90), 300


def summary_of(dataset: Dataset, parts: list[np.ndarray], test_samples: int, side: int | None) -> DataSummary:
    """Of a run whose devices have these parts of the training set, and whose network sees squares of ``side`` pixels
    (``None``: the pictures as they are)."""
    used = np.concatenate(parts)
    return DataSummary(
        name=dataset.title,
        source=dataset.place,
        train_samples=len(used),
        test_samples=test_samples,
        classes=list(dataset.classes),
        label_counts=label_counts(dataset.train.labels_N, parts, len(dataset.classes)).tolist(),
        floors=Floors(
            raw_bytes=(raw_bytes(dataset) if side is None else side * side * dataset.channels) * len(used),
            compressed_bytes=sum(compressed_upload_bytes(dataset, own) for own in parts),
            compressed_as=dataset.compressed_as or "PNG",
            jpeg_bytes={} if side is None else _jpeg_floors(dataset, used, side),
        ),
    )


def _jpeg_floors(dataset: Dataset, used_N: np.ndarray, side: int) -> dict[str, int]:
    """What these photographs would take at the size that the network sees of them: several hundred, and as much for
    each of the others."""
    if not len(used_N):  # of a fleet's server
        return {}
    some_N = np.sort(used_N)[:: max(1, len(used_N) // FLOOR_IMAGES)]
    images_NHWC = centre(dataset.train.images_NHWC[some_N], side)
    batches = {quality: compress_images(images_NHWC, quality) for quality in FLOOR_QUALITIES}
    return {
        f"{side} px, quality {quality}": len(batch.header) + len(batch.bodies) * len(used_N) // len(some_N)
        for quality, batch in batches.items()
    }
