"""Networks that users bring: what they hold besides layers, what tells one from another, and what their layers draw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ecofed
from ecofed.api import as_settings
from ecofed.config import registry
from ecofed.config.given import MODULE
from ecofed.config.problem import ModelConfig
from ecofed.models import build_model, initialise
from ecofed.models.given import give_module
from ecofed.models.partition import partition
from ecofed.runs.experiment import run
from stopping import StopAfter

SMALL: dict[str, Any] = {
    "data__name": "digits",
    "data__samples_per_device": 12,
    "devices": 3,
    "sampled_devices": 2,
    "rounds": 3,
    "test_samples": 40,
    "initialisation": "random",
    "front__name": "random",
}


class Scaled(nn.Module):
    """Knows a mean, a scale that no file has, a gain that is trained, and how it is put together."""

    def __init__(self, *, residual: bool = False, mean: float = 0.5, dropout: float = 0.0) -> None:
        super().__init__()
        self.residual = residual
        self.register_buffer("mean", torch.full((1, 1, 1, 1), mean))
        self.register_buffer("scale", torch.full((1, 1, 1, 1), 0.25), persistent=False)
        self.gain = nn.Parameter(torch.ones(1))
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3, stride=4, padding=1), nn.ReLU())
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(256, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first((x - self.mean) / self.scale)
        y = self.second(x) * self.gain
        output: Tensor = self.last(x + y if self.residual else y)
        return output


@pytest.fixture
def plugin() -> Iterator[str]:
    @ecofed.register_network("scaled", cut="first")
    def scaled(in_channels: int, classes: int, width: float, head_width: int | None) -> nn.Module:  # noqa: ARG001
        return Scaled()

    yield "scaled"
    registry._networks.clear()
    registry._changed()


def built(name: str) -> nn.Module:
    # Memory that is taken next holds what was in it before.
    rubbish = [torch.full((size,), 7e7) for size in (1, 3, 4, 16) for _ in range(500)]
    del rubbish
    model = build_model(ModelConfig(name=name), in_channels=1, classes=10, normalisation="frozen")
    initialise(model, 0)
    return model


class TestValues:
    @pytest.mark.parametrize("kind", ["given", "plug-in"])
    def test_what_no_start_draws_is_as_the_network_says(self, kind: str, plugin: str) -> None:
        model = built(plugin if kind == "plug-in" else give_module(Scaled()))
        values = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        assert {name: values[name].item() for name in ("mean", "scale", "gain")} == {
            "mean": 0.5,
            "scale": 0.25,
            "gain": 1.0,
        }

    @pytest.mark.ci
    def test_a_front_on_a_device_has_them_too(self) -> None:
        """They do not travel: a buffer that is in no file would be whatever was in memory."""
        settings = as_settings(None, Scaled(), None, {**SMALL, "method": "ecofed"})
        results = [run(settings, report=False) for _ in range(2)]
        assert [record.train_loss for record in results[0].rounds] == [
            record.train_loss for record in results[1].rounds
        ]
        front = partition(built(give_module(Scaled())), "first").front
        assert dict(front.named_buffers())["scale"].item() == 0.25


class TestNames:
    def test_a_flag_a_buffer_and_a_function_tell_networks_apart(self) -> None:
        names = [give_module(network) for network in (Scaled(), Scaled(residual=True), Scaled(mean=0.4))]
        assert len({*names}) == 3
        assert all(name.startswith(f"{MODULE}Scaled-") for name in names)
        assert give_module(Scaled()) == names[0]

    def test_weights_and_statistics_do_not(self) -> None:
        network = nn.Sequential(nn.Conv2d(1, 4, 3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3))
        before = give_module(network)
        network(torch.randn(4, 1, 32, 32))
        with torch.no_grad():
            network.get_parameter("4.weight").add_(1)
        assert give_module(network) == before

    def test_each_is_trained_as_it_is(self) -> None:
        losses = [
            ecofed.run(model=Scaled(residual=flag), method="classic-fl", **SMALL).rounds[-1].train_loss
            for flag in (False, True)
        ]
        assert losses[0] != losses[1]


class TestDropout:
    @pytest.mark.ci
    @pytest.mark.parametrize("method", ["classic-fl", "vanilla-dpfl", "ecofed"])
    def test_the_same_seed_draws_the_same_and_a_stopped_run_goes_on_to_it(self, method: str, tmp_path: Path) -> None:
        settings = as_settings(None, Scaled(dropout=0.5), None, {**SMALL, "method": method})
        torch.manual_seed(1)
        whole = run(settings, report=False)
        torch.manual_seed(2)
        before = torch.get_rng_state()
        with pytest.raises(KeyboardInterrupt):
            run(settings, out=tmp_path, observer=StopAfter(2), report=False)
        again = run(settings, out=tmp_path, resume=True, report=False)
        assert [record.train_loss for record in again.rounds] == [record.train_loss for record in whole.rounds]
        assert torch.equal(torch.get_rng_state(), before)

    def test_it_does_drop_and_another_seed_drops_others(self) -> None:
        losses = [
            run(
                as_settings(None, Scaled(dropout=dropout), None, {**SMALL, "method": "classic-fl", "seed": seed}),
                report=False,
            )
            .rounds[0]
            .train_loss
            for dropout, seed in ((0.0, 0), (0.5, 0), (0.5, 1))
        ]
        assert len({*losses}) == 3
