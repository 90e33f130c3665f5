"""Training one back on batches mixed over the whole replay buffer.

The front is frozen and everybody's activations are here, so this is ordinary supervised learning: one model, shuffled
batches, kept momentum; and what helps ordinary learning may help here: feature-space augmentation, balanced batches,
a learning-rate schedule, averaged weights, smoothed labels. ``send-images`` trains a whole network in the same way.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from ecofed.activations import Samples
from ecofed.activations.pool import Rows
from ecofed.config.accountant import kept_share
from ecofed.config.methods import PooledTraining, cosine
from ecofed.config.task import Task
from ecofed.files.json_values import Count, read_as
from ecofed.methods.base import Context, check_converging, expect, under
from ecofed.methods.class_counts import ClassCounts, cross_entropy_of_counts
from ecofed.models import load_arrays, state_arrays
from ecofed.models.optimisers import SGD, AdamW
from ecofed.randomness import generator
from ecofed.slow_work import counted

#: Rows of a view as float32 input (B, C, H, W) of what is trained; augmented where there is a generator.
Inputs = Callable[[Samples, np.ndarray, np.random.Generator | None], np.ndarray]
#: Weights enter the average every so many steps: as good as every step, and ten times cheaper.
AVERAGE_EVERY = 10
#: Above so many a permutation of all rows costs more than what is done with its start.
MANY_ROWS = 1 << 20
#: What an optimiser remembers of a parameter, and what it is called in checkpoints.
_SLOTS = {"momentum_buffer": "momentum", "exp_avg": "first-moment", "exp_avg_sq": "second-moment"}


def has_running_statistics(context: Context, settings: PooledTraining) -> bool:
    """Whether what is trained has ordinary BatchNorm with running averages: pooled batches are mixed over devices, so
    their statistics may be learned."""
    asked = settings.statistics == "running" or (settings.statistics == "auto" and not context.published)
    return asked and context.config.normalisation == "frozen"


class PooledTrainer:
    """One back, its optimiser and its averaged copy."""

    def __init__(
        self,
        back: nn.Module,
        inputs: Inputs,
        task: Task,
        settings: PooledTraining,
        *,
        torch_device: torch.device,
    ) -> None:
        config = task.config
        self.back = back
        self._inputs = inputs
        self._config = config
        self._settings = settings
        self._classes = task.classes
        self._device = torch_device
        self._rate = settings.rate(config.learning_rate, config.batch_size)
        self._optimiser = self._fresh_optimiser()
        self._average = copy.deepcopy(back).requires_grad_(False).eval() if settings.ema else None
        self._steps = 0

    @property
    def evaluated(self) -> nn.Module:
        """The back to test and to save: the average where there is one. Before anything has entered it, it is but the
        start of the training."""
        return self.back if self._average is None or self._steps < AVERAGE_EVERY else self._average

    def train(self, round_: int, pool: Samples, device_N: Rows, steps: int) -> float:
        """``steps`` SGD steps on batches drawn from ``pool``, whose rows come from devices ``device_N``; mean loss."""
        settings, size = self._settings, self._settings.batch(self._config.batch_size)
        if settings.fresh_momentum:
            self._optimiser = self._fresh_optimiser()
        groups_N = {"class": pool.labels_N, "device": device_N}.get(settings.sampling)
        order = drawn_rows(self._config.seed, round_, len(pool), groups_N, steps * size)
        counts = None
        if self._config.privacy.labels == "counts":
            counts = ClassCounts(pool.labels_N, device_N, self._classes, evenly=settings.sampling == "device")
        self.back.train()
        total = 0.0
        for step in counted(range(steps), steps, "training"):
            self._set_learning_rate(*((round_ - 1 + part / steps) / self._config.rounds for part in (step, step + 1)))
            random = generator(self._config.seed, "feature-augmentation", round_=round_, view=step)
            rows_B = order[step * size : (step + 1) * size]
            h_BCHW, told_B = self.batch(pool, rows_B, random)
            if counts is not None:
                told_B = counts.odds(device_N[rows_B]).to(self._device)
            total += self._step(h_BCHW, told_B, random)
            self._steps += 1
            if self._average is not None and self._steps % AVERAGE_EVERY == 0:
                self._update_average()
        return total / steps

    def batch(self, view: Samples, rows_B: np.ndarray, random: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """These rows as what is trained takes them, augmented where there is a generator, and labels (B,)."""
        h_BCHW = torch.from_numpy(self._inputs(view, rows_B, random))
        y_B = torch.from_numpy(view.labels_N[rows_B])
        return h_BCHW.to(self._device, memory_format=torch.channels_last), y_B.to(self._device)

    @torch.no_grad()
    def loss_on(self, view: Samples) -> float:
        """Mean loss of the back as it is, by which it is trained, on a view that it need not have seen."""
        self.back.eval()
        total = 0.0
        for rows_B in np.array_split(np.arange(len(view)), -(-len(view) // 100)):
            h_BCHW, y_B = self.batch(view, rows_B, None)
            total += float(self._loss(self.back(h_BCHW), y_B)) * len(rows_B)
        return total / len(view)

    def _step(self, h_BCHW: Tensor, told_B: Tensor, random: np.random.Generator) -> float:
        """``told_B``: labels (B,), or of devices that tell counts by how much likelier those make each class (B, K)."""
        settings = self._settings
        if settings.mixup:
            share = float(random.beta(settings.mixup, settings.mixup))
            partner_B = torch.from_numpy(random.permutation(len(told_B))).to(self._device)
            logits_BK = self.back(share * h_BCHW + (1 - share) * h_BCHW[partner_B])
            loss = share * self._loss(logits_BK, told_B) + (1 - share) * self._loss(logits_BK, told_B[partner_B])
        else:
            loss = self._loss(self.back(h_BCHW), told_B)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        value = float(loss.detach())
        check_converging(value)
        return value

    def _loss(self, logits_BK: Tensor, told_B: Tensor) -> Tensor:
        """Mean cross-entropy of labels as they were sent."""
        smoothing, privacy = self._settings.label_smoothing, self._config.privacy
        if privacy.labels == "counts":
            return cross_entropy_of_counts(logits_BK, told_B, smoothing)
        classes = logits_BK.shape[1]
        epsilon = privacy.label_epsilon if privacy.label_correction else None
        kept = 1.0 if epsilon is None else kept_share(epsilon, classes)
        # From an epsilon of about 37 the truth is as good as certain: then no draw of a device is a lie, either.
        if kept == 1:
            return F.cross_entropy(logits_BK, told_B, label_smoothing=smoothing)
        # What randomised response makes of the network's answer is held against what it made of the label. No entry
        # is below that of a lie, so that each has a logarithm, however sure the network is of another one.
        other = (1 - kept) / (classes - 1)
        said_BK = other + (kept - other) * F.softmax(logits_BK.float(), dim=1)
        return F.nll_loss(said_BK.log(), told_B) * (1 - smoothing) - said_BK.log().mean() * smoothing

    def _fresh_optimiser(self) -> Optimizer:
        rate, decay = self._rate, self._settings.weight_decay
        if self._settings.optimiser == "sgd":
            momentum = self._config.momentum
            return SGD(self.back.parameters(), lr=rate, momentum=momentum, weight_decay=decay, fused=True)
        parameters = list(self.back.parameters())
        groups = [
            {"params": [one for one in parameters if one.ndim > 1], "weight_decay": decay},
            {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
        ]
        return AdamW(groups, lr=rate, fused=True)

    def _set_learning_rate(self, progress: float, after: float) -> None:
        """``progress`` through the whole training before and after this step, 0..1."""
        settings = self._settings
        if settings.schedule == "constant" and not settings.warm_up:
            return
        share = cosine(progress) if settings.schedule == "cosine" else 1.0
        if settings.warm_up:
            share *= min(1.0, after / settings.warm_up)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate * share

    @torch.no_grad()
    def _update_average(self) -> None:
        assert self._average is not None
        # An average that starts at the first weights would remember them too long: its memory grows with the steps.
        decay = min(self._settings.ema**AVERAGE_EVERY, self._steps / (self._steps + 10 * AVERAGE_EVERY))
        for averaged, current in zip(self._average.state_dict().values(), self.back.state_dict().values(), strict=True):
            if averaged.is_floating_point():  # not indices and masks, which nothing changes
                averaged.lerp_(current, 1 - decay)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """Arrays and JSON values that the next step depends on."""
        arrays = {f"back/{name}": array for name, array in state_arrays(self.back).items()}
        if self._average is not None:
            arrays |= {f"average/{name}": array for name, array in state_arrays(self._average).items()}
        for index, slot in self._optimiser.state_dict()["state"].items():
            for name, value in slot.items():
                if name in _SLOTS and value is not None:
                    arrays[f"{_SLOTS[name]}/{index}"] = value.cpu().numpy().copy()
        return arrays, {"steps": self._steps}

    def load_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, int]) -> None:
        """Inverse of :meth:`state`."""
        load_arrays(self.back, under("back/", arrays))
        if self._average is not None:
            load_arrays(self._average, under("average/", arrays))
        self._steps = read_as(Count, values["steps"], "values.trainer.steps")
        slots: dict[int, dict[str, Tensor]] = {}
        parameters = [parameter for group in self._optimiser.param_groups for parameter in group["params"]]
        for name, kept_as in _SLOTS.items():
            for index, array in under(f"{kept_as}/", arrays).items():
                expect(f"{kept_as}/{index}", array, np.float32, *parameters[int(index)].shape)
                buffer = torch.from_numpy(array).to(self._device)
                # As the parameter lies in memory: sums over it then run in the same order as before the interruption.
                slots.setdefault(int(index), {})[name] = (
                    buffer.contiguous(memory_format=torch.channels_last) if buffer.ndim == 4 else buffer
                )
        if self._settings.optimiser == "adamw":
            for slot in slots.values():
                slot["step"] = torch.tensor(float(self._steps))
        self._optimiser.load_state_dict(self._optimiser.state_dict() | {"state": slots})


def drawn_rows(seed: int, round_: int, rows: int, groups_N: Rows | None, wanted: int) -> np.ndarray:
    """``wanted`` of so many row numbers, in which every group comes equally often, or, without groups, every row."""
    if groups_N is None:
        return _in_turn(seed, round_, 0, rows, wanted)
    return balanced_rows(seed, round_, np.asarray(groups_N), wanted)


def balanced_rows(seed: int, round_: int, groups_N: np.ndarray, wanted: int) -> np.ndarray:
    """``wanted`` row numbers in which every group comes equally often; with one group every row does.

    The groups take turns, in a new keyed order each turn.
    """
    groups, group_of_N = np.unique(groups_N, return_inverse=True)
    turns = -(-wanted // len(groups))
    draw = generator(seed, "group-turns", round_=round_)
    turn_of_slot = draw.permuted(np.tile(np.arange(len(groups)), (turns, 1)), axis=1).reshape(-1)[:wanted]
    chosen = np.empty(wanted, np.int64)
    for group in range(len(groups)):
        rows_N, slots = np.flatnonzero(group_of_N == group), np.flatnonzero(turn_of_slot == group)
        chosen[slots] = rows_N[_in_turn(seed, round_, group, len(rows_N), len(slots))]
    return chosen


def _in_turn(seed: int, round_: int, group: int, rows: int, wanted: int) -> np.ndarray:
    """Positions in a group of so many rows: keyed permutations of it, one after the other, so that none comes twice too
    early. Of very many rows the start of a permutation is drawn without the rest of it."""
    passes = -(-wanted // rows)
    draws = [
        generator(seed, "pooled-batches", round_=round_, view=number, sample=group) for number in range(max(1, passes))
    ]
    if rows > MANY_ROWS and wanted <= rows:
        return draws[0].choice(rows, wanted, replace=False)
    return np.concatenate([draw.permutation(rows) for draw in draws])[:wanted]
