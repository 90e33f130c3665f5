"""Whether reconstructions can be told: which of the images each is, and of which class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ecofed.auditing.eye import Seen, the_eye
from ecofed.auditing.likeness import WINDOW, ssim
from ecofed.pretraining.probe import ridge_accuracy

#: Of the public images, so many teach the classifier.
TAUGHT = 2_000


def reidentified(made_NCHW: Tensor, made: Seen, images_NCHW: Tensor, images: Seen) -> float:
    """Fraction of reconstructions that are closer to their own image than to every other, by pixels or by features,
    whichever is better; chance is ``1 / N``. A tie counts as missed.
    """
    ways = [
        (_centred(made_NCHW.flatten(1)), _centred(images_NCHW.flatten(1))),
        (_centred(made.features_NF), _centred(images.features_NF)),
    ]
    return max(nearest_is_own(one, other) for one, other in ways)


def nearest_is_own(made_NF: Tensor, own_NF: Tensor) -> float:
    """Fraction of rows that are closer to the row of the same number than to every other."""
    distance_NN = torch.cdist(made_NF.double(), own_NF.double())
    own_N = distance_NN.diagonal().clone()
    distance_NN.fill_diagonal_(float("inf"))
    return float((own_N < distance_NN.min(dim=1).values).double().mean())


def _centred(features_NF: Tensor) -> Tensor:
    """What differs between rows, in equal units: else a reconstruction's common blur would decide."""
    return (features_NF - features_NF.mean(dim=0)) / (features_NF.std(dim=0) + 1e-3 * features_NF.std() + 1e-8)


class Classifier:
    """A linear classifier over the eye's features, taught on public images with their labels."""

    def __init__(self, images_NCHW: Tensor, labels_N: np.ndarray, classes: int) -> None:
        self._features = the_eye().look(images_NCHW[:TAUGHT]).features_NF.numpy()
        self._labels, self._classes = labels_N[:TAUGHT], classes

    def accuracy(self, seen: Seen, labels_N: np.ndarray) -> float:
        """Fraction of these that it tells rightly."""
        return ridge_accuracy(self._features, self._labels, seen.features_NF.numpy(), labels_N, self._classes)


def class_means(images_NCHW: Tensor, labels_N: np.ndarray, of_N: np.ndarray) -> Tensor:
    """For each label of ``of_N`` the mean of the public images of that class: what the label alone tells."""
    overall = images_NCHW.mean(dim=0)
    means = {label: images_NCHW[torch.from_numpy(labels_N == label)].mean(dim=0) for label in set(labels_N.tolist())}
    return torch.stack([means.get(int(label), overall) for label in of_N])


def similarity(made_NCHW: Tensor, images_NCHW: Tensor) -> float | None:
    """Mean SSIM; ``None`` for pictures smaller than its window."""
    if min(images_NCHW.shape[-2:]) < WINDOW:
        return None
    return float(ssim(made_NCHW, images_NCHW).mean())
