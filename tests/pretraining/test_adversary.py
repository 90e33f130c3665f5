"""A bottleneck that is trained against a decoder: the decoder learns, and the front learns the opposite."""

from __future__ import annotations

import sys

import pytest
import torch

from ecofed.cli import main
from ecofed.config.problem import ModelConfig
from ecofed.errors import ConfigError
from ecofed.pretraining import Recipe, load_images, pretrain_front
from ecofed.pretraining.adversary import Adversary, adversaries_in

CONFIG = ModelConfig(name="lenet", width=0.25)


def pictures_and_codes() -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    pictures = torch.rand(8, 3, 16, 16, generator=draws)
    return pictures, torch.nn.functional.avg_pool2d(pictures, 4).requires_grad_()


def test_the_front_is_told_the_opposite_of_the_decoder() -> None:
    pictures, codes = pictures_and_codes()
    adversary = Adversary(3, 4, 3, weight=2.0)
    assert adversary(codes) is codes
    found = adversary.loss(pictures)
    found.backward()
    decoder = adversary.decoder
    error = torch.nn.functional.mse_loss(torch.pixel_shuffle(decoder(codes), 4), pictures) / pictures.var()
    (towards,) = torch.autograd.grad(error, codes)
    assert float(found.detach()) == pytest.approx(float(error.detach()))
    assert codes.grad is not None
    torch.testing.assert_close(codes.grad, -2.0 * towards)


def test_the_decoder_learns_to_make_pictures() -> None:
    pictures, codes = pictures_and_codes()
    adversary = Adversary(3, 4, 3, weight=1.0)
    optimiser = torch.optim.Adam(adversary.parameters(), 1e-2)
    errors = []
    for _ in range(30):
        adversary(codes.detach())
        loss = adversary.loss(pictures)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(float(loss.detach()))
    assert errors[-1] < 0.8 * errors[0]


@pytest.mark.ci
def test_a_front_made_against_one_says_so_and_does_not_keep_it() -> None:
    images = load_images("fractals", channels=3, limit=64)
    plain = pretrain_front(CONFIG, images, Recipe(epochs=1), narrow=4, bits=2)
    against = pretrain_front(CONFIG, images, Recipe(epochs=1, adversary=3.0), narrow=4, bits=2)
    assert against.card["adversary"] == 3.0
    assert "adversary" not in plain.card
    assert against.weights.keys() == plain.weights.keys()
    assert against.id != plain.id
    with pytest.raises(ConfigError, match="needs a bottleneck"):
        pretrain_front(CONFIG, images, Recipe(epochs=1, adversary=3.0))


def test_no_network_has_one_unasked() -> None:
    assert adversaries_in(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1))) == []


def test_the_command_wants_a_bottleneck(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["ecofed", "pretrain", "--adversary", "2"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "--adversary: what it trains against is a bottleneck" in capsys.readouterr().err
