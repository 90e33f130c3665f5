"""Training on a GPU gives what training on a processor gives, up to rounding. Runs where PyTorch sees one."""

from __future__ import annotations

import pytest
import torch
from tiny import run, tiny_config

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device")


@pytest.mark.parametrize("method", ["classic-fl", "vanilla-dpfl", "lgl", "fedgkt", "ecofed", "send-images"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.05)])
def test_losses_are_those_of_the_processor(method: str, precision: str, tolerance: float) -> None:
    config = tiny_config(method, precision=precision, rounds=2)
    expected, found = (run(config.replace(accelerator=place), report=False) for place in ("cpu", "cuda"))
    assert found.ledger.keys() == expected.ledger.keys()
    for one, other in zip(found.rounds, expected.rounds, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=tolerance)
        assert one.test_loss == pytest.approx(other.test_loss, rel=tolerance)


def test_auto_takes_the_gpu() -> None:
    result = run(tiny_config("ecofed", accelerator="auto", rounds=1), report=False)
    assert result.environment["accelerator"] == "cuda"
