"""What codes lose by whose statistics their bottleneck is made from: rendered fractals', photographs', or their own.

    python benchmarks/bottleneck_sources.py DATA SIDE BYTES

EfficientNet-Lite0 to ``block6``, 400 training pictures of DATA at SIDE pixels. "Lost" is the squared error of what the
server gets as a share of the activation's variance, plain and in the metric of what the rest of the network reacts to
(:mod:`ecofed.pretraining.sensitivity`), estimated on these pictures.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from ecofed.activations.codecs import make_codec
from ecofed.activations.entropy.position_coder import expected_bytes
from ecofed.config.network_input import Frame
from ecofed.config.problem import ModelConfig
from ecofed.data import load_dataset, to_input
from ecofed.data.reading import Reading
from ecofed.data.transforms import centre
from ecofed.models import empty_front, load_arrays
from ecofed.pretraining.bundling import activations, public_images
from ecofed.pretraining.cut_statistics import CutStatistics, measured, shipped_statistics
from ecofed.pretraining.principal import add_principal_bottleneck, add_transform_bottleneck
from ecofed.pretraining.published import published_back, published_weights
from ecofed.pretraining.sensitivity import root_and_inverse, sensitivity

NAME, CUT, PICTURES, BITS = "efficientnet-lite0", "block6", 400, 2
CONFIG = ModelConfig(name=NAME)


def front_of() -> torch.nn.Module:
    front = empty_front(CONFIG, 3, CUT, "frozen")
    own = published_weights(CONFIG, 3)
    load_arrays(front, {name: own.arrays[name] for name in front.state_dict()})
    return front


def through(images_NHWC: np.ndarray) -> np.ndarray:
    front, own, side = front_of(), published_weights(CONFIG, 3), images_NHWC.shape[1]
    batches = (images_NHWC[at : at + 100] for at in range(0, len(images_NHWC), 100))
    return np.concatenate([activations(front, to_input(each, own.mean, own.std, side)) for each in batches])


@torch.no_grad()
def coded(h_NCHW: np.ndarray, statistics: CutStatistics, size: int, codec_name: str) -> tuple[float, np.ndarray]:
    """Bytes an image, and what the server makes of them."""
    front, positions = front_of(), h_NCHW[0, 0].size
    if codec_name == "dct":
        expansion = add_transform_bottleneck(front, statistics, statistics.step_for(size, positions))
    else:
        narrow = max(1, min(h_NCHW.shape[1], size * 8 // (BITS * positions)))
        expansion = add_principal_bottleneck(front, statistics, narrow, BITS)
    z_NKHW = front.get_submodule("bottleneck").eval()(torch.from_numpy(h_NCHW)).numpy()
    codec = make_codec(codec_name, 8 if codec_name == "dct" else BITS, z_NKHW.shape[1:], np.ones(z_NKHW.shape[1]))
    rows = codec.encode(z_NKHW, 1).rows
    taken = expected_bytes(codec.symbols(rows)) if codec_name == "dct" else rows.size
    return taken / len(rows), expansion(torch.from_numpy(codec.decode(rows))).numpy()


def main() -> None:
    name, side, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    train = load_dataset(name, how=Reading(frame=Frame(image_size=side))).train
    chosen = np.linspace(0, len(train) - 1, min(PICTURES, len(train))).astype(int)
    h_NCHW = through(centre(train.images_NHWC[chosen], side))
    back = published_back(ModelConfig(name=NAME, image_size=side), CUT, published_weights(CONFIG, 3))
    metric_CC = sensitivity(back, h_NCHW)
    root_CC, _ = root_and_inverse(metric_CC)

    def energy(h_NCHW: np.ndarray) -> np.ndarray:
        return np.array([np.square(h_NCHW).sum(), np.square(np.einsum("cd,ndhw->nchw", root_CC, h_NCHW)).sum()])

    all_of_it = energy(h_NCHW - h_NCHW.mean((0, 2, 3), keepdims=True))
    photographs = shipped_statistics(NAME, CUT, 3)
    assert photographs is not None
    sources = {
        "fractals": measured(through(public_images(3, side)), "fractals"),
        "photographs": photographs,
        "their own": measured(h_NCHW, name, metric_CC),
    }
    for codec_name in ("dct", "uniform"):
        for label, statistics in sources.items():
            taken, back_NCHW = coded(h_NCHW, statistics, size, codec_name)
            plain, weighted = energy(back_NCHW - h_NCHW) / all_of_it
            told = f"{taken:6.1f} B, lost {plain:.3f}, in the metric {weighted:.3f}"
            print(f"{name}, {side} px, {codec_name}: {label:12} {told}")


if __name__ == "__main__":
    main()
