"""What weights give away: the image of a device that trained on it for one step, from the weights before and after.

The difference of the weights over the learning rate is the gradient of the loss of that image. Who has it reads the
label off its last layer (the one class whose bias was pushed up), and looks for the image whose own gradient points the
same way: "Inverting gradients - how easy is it to break privacy in federated learning?" (Geiping et al., 2020), with
the cosine of the two gradients, signed steps and a penalty on variation. A small network and one image a step are the
easy case; larger batches and more local steps are harder, and not safe.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecofed.auditing.uploads import ask
from ecofed.config.methods import REFERENCE
from ecofed.config.problem import ModelConfig
from ecofed.config.task import Task
from ecofed.devices import DeviceWorker
from ecofed.devices.local_data import LocalData
from ecofed.models import build_model, initialise, load_arrays, state_arrays
from ecofed.models.optimisers import AdamW
from ecofed.slow_work import counted
from ecofed.wire import TrainedWhole, TrainWhole

#: The network that the device trains; its normalisation has constants.
NETWORK = ModelConfig(name="lenet", width=0.5)
STEPS, RATE, VARIATION = 300, 0.05, 1e-2
#: Images that are looked for, each the only one of its device.
IMAGES = 4


def weights_task(task: Task) -> Task:
    """The same images, in a run that sends weights: one image a batch, one step."""
    config = task.config.replace(
        method=REFERENCE,
        model__name=NETWORK.name,
        model__width=NETWORK.width,
        model__cut=None,
        model__head_width=None,
        model__image_size=None,
        normalisation="frozen",
        batch_size=1,
        local_epochs=1,
        initialisation="random",
        data__augment=False,
    )
    return dataclasses.replace(task, config=config, cover=False, picture_size=(), input_size=32)


@dataclass(frozen=True, kw_only=True)
class FromWeights:
    """What was made of weights."""

    images_NCHW: Tensor
    """In 0..1."""
    labels_N: np.ndarray
    bytes_per_image: float
    """Of the weights, as they travel."""


def images_of(task: Task, pixels_NHWC: np.ndarray, labels_N: np.ndarray, seed: int) -> FromWeights:
    """Reconstruct images and labels, each of which one device trained on.

    Args:
        task: of :func:`weights_task`.
        pixels_NHWC: uint8 (N, 32, 32, C), for the devices.
        labels_N: for the devices.
        seed: of the network's start and of the search.
    """
    config = task.config
    model = build_model(config.model, in_channels=task.in_channels, classes=task.classes, normalisation="frozen")
    initialise(model, seed)
    before = state_arrays(model)
    made, labels, size = [], list[int](), 0
    for number in range(len(labels_N)):
        one = slice(number, number + 1)
        worker = DeviceWorker(task, LocalData(task, number, pixels_NHWC[one], labels_N[one]))
        reply, kinds = ask(worker, TrainWhole(round=1, weights=before), TrainedWhole)
        after, size = reply.weights, size + kinds.get("weights", 0)
        load_arrays(model, before)
        names = [name for name, _ in model.named_parameters()]
        gradient = [torch.from_numpy(before[name] - after[name]) / config.learning_rate for name in names]
        label = label_of(gradient[-1])
        found = _searched(
            model.eval(), gradient, label, task, seed, f"inverting weights ({number + 1} of {len(labels_N)})"
        )
        made.append(found)
        labels.append(label)
    return FromWeights(
        images_NCHW=torch.cat(made), labels_N=np.array(labels), bytes_per_image=size / max(1, len(labels))
    )


def label_of(last_bias_gradient_K: Tensor) -> int:
    """Of a single image: cross-entropy pushes the bias of its own class up and every other down (Zhao et al., 2020)."""
    return int(last_bias_gradient_K.argmin())


def _searched(model: nn.Module, wanted: Sequence[Tensor], label: int, task: Task, seed: int, what: str) -> Tensor:
    mean, std = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (task.mean, task.std))
    parameters = list(model.parameters())
    start = torch.rand(
        1, task.in_channels, task.input_size, task.input_size, generator=torch.Generator().manual_seed(seed)
    )
    x_NCHW = (0.5 + 0.1 * (start - 0.5)).requires_grad_()
    optimiser = AdamW([x_NCHW], lr=RATE, weight_decay=0)
    truth = torch.tensor([label])
    size = torch.stack([each.square().sum() for each in wanted]).sum().sqrt()
    for step in counted(range(STEPS), STEPS, what):
        optimiser.param_groups[0]["lr"] = RATE * 0.3 ** sum(step >= STEPS * part for part in (1 / 2, 3 / 4, 7 / 8))
        loss = F.cross_entropy(model((x_NCHW - mean) / std), truth)
        own = torch.autograd.grad(loss, parameters, create_graph=True)
        along = torch.stack([(a * b).sum() for a, b in zip(own, wanted, strict=True)]).sum()
        length = torch.stack([each.square().sum() for each in own]).sum().sqrt()
        rough = (x_NCHW[..., 1:] - x_NCHW[..., :-1]).abs().mean() + (
            x_NCHW[..., 1:, :] - x_NCHW[..., :-1, :]
        ).abs().mean()
        apart = 1 - along / (length * size + 1e-12) + VARIATION * rough
        (x_NCHW.grad,) = torch.autograd.grad(apart, [x_NCHW])
        x_NCHW.grad.sign_()
        optimiser.step()
        with torch.no_grad():
            x_NCHW.clamp_(0, 1)
    return x_NCHW.detach()
