"""The trained network as a file, and its evaluation."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from ecofed.activations import configured_codec
from ecofed.config import Config
from ecofed.data import Dataset, load_dataset, mixed_order, require_test, to_input
from ecofed.errors import DataError, ModelError
from ecofed.files import json_text, write_bytes
from ecofed.methods import EcoFed, Method
from ecofed.methods.loop import TEST_BATCH
from ecofed.methods.send_images import as_received
from ecofed.models import Partition, build_model, load_arrays, partition, set_normalisation
from ecofed.models.bottleneck import add_bottleneck, add_expansion
from ecofed.preparation import Prepared
from ecofed.task import Task

MODEL_FILE = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What :func:`evaluate` returns."""

    accuracy: float
    loss: float
    samples: int
    data: str

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class TrainedNetwork:
    """A network that was trained by any method: front, codec (ecofed) and back, ready for new images."""

    def __init__(self, task: Task, classes: Sequence[str], halves: Partition, upper_C: np.ndarray | None) -> None:
        self.task = task
        self.classes = list(classes)
        self.front = halves.front.eval()
        self.back = halves.back.eval()
        self.upper_C = upper_C

    @torch.no_grad()
    def logits(self, images_NHWC: np.ndarray) -> Tensor:
        """uint8 images (N, H, W, C) to logits (N, K), in fixed batches; codes are made as in training."""
        if self.task.config.method == "send-images":
            images_NHWC = as_received(images_NHWC, self.task.config.send_images)
        x_NCHW = torch.from_numpy(to_input(images_NHWC, self.task.mean, self.task.std, self.task.input_size))
        return torch.cat([self._forward(batch) for batch in torch.split(x_NCHW, TEST_BATCH)])

    def _forward(self, x_NCHW: Tensor) -> Tensor:
        h_NCHW = self.front(x_NCHW)
        config = self.task.config
        if config.method == "ecofed":
            codec = configured_codec(config.ecofed, tuple(h_NCHW.shape[1:]), self.upper_C)
            encoded = codec.encode(h_NCHW.numpy(), len(h_NCHW))
            h_NCHW = torch.from_numpy(codec.decode(encoded.rows, np.repeat(encoded.scales, len(h_NCHW))))
        output: Tensor = self.back(h_NCHW)
        return output


def save_model(path: Path, method: Method, prepared: Prepared) -> None:
    """Write the trained network with everything that is needed to use it."""
    arrays = {f"model.{name}": array for name, array in method.network().items()}
    if isinstance(method, EcoFed) and method.config.ecofed.limit_bits is not None:
        arrays["upper"] = method.bundle.upper[method.config.ecofed.bits]
    description = {
        "task": prepared.task.to_json(),
        "classes": list(prepared.dataset.classes),
        "cut": prepared.halves.layer,
        "normalisation": prepared.task.config.normalisation,
    }
    write_bytes(path, save(arrays, metadata={"ecofed": json_text(description)}))


def load_model(path: str | Path) -> TrainedNetwork:
    """Read a ``model.safetensors``, or the one in a run's folder.

    Raises:
        ModelError: it is missing, or not a network that this program wrote.
    """
    path = Path(path)
    file_path = path / MODEL_FILE if path.is_dir() else path
    try:
        with safe_open(file_path, "numpy") as file:
            description = json.loads(file.metadata()["ecofed"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        task = Task.from_json(description["task"])
        model = build_model(
            task.config.model,
            in_channels=task.in_channels,
            classes=task.classes,
            normalisation=description["normalisation"],
        )
        upper_C = arrays.pop("upper", None)
        weights = {name.removeprefix("model."): array for name, array in arrays.items()}
        halves = partition(model, description["cut"])
        if "bottleneck.conv.weight" in weights:
            narrow, channels = weights["bottleneck.conv.weight"].shape[:2]
            add_bottleneck(halves.front, channels, narrow)
            add_expansion(halves.back, narrow, channels)
            for half in (halves.front, halves.back):
                set_normalisation(half, description["normalisation"])
        for half in (halves.front, halves.back):
            load_arrays(half, {name: weights.pop(name) for name in half.state_dict() if name in weights})
        if weights:
            raise ModelError(f"{file_path}: has weights that the network does not: {', '.join(sorted(weights))}")
    except FileNotFoundError as error:
        raise ModelError(f"{file_path}: no such file; a run writes {MODEL_FILE} into its --out folder") from error
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{file_path}: not a network written by ecofed ({error})") from error
    return TrainedNetwork(task, description["classes"], halves, upper_C)


def evaluate(model: str | Path, data: str | None = None) -> Evaluation:
    """Accuracy of a trained network on the whole test split of a data set (default: the one it was trained on).

    Classes are matched by name, where both sides have names; a data set may hold some of the network's.

    Raises:
        ModelError: not a trained network. DataError: no such data set, or one of other channels or classes.
    """
    network = load_model(model)
    config: Config = network.task.config
    dataset = load_dataset(data or config.data.name, fallback=None if data else config.data.fallback)
    test = require_test(dataset)
    if dataset.channels != network.task.in_channels:
        raise DataError(
            f"{dataset.title} has {dataset.channels} channels; the network was trained for {network.task.in_channels}"
        )
    positions_K = _positions(dataset, network.classes)
    # A network that normalises by the batch needs mixed ones, and test sets may be sorted by class.
    order_N = mixed_order(len(test))
    logits_NK = network.logits(test.images_NHWC[order_N])
    labels_N = torch.from_numpy(positions_K[test.labels_N[order_N]])
    return Evaluation(
        accuracy=float((logits_NK.argmax(dim=1) == labels_N).double().mean()),
        loss=float(torch.nn.functional.cross_entropy(logits_NK, labels_N)),
        samples=len(test),
        data=dataset.title,
    )


def _positions(dataset: Dataset, classes: Sequence[str]) -> np.ndarray:
    """For each class of the data set, its number among the network's."""
    if set(dataset.classes) <= set(classes):
        return np.array([classes.index(name) for name in dataset.classes], np.int64)
    # Numbers name nothing: then only the order can be meant.
    unnamed = any(all(name.isdecimal() for name in names) for names in (dataset.classes, classes))
    if unnamed and len(dataset.classes) <= len(classes):
        return np.arange(len(dataset.classes))
    strange = next(name for name in dataset.classes if name not in classes)
    raise DataError(
        f"{dataset.title} has a class '{strange}' that the network does not know; its classes: {', '.join(classes)}"
    )
