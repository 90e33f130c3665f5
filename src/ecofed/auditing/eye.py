"""A network that looks at pictures for us: the frozen EfficientNet-Lite0 of the package, pre-trained on ImageNet.

Its features stand for what a person sees: a distance in them, a classifier over them, a term of the attacker's loss.
The distance is *not* LPIPS, which has weights of its own, fitted to people's judgements; it is made like it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecofed.config.problem import ModelConfig
from ecofed.models import build_model
from ecofed.pretraining.published import published_weights
from ecofed.runs.preparation import load_some

NAME = "EfficientNet-Lite0 (ImageNet)"
#: Layers whose output is compared, from edges to parts of things.
COMPARED = ("stem", "block3", "block5", "block11")
#: Of them, those that a decoder is trained through: cheap, at the pictures' own size.
TRAINED_THROUGH = ("stem", "block3")
#: Smaller pictures are scaled up to this side before they are looked at.
LEAST_SIDE = 64
_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the eye sees of N pictures."""

    layers: list[Tensor]
    """Of :data:`COMPARED`, each (N, C, H, W)."""
    features_NF: Tensor
    """What a classifier reads: the deepest of the layers, on a 2x2 grid."""

    def first(self, count: int) -> Seen:
        """Of the first pictures only."""
        return Seen(layers=[layer[:count] for layer in self.layers], features_NF=self.features_NF[:count])

    def distance(self, other: Seen) -> Tensor:
        """How far apart each pair is, (N,): squared differences of channel vectors of length one, mean over places, sum
        over layers. 0 for equal pictures."""
        pairs = zip(self.layers, other.layers, strict=True)
        return torch.stack([_apart(one, another) for one, another in pairs]).sum(dim=0)


class Eye:
    """See the module."""

    def __init__(self) -> None:
        published = published_weights(ModelConfig(name="efficientnet-lite0"), 3)
        network = build_model(
            ModelConfig(name="efficientnet-lite0"), in_channels=3, classes=1000, normalisation="frozen"
        )
        load_some(network, dict(published.arrays))  # all but the classifier, which is not used
        self._network: nn.Module = network.requires_grad_(False).eval()
        self._mean = torch.tensor(published.mean).reshape(1, 3, 1, 1)
        self._std = torch.tensor(published.std).reshape(1, 3, 1, 1)

    def layers(self, x_NCHW: Tensor, wanted: tuple[str, ...]) -> list[Tensor]:
        """Outputs of these layers for pictures as they are, 1 or 3 channels."""
        colour = x_NCHW if x_NCHW.shape[1] == 3 else x_NCHW.expand(-1, 3, -1, -1)
        h = (colour - self._mean) / self._std
        found = []
        for name, layer in self._network.named_children():
            h = layer(h)
            if name in wanted:
                found.append(h)
            if len(found) == len(wanted):
                break
        return found

    def loss(self, x_NCHW: Tensor, y_NCHW: Tensor) -> Tensor:
        """For training: the mean distance in early layers. Only ``x_NCHW`` gets a gradient."""
        with torch.no_grad():
            wanted = self.layers(y_NCHW, TRAINED_THROUGH)
        pairs = zip(self.layers(x_NCHW, TRAINED_THROUGH), wanted, strict=True)
        return torch.stack([_apart(one, other).mean() for one, other in pairs]).sum()

    @torch.no_grad()
    def look(self, x_NCHW: Tensor) -> Seen:
        """Look at pictures once; what is compared and classified comes of it."""
        batches = [self.layers(_enlarged(x_BCHW), COMPARED) for x_BCHW in torch.split(x_NCHW, _AT_ONCE)]
        layers = [torch.cat(parts) for parts in zip(*batches, strict=True)]
        return Seen(layers=layers, features_NF=F.adaptive_avg_pool2d(layers[-1], 2).flatten(1))


@lru_cache(maxsize=1)
def the_eye() -> Eye:
    """One a process."""
    return Eye()


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """Of each pair, (N,)."""
    difference = F.normalize(one, dim=1, eps=1e-6) - F.normalize(other, dim=1, eps=1e-6)
    return difference.square().sum(dim=1).flatten(1).mean(dim=1)


def _enlarged(x_NCHW: Tensor) -> Tensor:
    if x_NCHW.shape[-1] >= LEAST_SIDE:
        return x_NCHW
    return F.interpolate(x_NCHW, (LEAST_SIDE, LEAST_SIDE), mode="bilinear", align_corners=False)
