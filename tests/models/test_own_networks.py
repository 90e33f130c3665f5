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
from ecofed.config.schema import Config
from ecofed.errors import ModelError
from ecofed.models import build_model, initialise
from ecofed.models.given import give_module
from ecofed.models.own_networks import check_front
from ecofed.models.partition import partition
from ecofed.planning.counting import CountedNetwork
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


class Shuffled(nn.Module):
    """Puts channels in the order of a table of indices."""

    def __init__(self, *, front: int = 4) -> None:
        super().__init__()
        self.register_buffer("order", torch.arange(front).flip(0))
        self.first = nn.Sequential(nn.Conv2d(1, front, 3, stride=4, padding=1), nn.ReLU())
        self.last = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(front, 10))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(self.first(x)[:, self.order])
        return output


class TestLayers:
    @pytest.mark.ci
    @pytest.mark.parametrize("method", ["ecofed", "classic-fl"])
    def test_a_table_of_indices_stays_as_it_is_and_the_run_can_be_used(self, method: str, tmp_path: Path) -> None:
        network = Shuffled()
        # Without entropy coding, whose bytes a plan knows nearly, all of them are foreseen.
        changes = {**SMALL, "rounds": 1, "ecofed__ema": 0.9, "codec__entropy": "none"}
        silent: dict[str, Any] = {"report": False, "observer": ecofed.SilentObserver()}
        result = ecofed.run(model=network, out=tmp_path / "run", method=method, **silent, **changes)
        planned = ecofed.plan(methods=[method], model=network, **changes).at_cut[0]
        totals = result.totals
        assert (planned.total_uplink_bytes, planned.total_downlink_bytes) == (
            totals.uplink_bytes,
            totals.downlink_bytes,
        )
        trained = ecofed.load_model(tmp_path / "run", network=network)
        both = {**dict(trained.front.named_buffers()), **dict(trained.back.named_buffers())}
        assert both["order"].tolist() == [3, 2, 1, 0]

    def test_while_costs_are_counted_a_table_of_indices_is_within_bounds(self) -> None:
        rubbish = [torch.full((4,), 7**20) for _ in range(500)]
        del rubbish
        assert CountedNetwork(Shuffled(), 1).output_shape == (2, 10)

    @pytest.mark.parametrize(
        ("layers", "told"),
        [
            ([nn.Flatten(), nn.Linear(256, 9), nn.BatchNorm1d(9)], "the BatchNorm1d '4' keeps statistics"),
            ([nn.BatchNorm2d(4, affine=False), nn.Flatten(), nn.Linear(256, 9)], "the BatchNorm2d '2' keeps"),
            ([nn.Flatten(), nn.Linear(256, 9).requires_grad_(False)], r"'3\.bias' is not to be trained"),
        ],
    )
    def test_what_cannot_be_trained_or_kept_is_refused(self, layers: list[nn.Module], told: str) -> None:
        network = nn.Sequential(nn.Conv2d(1, 4, 3, 4, 1), nn.ReLU(), *layers, nn.Linear(9, 10))
        with pytest.raises(ModelError, match=told):
            built(give_module(network))

    def test_constants_and_normalisation_need_no_gradient(self) -> None:
        network = Scaled()
        network.gain.requires_grad_(False)
        assert built(give_module(network)).get_parameter("gain").item() == 1
        layers = (nn.Conv2d(1, 4, 3, 4, 1), nn.BatchNorm2d(4).requires_grad_(False), nn.Flatten(), nn.Linear(256, 10))
        assert isinstance(built(give_module(nn.Sequential(*layers))), nn.Sequential)

    def test_a_front_that_depends_on_the_classes_is_refused(self, plugin: str) -> None:
        @ecofed.register_network("by-classes", cut="first")
        def by_classes(in_channels: int, classes: int, width: float, head_width: int | None) -> nn.Module:  # noqa: ARG001
            return Shuffled(front=classes)

        config = Config().replace(model__name="by-classes", model__width=1.0)
        front = partition(Shuffled(front=10), "first").front
        with pytest.raises(ModelError, match=r"'first\.0\.weight', which comes before the cut, has shape"):
            check_front(front, config, in_channels=1, classes=10)
        check_front(front, config.replace(model__name="vgg11"), in_channels=1, classes=10)
        check_front(partition(Scaled(), "first").front, config.replace(model__name=plugin), in_channels=1, classes=10)


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
