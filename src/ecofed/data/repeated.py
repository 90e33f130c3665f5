"""Pictures that are in a data set more than once: in both splits, or in several classes.

Seen after decoding, as the network sees them: copies under other names, in other formats without loss, in other files.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from ecofed.data.dataset import Dataset, ImageSet
from ecofed.data.known import KNOWN
from ecofed.data.stored import chunks
from ecofed.errors.foreign_text import clean

#: Of more than these a start would be held up by seconds.
MOST_PICTURES = 100_000


def repeated(dataset: Dataset) -> list[str]:
    """What to say of it; nothing of data sets that are known, with all their faults, or larger than
    :data:`MOST_PICTURES`."""
    if dataset.name in KNOWN or len(dataset.train) > MOST_PICTURES:
        return []
    train, test = _digests(dataset.train), [] if dataset.test is None else _digests(dataset.test)
    learned, told = set(train), list[str]()
    if both := sum(digest in learned for digest in test):
        told.append(
            f"{dataset.title}: {both:,} of {len(test):,} test pictures are training pictures, too (equal in every "
            "pixel), and say nothing about new ones; remove the copies"
        )
    return told + _in_several_classes(dataset, train + test)


def _in_several_classes(dataset: Dataset, digests: list[bytes]) -> list[str]:
    labels_N = np.concatenate([part.labels_N for part in (dataset.train, dataset.test) if part is not None])
    first: dict[bytes, int] = {}
    several: dict[bytes, tuple[int, int]] = {}
    for digest, label in zip(digests, labels_N.tolist(), strict=True):
        if first.setdefault(digest, label) != label:
            several.setdefault(digest, (first[digest], label))
    if not several:
        return []
    one, other = (clean(dataset.classes[label]) for label in next(iter(several.values())))
    count = sum(digest in several for digest in digests)
    return [
        f"{dataset.title}: {count:,} pictures are equal in every pixel to one of another class (such as in '{one}' and "
        f"'{other}'); nobody can tell these apart"
    ]


def _digests(images: ImageSet) -> list[bytes]:
    return [
        blake2b(np.ascontiguousarray(image_HWC).data, digest_size=16).digest()
        for _, images_BHWC in chunks(images.images_NHWC)
        for image_HWC in images_BHWC
    ]
