"""What a front is worth: how well a linear classifier reads labels from its frozen activations.

The classifier is ridge regression on standardised features, solved in closed form, so there is nothing to tune,
no seed in it, and the same features always give the same figure.

Shape legend: N training samples, M test samples, F features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ecofed.activations import make_codec
from ecofed.data import Dataset, ImageSet, require_test, test_indices, to_input
from ecofed.data.images import SIZE, resize
from ecofed.data.transforms import centre, with_channels
from ecofed.models import build_front
from ecofed.pretraining.bundling import activations
from ecofed.randomness import permutation
from ecofed.wire import FrontBundle

_HELD_OUT = 0.2
_PENALTIES = (0.05, 0.2, 0.8, 3.0)
"""Ridge penalties tried on held-out training samples, in units of the number of training samples x the mean variance
of a feature (which is one after standardisation)."""


@dataclass(frozen=True, kw_only=True)
class ProbeSet:
    """A labelled sample to probe on."""

    title: str
    train: ImageSet
    test: ImageSet
    classes: int


def probe_set(
    dataset: Dataset,
    *,
    train: int = 10_000,
    test: int = 2_000,
    part: Literal["tuning", "report"] = "tuning",
    seed: int = 0,
) -> ProbeSet:
    """A keyed sample of the training split, and test images of one part (one is for choosing, one for reporting)."""
    chosen_N = permutation(seed, "probe-train", len(dataset.train))[:train]
    everything = require_test(dataset)
    chosen_M = test_indices(len(everything), part, test)
    return ProbeSet(
        title=dataset.title,
        train=ImageSet(dataset.train.images_NHWC[chosen_N], dataset.train.labels_N[chosen_N]),
        test=ImageSet(everything.images_NHWC[chosen_M], everything.labels_N[chosen_M]),
        classes=len(dataset.classes),
    )


def probe_front(bundle: FrontBundle, sample: ProbeSet, bits: int | None = None) -> float:
    """Test accuracy (0-1) of a linear classifier on the front's activations of ``sample``.

    With ``bits`` the classifier sees what a server would: codes of that many bits, decoded.
    """
    train_NF, test_MF = (features(bundle, images, bits) for images in (sample.train, sample.test))
    return ridge_accuracy(train_NF, sample.train.labels_N, test_MF, sample.test.labels_N, sample.classes)


def probe_pixels(sample: ProbeSet) -> float:
    """The same for a linear classifier on the raw pixels; of photographs, when scaled to 32x32: there are too many
    others for a classifier of this kind."""
    train_NF, test_MF = (_pixels(images) for images in (sample.train, sample.test))
    return ridge_accuracy(train_NF, sample.train.labels_N, test_MF, sample.test.labels_N, sample.classes)


def _pixels(images: ImageSet) -> np.ndarray:
    images_NHWC = images.images_NHWC[:]
    if max(images_NHWC.shape[1:3]) > SIZE:
        images_NHWC = np.stack([resize(image_HWC) for image_HWC in images_NHWC])
    return images_NHWC.reshape(len(images), -1).astype(np.float32) / 255


def features(bundle: FrontBundle, images: ImageSet, bits: int | None = None) -> np.ndarray:
    """The front's activations, flattened, float32 (N, F); decoded codes where ``bits`` is given."""
    front = build_front(bundle, bundle.normalisation)
    codec = make_codec("uniform", bits, bundle.activation_shape, bundle.upper[bits]) if bits else None
    rows = []
    for at in range(0, len(images), 1000):
        images_NHWC = with_channels(images.images_NHWC[at : at + 1000], bundle.in_channels)
        if min(images_NHWC.shape[1:3]) > bundle.input_size:  # photographs have a margin
            images_NHWC = centre(images_NHWC, bundle.input_size)
        h_NCHW = activations(front, to_input(images_NHWC, bundle.mean, bundle.std, bundle.input_size))
        if codec is not None:
            h_NCHW = codec.decode(codec.encode(h_NCHW, len(h_NCHW)).rows)
        rows.append(h_NCHW.reshape(len(h_NCHW), -1))
    return np.concatenate(rows)


def ridge_accuracy(
    train_NF: np.ndarray, train_labels_N: np.ndarray, test_MF: np.ndarray, test_labels_M: np.ndarray, classes: int
) -> float:
    """Accuracy of one-against-all ridge regression; the penalty is chosen on a fifth of the training samples."""
    mean_F = train_NF.mean(axis=0)
    scale_F = train_NF.std(axis=0) + 1e-3
    train_NF, test_MF = (train_NF - mean_F) / scale_F, (test_MF - mean_F) / scale_F
    targets_NK = np.eye(classes, dtype=np.float32)[train_labels_N] - np.float32(1 / classes)
    fitted = len(train_NF) - int(len(train_NF) * _HELD_OUT)
    tried = _predictions(train_NF[:fitted], targets_NK[:fitted], train_NF[fitted:], _PENALTIES)
    right = [(scores.argmax(axis=1) == train_labels_N[fitted:]).sum() for scores in tried]
    best = _PENALTIES[int(np.argmax(right))]
    scores_MK = _predictions(train_NF, targets_NK, test_MF, (best,))[0]
    return float((scores_MK.argmax(axis=1) == test_labels_M).mean())


def _predictions(
    train_NF: np.ndarray, targets_NK: np.ndarray, test_MF: np.ndarray, penalties: tuple[float, ...]
) -> list[np.ndarray]:
    """Scores (M, K) for each penalty, by whichever of the two equal forms of ridge regression is smaller."""
    samples, width = train_NF.shape
    dual = samples < width
    x_NF = torch.from_numpy(train_NF)
    gram = x_NF @ x_NF.T if dual else x_NF.T @ x_NF
    target = torch.from_numpy(targets_NK if dual else train_NF.T @ targets_NK)
    scores = []
    for penalty in penalties:
        factor = torch.linalg.cholesky(gram + penalty * samples * torch.eye(len(gram)))
        solved = torch.cholesky_solve(target, factor)
        weights_FK = x_NF.T @ solved if dual else solved
        scores.append(np.asarray(test_MF @ weights_FK.numpy()))
    return scores
