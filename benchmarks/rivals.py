"""What ``bench.py`` compares with, each in a process of its own: needs PyTorch, and the framework that it names.

    python benchmarks/rivals.py KIND JSON

A line on standard input asks for a round; a line on standard output says how many samples it has trained on. The
network is VGG11 as in ``ecofed``; images are random and not augmented, which costs nothing.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Channels of the convolution blocks, and whether a pool ends them; the cut comes after the second.
BLOCKS = ((64, True), (128, True), (256, False), (256, True), (512, False), (512, True), (512, False), (512, False))
CUT, CLASSES = 2, 10


@dataclass(frozen=True)
class Work:
    """A round."""

    width: float
    head_width: int
    batch_size: int
    devices: int
    samples: int
    """Of each device."""
    rounds: int
    """At most, for frameworks that want to know before."""

    def network(self, first: int = 0) -> nn.Sequential:
        """VGG11 from this block on, normalised by each batch."""
        layers: list[nn.Module] = []
        inputs = 3 if first == 0 else int(BLOCKS[first - 1][0] * self.width)
        for channels, pool in BLOCKS[first:]:
            outputs = int(channels * self.width)
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs, track_running_stats=False)]
            layers += [nn.ReLU(), *([nn.MaxPool2d(2)] if pool else [])]
            inputs = outputs
        hidden = self.head_width
        layers += [nn.Flatten(), nn.Linear(inputs * 4, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(hidden, CLASSES))

    def data(self, *shape_CHW: int) -> tuple[Tensor, Tensor]:
        """Of one device; all have the same."""
        drawn = torch.Generator().manual_seed(0)
        return torch.rand(self.samples, *shape_CHW, generator=drawn), torch.arange(self.samples) % CLASSES


def sgd(network: nn.Module) -> torch.optim.SGD:
    """As research code has it."""
    return torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)


def trained(network: nn.Module, data: tuple[Tensor, Tensor], batch_size: int) -> nn.Module:
    """A copy, after one pass over a device's samples."""
    own = copy.deepcopy(network).train()
    optimiser = sgd(own)
    for x_BCHW, y_B in zip(data[0].split(batch_size), data[1].split(batch_size), strict=True):
        loss = F.cross_entropy(own(x_BCHW), y_B)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return own


def fedavg_loop(network: nn.Module, data: tuple[Tensor, Tensor], work: Work) -> Callable[[], int]:
    """Each device's copy after the other, then their average."""

    def round_() -> int:
        sums = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
        for _ in range(work.devices):
            for name, value in trained(network, data, work.batch_size).state_dict().items():
                sums[name] += value / work.devices
        network.load_state_dict(sums)
        return work.devices * work.samples

    return round_


def plain_split(work: Work) -> Callable[[], int]:
    """The server's part of split learning: a copy of the back for each device, on float activations."""
    return fedavg_loop(work.network(CUT), work.data(int(BLOCKS[CUT - 1][0] * work.width), 8, 8), work)


def plain_classic(work: Work) -> Callable[[], int]:
    """Federated averaging of the whole network."""
    return fedavg_loop(work.network(), work.data(3, 32, 32), work)


def pfl_research(work: Work, asked: Iterator[None], done: Callable[[int], None]) -> None:
    """Apple's pfl-research: its simulated backend, one process."""
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.algorithm.base import NNAlgorithmParams
    from pfl.algorithm.federated_averaging import FederatedAveraging
    from pfl.callback.base import TrainingProcessCallback
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.data.pytorch import PyTorchTensorDataset
    from pfl.data.sampling import get_user_sampler
    from pfl.hyperparam import NNTrainHyperParams
    from pfl.metrics import Metrics
    from pfl.model.pytorch import PyTorchModel

    class Trained(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = work.network()

        def loss(self, x_BCHW: Tensor, y_B: Tensor, **_: Any) -> Tensor:
            return F.cross_entropy(self.network(x_BCHW), y_B)

        def metrics(self, *_: Any, **__: Any) -> dict[str, Any]:
            return {}

    class EachRound(TrainingProcessCallback):
        def after_central_iteration(self, *_: Any, **__: Any) -> tuple[bool, Metrics]:
            done(work.devices * work.samples)
            return next(asked, "end") == "end", Metrics()

    data = FederatedDataset(
        lambda user: PyTorchTensorDataset(work.data(3, 32, 32), user_id=user),
        get_user_sampler("minimize_reuse", [str(number) for number in range(work.devices)]),
    )
    network = Trained()
    central = torch.optim.SGD(network.parameters(), lr=1.0)
    next(asked)
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=work.rounds,
            evaluation_frequency=work.rounds + 1,
            train_cohort_size=work.devices,
            val_cohort_size=0,
        ),
        SimulatedBackend(data, data),
        PyTorchModel(network, lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9), central),
        NNTrainHyperParams(local_num_epochs=1, local_learning_rate=1e-3, local_batch_size=work.batch_size),
        callbacks=[EachRound()],
        send_metrics_to_platform=False,
    )


def flower(work: Work, asked: Iterator[None], done: Callable[[int], None]) -> None:
    """Flower's simulation engine (Ray), one processor core for a client."""
    from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp
    from flwr.serverapp import Grid, ServerApp
    from flwr.serverapp.strategy import FedAvg
    from flwr.simulation import run_simulation

    clients, server, threads = ClientApp(), ServerApp(), torch.get_num_threads()

    @clients.train()
    def train(message: Message, _: Context) -> Message:
        torch.set_num_threads(threads)
        network = work.network()
        network.load_state_dict(message.content["arrays"].to_torch_state_dict())
        own = trained(network, work.data(3, 32, 32), work.batch_size)
        told = MetricRecord({"num-examples": work.samples})
        return Message(RecordDict({"arrays": ArrayRecord(own.state_dict()), "metrics": told}), reply_to=message)

    def after_round(number: int, _: ArrayRecord) -> MetricRecord:
        if number:
            done(work.devices * work.samples)
        if next(asked, "end") == "end":
            raise KeyboardInterrupt
        return MetricRecord({})

    @server.main()
    def main(grid: Grid, _: Context) -> None:
        strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_available_nodes=work.devices)
        arrays = ArrayRecord(work.network().state_dict())
        strategy.start(grid, initial_arrays=arrays, num_rounds=work.rounds, evaluate_fn=after_round)

    run_simulation(server, clients, work.devices, backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0}})


LOOPS = {"plain-split": plain_split, "plain-classic": plain_classic}
FRAMEWORKS = {"pfl-research": pfl_research, "flower": flower}


def serve(round_: Callable[[], int]) -> None:
    """A round for each line."""
    answer("ready")
    for _ in sys.stdin:
        answer(round_())


def answer(said: object) -> None:
    """One line, past what libraries print."""
    sys.__stdout__.write(f"bench {said}\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


def main() -> None:
    """The command line."""
    kind, told = sys.argv[1], json.loads(sys.argv[2])
    torch.set_num_threads(told.pop("threads"))
    work = Work(**told)
    if kind in LOOPS:
        serve(LOOPS[kind](work))
        return
    answer("ready")
    FRAMEWORKS[kind](work, (None for _ in sys.stdin), answer)


if __name__ == "__main__":
    main()
