"""Learning from devices that tell how many images of each class they have, and of no image which class it is.

Expectation maximisation: an image's class is taken to be what the network makes of it, given its device's counts. Of a
class that a device has none of, none of its images is; of one that is rare among all and frequent there, many are. The
network begins with no opinion, so that at first each image is taken for a bit of every class of its device; as images
of one class have it in common across devices, and the other classes of their devices not, it soon has one. (Learning
from label proportions: Quadrianto et al., JMLR 2009; as label shift of each device: Saerens et al., 2002.)
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ecofed.activations.pool import Rows


class ClassCounts:
    """Of the devices whose samples are pooled.

    Args:
        labels_N: of each sample the class that its device's counts have at that place, which is not the sample's own.
        device_N: whose it is.
        classes: how many there are.
        evenly: whether every device comes equally often in batches, and not every sample.
    """

    def __init__(self, labels_N: Rows, device_N: Rows, classes: int, *, evenly: bool) -> None:
        self._devices_D, number_N = np.unique(np.asarray(device_N), return_inverse=True)
        counts_DK = np.zeros((len(self._devices_D), classes))
        np.add.at(counts_DK, (number_N, np.asarray(labels_N).astype(np.int64)), 1)
        shares_DK = counts_DK / counts_DK.sum(axis=1, keepdims=True)
        together_K = shares_DK.mean(axis=0) if evenly else counts_DK.sum(axis=0) / counts_DK.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            odds_DK = np.log(shares_DK / together_K)
        self._odds_DK = np.where(shares_DK > 0, odds_DK, -np.inf).astype(np.float32)

    def odds(self, device_B: np.ndarray) -> Tensor:
        """By how much likelier each class is in these devices than in all: logarithms (B, K), of what none has -inf."""
        return torch.from_numpy(self._odds_DK[np.searchsorted(self._devices_D, device_B)])


def cross_entropy_of_counts(logits_BK: Tensor, odds_BK: Tensor, label_smoothing: float) -> Tensor:
    """Mean cross-entropy against what the network itself makes of the samples, given their devices' counts."""
    believed_BK = F.softmax(logits_BK.detach().float() + odds_BK, dim=1)
    return F.cross_entropy(logits_BK.float(), believed_BK, label_smoothing=label_smoothing)
