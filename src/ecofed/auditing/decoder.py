"""The attacker's decoder: from what arrives of an image back to the image, learned from pairs of both.

Two, one on top of the other. A *linear* one, solved in closed form: each patch of the image from the activation around
it. And a *residual* network, a small U-Net that sees the activation and the linear estimate, and corrects it. Which of
them is used is decided on pairs that neither was fitted to.

Pictures are (N, C, S, S) float32 in 0..1.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecofed.auditing.eye import the_eye
from ecofed.auditing.likeness import WINDOW, ssim
from ecofed.auditing.uploads import Uploaded
from ecofed.models.optimisers import AdamW
from ecofed.randomness import generator, permutation
from ecofed.slow_work import counted

#: Of the pairs, a fifth and at most so many are for choosing: penalty, when to stop, which decoder.
HELD_OUT, MOST_HELD_OUT = 0.2, 128
#: Ridge penalties, in units of places x the mean variance of a number.
_PENALTIES = (1e-7, 1e-5, 1e-3, 1e-2, 1e-1)
#: Of numbers around a place, and of places that the linear decoder is fitted on: bounds of the time that it takes.
_MOST_INPUTS, _MOST_PLACES = 1300, 131_072
_BATCH = 32
#: Weights in the loss of structure and of features, beside the mean absolute error of pixels.
_STRUCTURE, _FEATURES = 0.2, 0.05
_CHECKS, _RATE = 8, 2e-3


class Pairs:
    """Uploads and images as tensors, a batch at a time; numbers standardised by the attacker's own pairs."""

    def __init__(self, uploaded: Uploaded) -> None:
        self.uploaded = uploaded
        some = uploaded.decoded(slice(0, min(len(uploaded), 512)))
        self.mean = torch.from_numpy(some.mean(axis=(0, 2, 3), dtype=np.float64).astype(np.float32))[:, None, None]
        self.std = torch.from_numpy(some.std(axis=(0, 2, 3), dtype=np.float64).astype(np.float32))[:, None, None]
        self.std = self.std + 1e-3 * self.std.mean() + 1e-6

    def inputs(self, which_B: np.ndarray, of: Uploaded | None = None) -> Tensor:
        """(B, C, H, W); ``of``: other uploads, standardised in the same way."""
        h_BCHW = torch.from_numpy(np.ascontiguousarray((of or self.uploaded).decoded(which_B), np.float32))
        return (h_BCHW - self.mean) / self.std


def pictures(pixels_NHWC: np.ndarray) -> Tensor:
    """uint8 (N, H, W, C) as (N, C, H, W) in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels_NHWC.transpose(0, 3, 1, 2)).astype(np.float32) / 255)


class Linear(nn.Module):
    """Each patch of the image from the activation around it."""

    def __init__(self, weights_OCKK: Tensor, bias_O: Tensor, factor: int, side: int) -> None:
        super().__init__()
        self.weights, self.bias, self.factor, self.side = weights_OCKK, bias_O, factor, side

    def forward(self, h_NCHW: Tensor) -> Tensor:
        patches = F.conv2d(h_NCHW, self.weights, self.bias, padding=self.weights.shape[-1] // 2)
        return _of_side(F.pixel_shuffle(patches, self.factor), self.side)


def _of_side(x_NCHW: Tensor, side: int) -> Tensor:
    if x_NCHW.shape[-2:] == (side, side):
        return x_NCHW
    return F.interpolate(x_NCHW, (side, side), mode="bilinear", align_corners=False)


def _pooled(x_NCHW: Tensor, like: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x_NCHW, (like.shape[-2], like.shape[-1]))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.second(F.gelu(self.first(x)))
        return output


class Network(nn.Module):
    """Corrects the linear estimate: from the activation's size up to the image's, with the estimate at each size."""

    def __init__(self, linear: Linear, channels: int, height: int, colours: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.linear = linear
        steps = max(0, round(math.log2(linear.side / height)))
        own = [*widths[: steps + 1], *([widths[-1]] * (steps + 1 - len(widths)))]
        self.enter = nn.Conv2d(channels + colours, own[0], 1)
        self.deep = nn.Sequential(_Residual(own[0]), _Residual(own[0]))
        self.up = nn.ModuleList(nn.Conv2d(a, 4 * b, 1) for a, b in pairwise(own))
        self.merge = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width + colours, width, 3, padding=1), nn.GELU(), _Residual(width))
            for width in own[1:]
        )
        self.leave = nn.Conv2d(own[-1], colours, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, h_NCHW: Tensor) -> Tensor:
        estimate = self.linear(h_NCHW)
        h = self.deep(self.enter(torch.cat([h_NCHW, _pooled(estimate, h_NCHW)], dim=1)))
        for up, merge in zip(self.up, self.merge, strict=True):
            h = F.pixel_shuffle(up(h), 2)
            h = merge(torch.cat([h, _pooled(estimate, h)], dim=1))
        output: Tensor = estimate + _of_side(self.leave(h), self.linear.side)
        return output


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """A fitted attack."""

    pairs: Pairs
    network: nn.Module
    kind: str
    """``linear`` or ``residual``: the one that was better on the attacker's own held-out pairs."""
    held_out_N: np.ndarray
    """Those pairs."""
    similarity: dict[str, float]
    """Of each kind there, SSIM."""

    def __str__(self) -> str:
        others = ", ".join(f"{kind} {found:.2f}" for kind, found in self.similarity.items())
        return f"{self.kind} decoder (SSIM on its own pairs: {others})"

    @torch.no_grad()
    def images(self, uploaded: Uploaded, which_N: np.ndarray | None = None) -> Tensor:
        """Reconstructions (N, C, S, S) in 0..1."""
        which_N = np.arange(len(uploaded)) if which_N is None else which_N
        return torch.cat(
            [
                self.network(self.pairs.inputs(which_N[at : at + 64], uploaded)).clamp(0, 1)
                for at in range(0, len(which_N), 64)
            ]
        )


def fit_decoder(uploaded: Uploaded, *, passes: int, seed: int, what: str) -> Decoder:
    """Learn from pairs.

    Args:
        uploaded: the attacker's own images and what a device would upload of them.
        passes: images that the network is trained on, counting each time; 0: the linear decoder alone.
        seed: of the division, the network's start and the order.
        what: for the progress, such as ``inverting, 128 pairs``.
    """
    order_N = permutation(seed, "audit-pairs", len(uploaded))
    held = max(1, min(MOST_HELD_OUT, int(HELD_OUT * len(uploaded))))
    held_N, fitted_N = np.sort(order_N[:held]), order_N[held:]
    pairs = Pairs(uploaded)
    linear = _fit_linear(pairs, fitted_N, held_N)
    similarity = {"linear": _similarity(linear, pairs, held_N)}
    best: nn.Module = linear
    kind = "linear"
    if passes:
        network, found = _fit_network(linear, pairs, fitted_N, held_N, passes=passes, seed=seed, what=what)
        similarity["residual"] = found
        if found > similarity["linear"]:
            best, kind = network, "residual"
    return Decoder(pairs=pairs, network=best, kind=kind, held_out_N=held_N, similarity=similarity)


@torch.no_grad()
def _fit_linear(pairs: Pairs, fitted_N: np.ndarray, held_N: np.ndarray) -> Linear:
    """Ridge regression; the penalty is the one that is best on held-out pairs."""
    channels, height, width = pairs.uploaded.shape_CHW
    side, colours = pairs.uploaded.pixels_NHWC.shape[1], pairs.uploaded.pixels_NHWC.shape[3]
    factor = max(1, round(side / height))
    kernel = next(k for k in (5, 3, 1) if k == 1 or channels * k * k <= _MOST_INPUTS)
    inputs, outputs = channels * kernel * kernel + 1, colours * factor * factor
    gram, cross = torch.zeros(inputs, inputs, dtype=torch.float64), torch.zeros(inputs, outputs, dtype=torch.float64)
    places = 0
    for at in range(0, len(fitted_N), 64):
        which_B = fitted_N[at : at + 64]
        x_PI = F.unfold(pairs.inputs(which_B), kernel, padding=kernel // 2).transpose(1, 2).reshape(-1, inputs - 1)
        x_PI = torch.cat([x_PI, torch.ones(len(x_PI), 1)], dim=1)
        target = _of_grid(pictures(pairs.uploaded.pixels_NHWC[which_B]), (height * factor, width * factor))
        y_PO = F.pixel_unshuffle(target, factor).flatten(2).transpose(1, 2).reshape(-1, outputs)
        gram += (x_PI.T @ x_PI).double()
        cross += (x_PI.T @ y_PO).double()
        places += len(x_PI)
        if places >= _MOST_PLACES:
            break
    found = []
    for penalty in _PENALTIES:
        ridge = penalty * places * torch.eye(inputs, dtype=torch.float64)
        ridge[-1, -1] = 1e-9 * places
        solved_IO = torch.linalg.solve(gram + ridge, cross).float()
        weights = solved_IO[:-1].T.reshape(outputs, channels, kernel, kernel).contiguous()
        linear = Linear(weights, solved_IO[-1].contiguous(), factor, side)
        found.append((_similarity(linear, pairs, held_N), -penalty, linear))
    return max(found, key=lambda each: each[:2])[2]


def _of_grid(x_NCHW: Tensor, size: tuple[int, int]) -> Tensor:
    if x_NCHW.shape[-2:] == size:
        return x_NCHW
    return F.interpolate(x_NCHW, size, mode="bilinear", align_corners=False)


def _fit_network(
    linear: Linear, pairs: Pairs, fitted_N: np.ndarray, held_N: np.ndarray, *, passes: int, seed: int, what: str
) -> tuple[Network, float]:
    """The network as it was best on held-out pairs, and how good that is."""
    channels, height, _ = pairs.uploaded.shape_CHW
    colours = pairs.uploaded.pixels_NHWC.shape[3]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(linear, channels, height, colours, (64, 32, 24, 16))
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = max(_CHECKS, passes // _BATCH)
    optimiser = AdamW(network.parameters(), lr=_RATE, weight_decay=1e-4)
    rng = generator(seed, "audit-batches")
    order_N, at = rng.permutation(fitted_N), 0
    best, best_state, worse = _similarity(network, pairs, held_N), copy.deepcopy(network.state_dict()), 0
    for step in counted(range(steps), steps, what):
        if at + _BATCH > len(order_N):
            order_N, at = rng.permutation(fitted_N), 0
        which_B = order_N[at : at + _BATCH]
        at += _BATCH
        x_BCHW = pictures(pairs.uploaded.pixels_NHWC[which_B])
        optimiser.param_groups[0]["lr"] = _rate(step / steps)
        loss = _loss(network(pairs.inputs(which_B)), x_BCHW)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if (step + 1) % (steps // _CHECKS) == 0:
            now = _similarity(network, pairs, held_N)
            worse = 0 if now > best else worse + 1
            if now > best:
                best, best_state = now, copy.deepcopy(network.state_dict())
            if worse >= 3:
                break
    network.load_state_dict(best_state)
    return network.eval(), best


def _rate(progress: float) -> float:
    """The learning rate: up over a tenth of the training, then down to zero on a cosine."""
    return _RATE * min(1.0, 0.05 + 10 * progress) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _loss(made: Tensor, wanted: Tensor) -> Tensor:
    loss = (made - wanted).abs().mean() + _FEATURES * the_eye().loss(made, wanted)
    if min(wanted.shape[-2:]) >= WINDOW:
        loss = loss + _STRUCTURE * (1 - ssim(made, wanted).mean())
    return loss


@torch.no_grad()
def _similarity(network: nn.Module, pairs: Pairs, held_N: np.ndarray) -> float:
    """SSIM on held-out pairs."""
    wanted = pictures(pairs.uploaded.pixels_NHWC[held_N])
    return float(ssim(network(pairs.inputs(held_N)).clamp(0, 1), wanted).mean())
