"""The trained network as a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ecofed.activations import configured_codec
from ecofed.config.class_identity import identity, listed
from ecofed.config.methods import facts_of
from ecofed.config.task import Task
from ecofed.data.preparing import tested_input
from ecofed.data.stored import ImageRows
from ecofed.errors import EcoFedError, ModelError, WireError
from ecofed.files.disk import json_text, write_bytes
from ecofed.files.json_values import parse, read_as
from ecofed.files.tensor_files import pack, unpack
from ecofed.methods import Method
from ecofed.methods.loop import test_batch
from ecofed.methods.pooled_end import with_its_end
from ecofed.models import Partition, build_model, load_arrays, partition
from ecofed.models.bottleneck import narrow
from ecofed.runs.preparation import Prepared
from ecofed.runs.run_folder import MODEL_FILE as MODEL_FILE

#: Names and shapes of some hundred arrays, and the settings of a run.
MAX_HEADER_BYTES = 1 << 20


class TrainedNetwork:
    """A network that was trained by any method: front, codec where there is one, and back, ready for new images."""

    def __init__(self, task: Task, classes: Sequence[str], halves: Partition, upper_C: np.ndarray | None) -> None:
        self.task = task
        self.classes = list(classes)
        self.front = halves.front.eval()
        self.back = halves.back.eval()
        self.upper_C = upper_C
        self.coded = facts_of(task.config.method).coded(task.config)
        self.inputs: dict[str, str] = {}
        """Fingerprints of what its run read; empty where its file has none."""

    @torch.no_grad()
    def logits(self, images_NHWC: ImageRows) -> Tensor:
        """uint8 images (N, H, W, C) to logits (N, K), in fixed batches; codes are made as in training.

        Raises:
            ModelError: its weights are so large that the numbers overflow.
        """
        size = test_batch(self.task.config)
        batches = (images_NHWC[at : at + size] for at in range(0, len(images_NHWC), size))
        inputs = (torch.from_numpy(tested_input(images_BHWC, self.task)) for images_BHWC in batches)
        try:
            logits_NK = torch.cat([self._forward(x_BCHW) for x_BCHW in inputs])
        except WireError as error:
            raise ModelError(f"the network's activations cannot be coded ({error})") from error
        if not torch.isfinite(logits_NK).all():
            raise ModelError("the network gives numbers that are not finite; its weights are of no use")
        return logits_NK

    def _forward(self, x_NCHW: Tensor) -> Tensor:
        h_NCHW = self.front(x_NCHW)
        if self.coded is not None:
            codec = configured_codec(self.coded, tuple(h_NCHW.shape[1:]), self.upper_C)
            h_NCHW = torch.from_numpy(codec.there_and_back(h_NCHW.numpy()))
        output: Tensor = self.back(h_NCHW)
        return output


def save_model(path: Path, method: Method, prepared: Prepared) -> None:
    """Write the trained network with everything that is needed to use it."""
    arrays = {f"model.{name}": array for name, array in method.network().items()}
    coded, bundle = method.coded(method.config), method.context.bundle
    if coded is not None and coded.limit_bits is not None and bundle is not None:
        arrays["upper"] = bundle.upper[coded.limit_bits]
    description = {
        # The classes stand once in the file.
        "task": dataclasses.replace(prepared.task, class_names=()).to_json(),
        "classes": list(prepared.dataset.classes),
        "cut": prepared.halves.layer,
        "normalisation": prepared.task.config.normalisation,
        "inputs": prepared.inputs,
    }
    write_bytes(path, pack(arrays, json_text(description)))


@dataclass(frozen=True, kw_only=True)
class _Description:
    """The JSON in the file."""

    task: str
    """JSON of a :class:`Task`."""
    classes: list[str]
    cut: str
    normalisation: Literal["batch", "frozen", "group"]
    inputs: dict[str, str] = field(default_factory=dict)
    """Fingerprints of what its run read; empty in files of earlier versions."""


def load_model(path: str | Path) -> TrainedNetwork:
    """Read a ``model.safetensors``, or the one in a run's folder.

    Raises:
        ModelError: it is missing, or not a network that this program wrote.
    """
    path = Path(path)
    file_path = path / MODEL_FILE if path.is_dir() else path
    try:
        packed = unpack(file_path, max_header_bytes=MAX_HEADER_BYTES)
        described: _Description = read_as(_Description, parse(packed.description))
        task = Task.from_values(parse(described.task), "task")
        if not task.sent_as:  # of an earlier version
            task = dataclasses.replace(task, sent_as=facts_of(task.config.method).sent_as(task.config))
        return _network(task, described, packed.arrays)
    except FileNotFoundError as error:
        raise ModelError(f"{file_path}: no such file; a run writes {MODEL_FILE} into its --out folder") from error
    except OSError as error:
        raise ModelError(f"{file_path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, EcoFedError) as error:
        raise ModelError(f"{file_path}: not a network that ecofed can use: {error}") from error


def _network(task: Task, described: _Description, arrays: Mapping[str, np.ndarray]) -> TrainedNetwork:
    """The network of a file. Raises ``ValueError`` or an error of ours for what does not fit together."""
    classes = tuple(identity(name) for name in described.classes)
    if len(classes) != task.classes or len(set(classes)) != len(classes):
        raise ValueError(f"'classes' must be {task.classes} different names, not {len(set(classes))}")
    if task.class_names not in ((), classes):
        raise ValueError(f"'classes' are {listed(classes)}; 'task.class_names' {listed(task.class_names)}")
    task = dataclasses.replace(task, class_names=classes)
    if described.normalisation != task.config.normalisation:
        raise ValueError(f"'normalisation' is {described.normalisation}, in its settings {task.config.normalisation}")
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"'{name}' has entries that are not finite numbers")
    weights = {name.removeprefix("model."): array for name, array in arrays.items() if name.startswith("model.")}
    others = {name: array for name, array in arrays.items() if not name.startswith("model.")}
    upper_C = others.pop("upper", None)
    if others:
        raise ValueError(f"has an array '{min(others)}' that no network has")
    with torch.device("meta"):  # the sizes must be those of the file before memory is taken for them
        _check_sizes(_halves(task, described, weights, checked=False), weights)
    halves = _halves(task, described, weights)
    for half in (halves.front, halves.back):
        load_arrays(half, {name: weights[name] for name in half.state_dict() if name in weights})
    shape_CHW = _tried(task, halves)
    if (coded := facts_of(task.config.method).coded(task.config)) is not None:
        if upper_C is not None and (upper_C.shape != shape_CHW[:1] or not (upper_C > 0).all()):
            raise ValueError(f"'upper' must have {shape_CHW[0]} limits above 0")
        configured_codec(coded, shape_CHW, upper_C)
    network = TrainedNetwork(task, classes, halves, upper_C)
    network.inputs = dict(described.inputs)
    return network


def _halves(
    task: Task, described: _Description, weights: Mapping[str, np.ndarray], *, checked: bool = True
) -> Partition:
    model = build_model(
        task.config.model, in_channels=task.in_channels, classes=task.classes, normalisation=described.normalisation
    )
    halves = partition(model, described.cut, checked=checked)
    narrowing = weights.get("bottleneck.conv.weight")
    if narrowing is not None:
        if narrowing.ndim != 4:
            raise ValueError(f"'bottleneck.conv.weight' has shape {narrowing.shape}")
        expansion = [name.removeprefix("expansion.") for name in weights if name.startswith("expansion.")]
        narrow(halves, narrowing.shape, expansion, described.normalisation)
    return with_its_end(halves, task.config, in_channels=task.in_channels, side=task.input_size, classes=task.classes)


def _check_sizes(halves: Partition, weights: Mapping[str, np.ndarray]) -> None:
    """Hold the weights against a network on the meta device, where nothing is run: its first batch takes longer than
    all else that is done with a file."""
    both = nn.ModuleList((halves.front, halves.back))
    wanted = {name.partition(".")[2]: tuple(value.shape) for name, value in both.state_dict().items()}
    needed = [name.partition(".")[2] for name, _ in both.named_parameters()]
    if surplus := sorted(weights.keys() - wanted.keys()):
        raise ModelError(f"has weights that the network does not: {', '.join(surplus)}")
    for name, array in weights.items():
        if array.shape != wanted[name]:
            raise ValueError(f"'{name}' has shape {array.shape}; the network needs {wanted[name]}")
    if missing := [name for name in needed if name not in weights]:
        raise ValueError(f"lacks the weights '{missing[0]}' ({len(missing)} of {len(needed)} missing)")


@torch.no_grad()
def _tried(task: Task, halves: Partition) -> tuple[int, int, int]:
    """(C, H, W) of the activation of blank images, whose logits must be those of as many classes."""
    x_NCHW = torch.zeros(2, task.in_channels, task.input_size, task.input_size)
    try:
        h_NCHW = halves.front.eval()(x_NCHW)
        logits_NK = halves.back.eval()(h_NCHW)
    except RuntimeError as error:
        raise ValueError(f"'task.input_size' = {task.input_size} does not suit the network ({error})") from error
    if h_NCHW.ndim != 4 or logits_NK.shape != (2, task.classes):
        raise ValueError(f"gives {tuple(logits_NK.shape[1:])} numbers an image for {task.classes} classes")
    return tuple(h_NCHW.shape[1:])
