"""Pre-training: a whole network learns to label public images; its front is what is kept.

AdamW, one cycle (linear warm-up, cosine to zero), label smoothing, optional MixUp. Mixed precision (bfloat16) where
the processor has it. Batches and augmentation are keyed by epoch and step, so a resumed training goes on as if it had
never stopped.
"""

from __future__ import annotations

import io
import math
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecofed.errors import CheckpointError
from ecofed.files.disk import write_bytes
from ecofed.files.reading import content_of
from ecofed.models.draws import keyed_draws
from ecofed.models.optimisers import AdamW
from ecofed.pretraining.adversary import adversaries_in
from ecofed.pretraining.augmentation import augment_batch
from ecofed.pretraining.public_images import PublicImages
from ecofed.randomness import generator, permutation

#: A checkpoint begins with it and a CRC-32 (u32, little-endian) of the rest.
_MAGIC = b"EcoP"


class _DamagedError(ValueError):
    pass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How long and how hard to train."""

    epochs: int = 12
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: float = 0.15
    """Fraction of all steps in which the learning rate rises."""
    label_smoothing: float = 0.1
    mixup: float = 0.0
    """Parameter of the beta distribution that weighs two mixed images; 0 mixes none."""
    jitter: float = 0.0
    """Strength of contrast and brightness changes, 0..1."""
    adversary: float = 0.0
    """Of a bottleneck: weight of the error of a decoder that it is trained against; 0: there is none."""
    seed: int = 0
    threads: int = 1

    def settings(self) -> dict[str, float]:
        """By name; without an adversary where there is none."""
        return {name: value for name, value in asdict(self).items() if name != "adversary" or value}


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """What there is to say after an epoch."""

    epoch: int
    """Counts from 1."""
    epochs: int
    loss: float
    accuracy: float
    """Of the augmented training batches, by the network as it was at the time; of the heavier label under MixUp."""
    seconds: float
    """Since this process began training."""
    seconds_left: float = 0.0


Report = Callable[[EpochReport], None]


def train_network(
    network: nn.Module,
    images: PublicImages,
    recipe: Recipe,
    *,
    report: Report | None = None,
    checkpoint: Path | None = None,
) -> list[EpochReport]:
    """Train ``network`` (inputs as ``to_input`` makes them, logits out) in place; returns a report for each epoch.

    With ``checkpoint`` the state is saved after each epoch, and a file that is already there is continued.

    Raises:
        CheckpointError: the checkpoint is not one, or belongs to another training.
    """
    torch.set_num_threads(recipe.threads)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    reports: list[EpochReport] = []
    if checkpoint is not None and checkpoint.exists():
        reports = _load(checkpoint, network, optimiser, recipe, images)
    began, done, mixed_precision = time.monotonic(), len(reports), has_bfloat16()
    for epoch in range(done, recipe.epochs):
        network.train()
        with keyed_draws(True, recipe.seed, "pretraining-layers", round_=epoch):
            loss, accuracy = _one_epoch(network, optimiser, images, recipe, epoch, mixed_precision)
        seconds = time.monotonic() - began
        reports.append(
            EpochReport(
                epoch=epoch + 1,
                epochs=recipe.epochs,
                loss=loss,
                accuracy=accuracy,
                seconds=seconds,
                seconds_left=seconds / (epoch + 1 - done) * (recipe.epochs - epoch - 1),
            )
        )
        if checkpoint is not None:
            _save(checkpoint, network, optimiser, recipe, images, reports)
        if report is not None:
            report(reports[-1])
    network.eval()
    return reports


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 natively (AVX-512 BF16 or AMX); elsewhere it would only be slower."""
    probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(bool(probe()) for probe in probes if callable(probe))


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The one-cycle schedule: linear from a 25th to the top, then half a cosine to zero."""
    rising = max(1.0, recipe.warm_up * steps)
    if step < rising:
        return recipe.learning_rate * (0.04 + 0.96 * step / rising)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))


def _one_epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: PublicImages,
    recipe: Recipe,
    epoch: int,
    mixed_precision: bool,
) -> tuple[float, float]:
    order = permutation(recipe.seed, "pretraining-order", len(images.labels_N), round_=epoch)
    size = min(recipe.batch_size, len(order))
    steps = len(order) // size  # what is left over comes in another epoch's order
    total_loss = total_right = 0.0
    for step in range(steps):
        rng = generator(recipe.seed, "pretraining-batch", round_=epoch, sample=step)
        chosen = order[step * size : (step + 1) * size]
        x_BCHW, y_B, z_B, weight = _batch(images, chosen, recipe, rng)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe, epoch * steps + step, recipe.epochs * steps)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed_precision):
            logits = network(x_BCHW)
            against = [adversary.loss(x_BCHW) for adversary in adversaries_in(network)]
        logits = logits.float()
        loss = weight * F.cross_entropy(logits, y_B, label_smoothing=recipe.label_smoothing)
        if weight < 1:
            loss = loss + (1 - weight) * F.cross_entropy(logits, z_B, label_smoothing=recipe.label_smoothing)
        optimiser.zero_grad()
        torch.stack([loss, *against]).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total_loss += float(loss.detach())
        total_right += float((logits.argmax(dim=1) == y_B).float().mean())
    return total_loss / steps, total_right / steps


def _batch(
    images: PublicImages, chosen: np.ndarray, recipe: Recipe, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Inputs, labels, the labels of what was mixed in, and the weight of the first (at least a half)."""
    pixels = augment_batch(images.images_NHWC[chosen], rng, flip=images.flip, jitter=recipe.jitter)
    pixels = (pixels - np.array(images.mean, np.float32)) / np.array(images.std, np.float32)
    labels = images.labels_N[chosen]
    partner = rng.permutation(len(chosen))
    weight = 1.0
    if recipe.mixup:
        share = float(rng.beta(recipe.mixup, recipe.mixup))
        weight = max(share, 1 - share)
        pixels = weight * pixels + (1 - weight) * pixels[partner]
    # NHWC memory seen as NCHW is what PyTorch calls channels_last.
    x_BCHW = torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).permute(0, 3, 1, 2)
    return x_BCHW, torch.from_numpy(labels), torch.from_numpy(labels[partner]), weight


def _fingerprint(recipe: Recipe, images: PublicImages) -> str:
    return f"{sorted(recipe.settings().items())} {images.title} {images.images_NHWC.shape}"


def _digest(images: PublicImages) -> str:
    """Of the pictures and their labels."""
    digest = sha256(np.ascontiguousarray(images.images_NHWC).data)
    digest.update(np.ascontiguousarray(images.labels_N).data)
    return digest.hexdigest()[:12]


def _save(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    images: PublicImages,
    reports: list[EpochReport],
) -> None:
    values = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "training": _fingerprint(recipe, images),
        "images": _digest(images),
        "reports": [asdict(report) for report in reports],
    }
    content = io.BytesIO()  # into a file PyTorch hides a full disk and Ctrl-C behind an error of its own
    torch.save(values, content)
    written = content.getvalue()
    write_bytes(path, _MAGIC + zlib.crc32(written).to_bytes(4, "little") + written)


def _checked(content: bytes) -> bytes:
    """What PyTorch wrote, whose own reader lets a flipped bit pass; files of earlier versions have no checksum."""
    if not content.startswith(_MAGIC):
        return content
    at = len(_MAGIC) + 4
    if zlib.crc32(memoryview(content)[at:]) != int.from_bytes(content[len(_MAGIC) : at], "little"):
        raise _DamagedError("it is damaged: its checksum is wrong")
    return content[at:]


def _load(
    path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, recipe: Recipe, images: PublicImages
) -> list[EpochReport]:
    try:
        saved = torch.load(io.BytesIO(_checked(content_of(path))), weights_only=True)
        if saved["training"] != _fingerprint(recipe, images):
            raise CheckpointError(
                f"{path} belongs to a training with other settings; delete it or choose another --out"
            )
        if saved.get("images", digest := _digest(images)) != digest:  # files of earlier versions do not have it
            raise CheckpointError(
                f"{path}: the public images have changed since ({saved['images']} then, {digest} now); bring back what "
                "was there, or delete it"
            )
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        return [EpochReport(**values) for values in saved["reports"]]
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # an unreadable file fails in many ways
        reason = str(error) if isinstance(error, _DamagedError) else type(error).__name__
        raise CheckpointError(f"{path} is not a checkpoint of this training ({reason}); delete it") from error
