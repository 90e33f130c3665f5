"""What weights give away: the images of a device that trained on them for one step, from the weights before and after.

The difference of the weights over the learning rate is the gradient of the loss of those images. Who has it reads their
labels off its last layer (the classes whose bias was pushed up), and looks for the images whose own gradient points the
same way: "Inverting gradients - how easy is it to break privacy in federated learning?" (Geiping et al., 2020), with
the cosine of the two gradients, signed steps and a penalty on variation. A small network and one image a step are the
easy case; larger batches and more local steps are harder, and not safe.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecofed.auditing.decoder import pictures
from ecofed.auditing.uploads import ask
from ecofed.config.methods import REFERENCE
from ecofed.config.privacy import PrivacyConfig
from ecofed.config.problem import ModelConfig
from ecofed.config.task import Task
from ecofed.config.validation import ValidationConfig
from ecofed.devices import DeviceWorker
from ecofed.devices.local_data import LocalData
from ecofed.models import build_model, initialise, load_arrays, state_arrays
from ecofed.models.optimisers import AdamW
from ecofed.slow_work import counted
from ecofed.wire import TrainedWhole, TrainWhole

#: The network that the device trains; its normalisation has constants.
NETWORK = ModelConfig(name="lenet", width=0.5)
STEPS, RATE, VARIATION = 300, 0.05, 1e-2
#: Images in the step, and as many steps by other devices as there are images of.
BATCHES = {1: 4, 4: 8, 16: 16}


def weights_task(task: Task, batch: int = 1) -> Task:
    """The same images, in a run that sends weights: so many images a batch, one step. What the audited run's devices do
    to their uploads, or keep back, is not of it: no device that sends weights can add noise to them."""
    plain = dataclasses.replace(task.config, privacy=PrivacyConfig(), validation=ValidationConfig())
    config = plain.replace(
        method=REFERENCE,
        model__name=NETWORK.name,
        model__width=NETWORK.width,
        model__cut=None,
        model__head_width=None,
        model__image_size=None,
        normalisation="frozen",
        batch_size=batch,
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
    labels_right: int
    """How many of a batch's labels were told, in whichever order."""
    bytes_per_image: float
    """Of the weights, as they travel."""


def images_of(task: Task, pixels_NHWC: np.ndarray, labels_N: np.ndarray, seed: int) -> FromWeights:
    """Reconstruct images and labels, of which each device trained on a batch.

    Args:
        task: of :func:`weights_task`.
        pixels_NHWC: uint8 (N, 32, 32, C), for the devices.
        labels_N: for the devices.
        seed: of the network's start and of the search.

    Returns:
        Images and labels in the order of those that they are most like: which image of a batch is which, nobody can
        know, nor does it matter.
    """
    config = task.config
    model = build_model(config.model, in_channels=task.in_channels, classes=task.classes, normalisation="frozen")
    initialise(model, seed)
    before = state_arrays(model)
    made, labels, right, size = [], list[int](), 0, 0
    starts = range(0, len(labels_N), config.batch_size)
    for number, start in enumerate(starts):
        own = slice(start, start + config.batch_size)
        worker = DeviceWorker(task, LocalData(task, number, pixels_NHWC[own], labels_N[own]))
        reply, kinds = ask(worker, TrainWhole(round=1, weights=before), TrainedWhole)
        after, size = reply.weights, size + kinds.get("weights", 0)
        load_arrays(model, before)
        names = [name for name, _ in model.named_parameters()]
        gradient = [torch.from_numpy(before[name] - after[name]) / config.learning_rate for name in names]
        found_N = labels_of(gradient[-1], _guessed(model.eval(), task), len(labels_N[own]))
        what = f"inverting weights ({number + 1} of {len(starts)})"
        found = _searched(model, gradient, found_N, task, seed, what)
        order_N = _matched(found, pictures(pixels_NHWC[own]))
        made.append(found[order_N])
        labels += found_N[order_N].tolist()
        right += (Counter(found_N.tolist()) & Counter(labels_N[own].tolist())).total()
    return FromWeights(
        images_NCHW=torch.cat(made),
        labels_N=np.array(labels),
        labels_right=right,
        bytes_per_image=size / max(1, len(labels)),
    )


def labels_of(last_bias_gradient_K: Tensor, guessed_K: Tensor, count: int) -> np.ndarray:
    """Of ``count`` images: the mean of cross-entropy pushes the bias of a class by what the network gives it less its
    share of the images (Zhao et al., 2020; Yin et al., 2021).

    Args:
        last_bias_gradient_K: of the mean loss.
        guessed_K: what the network gives each class, of any images: before it is trained that is alike for all.
        count: of the images.
    """
    left_K = count * (guessed_K - last_bias_gradient_K)
    found = []
    for _ in range(count):
        label = int(left_K.argmax())
        left_K[label] -= 1
        found.append(label)
    return np.array(sorted(found))


@torch.no_grad()
def _guessed(model: nn.Module, task: Task) -> Tensor:
    grey = torch.zeros(1, task.in_channels, task.input_size, task.input_size)
    guessed_K: Tensor = model(grey).softmax(dim=1)[0]
    return guessed_K


def _matched(found_NCHW: Tensor, images_NCHW: Tensor) -> np.ndarray:
    """For each image the reconstruction that is its, by the nearest pairs first."""
    distance_NN = torch.cdist(images_NCHW.flatten(1), found_NCHW.flatten(1))
    order_N = np.zeros(len(distance_NN), np.int64)
    for _ in range(len(distance_NN)):
        image, made = divmod(int(distance_NN.argmin()), len(distance_NN))
        order_N[image] = made
        distance_NN[image], distance_NN[:, made] = float("inf"), float("inf")
    return order_N


def _searched(
    model: nn.Module, wanted: Sequence[Tensor], labels_N: np.ndarray, task: Task, seed: int, what: str
) -> Tensor:
    mean, std = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (task.mean, task.std))
    parameters = list(model.parameters())
    shape = (len(labels_N), task.in_channels, task.input_size, task.input_size)
    start = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    x_NCHW = (0.5 + 0.1 * (start - 0.5)).requires_grad_()
    optimiser = AdamW([x_NCHW], lr=RATE, weight_decay=0)
    truth = torch.from_numpy(labels_N)
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
