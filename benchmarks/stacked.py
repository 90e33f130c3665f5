"""Backs of several devices trained together, their weights stacked, beside one after the other: samples a second.

    python benchmarks/stacked.py

VGG11 after ``block2``, four devices, float32, one thread, processor time, the median of five turns each.
"""

from __future__ import annotations

import copy
import time
from statistics import median

import torch
import torch.nn.functional as F
from rivals import BLOCKS, CLASSES, CUT, Work
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

DEVICES, TURNS, STEPS = 4, 5, 3


def optimiser(parameters: list[Tensor]) -> torch.optim.SGD:
    """The same for both."""
    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, fused=True)


def step(made: torch.optim.SGD, loss: Tensor) -> None:
    """One."""
    made.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    made.step()


def measured(work: Work) -> dict[str, float]:
    """Samples a second of processor time."""
    backs: list[nn.Module] = [work.network(CUT) for _ in range(DEVICES)]
    channels = int(BLOCKS[CUT - 1][0] * work.width)
    h_DBCHW, y_B = torch.rand(DEVICES, work.batch_size, channels, 8, 8), torch.arange(work.batch_size) % CLASSES
    stacked, shape = stack_module_state(backs)[0], copy.deepcopy(backs[0]).to("meta")  # type: ignore[arg-type]
    weights = {name: value.detach().requires_grad_() for name, value in stacked.items()}
    together = optimiser(list(weights.values()))
    each = [optimiser(list(back.parameters())) for back in backs]

    def one_after_the_other() -> None:
        for back, own, h_BCHW in zip(backs, each, h_DBCHW, strict=True):
            step(own, F.cross_entropy(back(h_BCHW), y_B))

    def at_once() -> None:
        losses_D = vmap(lambda w, h_BCHW: F.cross_entropy(functional_call(shape, w, (h_BCHW,)), y_B))(weights, h_DBCHW)
        step(together, losses_D.sum())

    rates: dict[str, list[float]] = {}
    for turn in range(TURNS + 1):  # the first is not counted
        for train in (one_after_the_other, at_once):
            started = time.process_time()
            for _ in range(STEPS):
                train()
            rate = STEPS * DEVICES * work.batch_size / (time.process_time() - started)
            rates[train.__name__] = rates.get(train.__name__, []) + [rate] * bool(turn)
    return {name: median(own) for name, own in rates.items()}


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    for name, width, head_width in (("half width", 0.5, 512), ("full width", 1.0, 4096)):
        for batch_size in (10, 20):
            work = Work(width, head_width, batch_size, devices=DEVICES, samples=batch_size, rounds=1)
            rates = measured(work)
            ratio = rates["at_once"] / rates["one_after_the_other"]
            print(
                f"{name}, batches of {batch_size}: stacked {rates['at_once']:.0f} samples/s, {ratio:.2f}x", flush=True
            )


if __name__ == "__main__":
    main()
