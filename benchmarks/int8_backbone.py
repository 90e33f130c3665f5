"""What int8 costs EfficientNet-Lite0: the copy in the package against the published float weights.

    python benchmarks/int8_backbone.py [--pictures 600] [--side 128]

On Imagenette's test pictures (classes of ImageNet, which the published classifier knows): how often both networks say
the same of 1,000 classes, and how often each is right. On TrashNet: a linear probe on each one's 1,280 pooled features.
Needs ``ecofed[backbones]`` and both data sets where ``ecofed data list`` finds them.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import nn

from ecofed.config.network_input import Frame
from ecofed.config.problem import ModelConfig
from ecofed.data import load_dataset, to_input
from ecofed.data.reading import Reading
from ecofed.data.transforms import centre
from ecofed.models import build_model, load_arrays
from ecofed.pretraining.probe import ridge_accuracy
from ecofed.pretraining.published import Published, published_weights

NAME = "efficientnet-lite0"
IMAGENETTE = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)


def network(weights: Published, classifier: Published) -> nn.Module:
    """The whole network with one's features and the other's classifier."""
    model = build_model(ModelConfig(name=NAME, weights="none"), in_channels=3, classes=1000, normalisation="frozen")
    last = {name: array for name, array in classifier.arrays.items() if name.startswith("head.classifier.")}
    load_arrays(model, {**weights.arrays, **last})
    return model.eval()


@torch.no_grad()
def features(model: nn.Module, own: Published, images_NHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pooled features (N, 1280) and logits (N, 1000)."""
    *layers, classifier = model[-1].children()
    trunk = nn.Sequential(*model[:-1], *layers)
    parts = [
        trunk(torch.from_numpy(to_input(images_NHWC[at : at + 50], own.mean, own.std, images_NHWC.shape[1])))
        for at in range(0, len(images_NHWC), 50)
    ]
    pooled_NF = torch.cat(parts)
    return pooled_NF.numpy(), classifier(pooled_NF).numpy()


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--pictures", type=int, default=600)
    asked.add_argument("--side", type=int, default=128)
    words = asked.parse_args()
    published, shipped = (published_weights(ModelConfig(name=NAME, weights=word), 3) for word in ("published", "auto"))
    models = {"float": network(published, published), "int8": network(shipped, published)}
    reading = Reading(frame=Frame(image_size=words.side))

    photographs = load_dataset("imagenette", how=reading).test
    images_NHWC = centre(photographs.images_NHWC[: words.pictures], words.side)
    truth_N = np.array(IMAGENETTE)[photographs.labels_N[: words.pictures]]
    pooled, said, logits = {}, {}, {}
    for name, model in models.items():
        pooled[name], logits[name] = features(model, published, images_NHWC)
        said[name] = logits[name].argmax(axis=1)
        right = (said[name] == truth_N).mean()
        print(f"imagenette, {len(truth_N)} pictures of {words.side} px: {name} right in {right:.3f}")
    print(f"the same of 1,000 classes: {(said['float'] == said['int8']).mean():.3f}")
    for kind, found in (("features", pooled), ("logits", logits)):
        error = ((found["int8"] - found["float"]) ** 2).mean() / found["float"].var()
        print(f"{kind}: error {error:.4f} of the variance")

    trash = load_dataset("trashnet", how=reading)
    train, test = trash.train, trash.test
    for name, model in models.items():
        train_NF, test_MF = (
            features(model, published, centre(part.images_NHWC[:], words.side))[0] for part in (train, test)
        )
        found = ridge_accuracy(train_NF, train.labels_N, test_MF, test.labels_N, len(trash.classes))
        print(f"trashnet, linear probe on {name}: {found:.3f}")


if __name__ == "__main__":
    main()
