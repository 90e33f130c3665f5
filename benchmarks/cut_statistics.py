"""Make ``src/ecofed/backbones/NAME-CUT.statistics``: what the activation of EfficientNet-Lite0 at a cut is like.

    python benchmarks/cut_statistics.py DATA [CUT ...]

DATA is any set of photographs that ``ecofed`` reads. Those in the package were made from Imagenette (4,500 training
pictures of ten ImageNet classes, 160 px), without labels.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ecofed.config.network_input import Frame
from ecofed.config.problem import ModelConfig
from ecofed.data import load_dataset, to_input
from ecofed.data.reading import Reading
from ecofed.data.transforms import centre
from ecofed.models import empty_front, load_arrays
from ecofed.pretraining.bundling import activations
from ecofed.pretraining.cut_statistics import measured, save_statistics
from ecofed.pretraining.published import published_back, published_weights
from ecofed.pretraining.sensitivity import sensitivity

NAME, SIDE, PICTURES = "efficientnet-lite0", 128, 1500
FOLDER = Path(__file__).parents[1] / "src" / "ecofed" / "backbones"


def main() -> None:
    data = load_dataset(sys.argv[1], how=Reading(frame=Frame(image_size=SIDE)))
    own = published_weights(ModelConfig(name=NAME), 3)
    chosen = np.linspace(0, len(data.train) - 1, min(PICTURES, len(data.train))).astype(int)
    images_NHWC = centre(data.train.images_NHWC[chosen], SIDE)
    for cut in sys.argv[2:] or ["block6"]:
        front = empty_front(ModelConfig(name=NAME), 3, cut, "frozen")
        load_arrays(front, {name: own.arrays[name] for name in front.state_dict()})
        parts = [
            activations(front, to_input(images_NHWC[at : at + 100], own.mean, own.std, SIDE))
            for at in range(0, len(images_NHWC), 100)
        ]
        h_NCHW = np.concatenate(parts)
        metric_CC = sensitivity(published_back(ModelConfig(name=NAME, image_size=SIDE), cut, own), h_NCHW)
        statistics = measured(h_NCHW, f"{len(chosen):,} photographs of {data.title}", metric_CC)
        save_statistics(FOLDER / f"{NAME}-{cut}.statistics", statistics)
        for step, taken in zip(statistics.step_S, statistics.bytes_S, strict=True):
            print(f"{cut}: step {step:.3f}: {taken:.2f} bytes a position")


if __name__ == "__main__":
    main()
