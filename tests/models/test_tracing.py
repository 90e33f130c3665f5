"""Networks are cut in one thread while others are trained in another."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from ecofed.models import partition


class Met(nn.Module):
    """Tells when it is reached, and waits until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        self.reached.set()
        assert self.go_on.wait(10)
        return x_NCHW * self.scale


class Wrapped(nn.Module):
    """A layer with a layer, so that it is traced into."""

    def __init__(self) -> None:
        super().__init__()
        self.met, self.conv = Met(), nn.Conv2d(3, 3, 1)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.conv(self.met.forward(x_NCHW))
        return output


def test_a_network_is_run_while_another_thread_traces() -> None:
    traced = nn.Sequential(Wrapped(), nn.Conv2d(3, 2, 1))
    met = traced[0].met
    assert isinstance(met, Met)
    other = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU())
    x_NCHW = torch.rand(2, 3, 4, 4)
    expected = other(x_NCHW)
    with ThreadPoolExecutor(2) as pool:
        cutting = pool.submit(partition, traced, "0", checked=False)
        assert met.reached.wait(10)
        second = pool.submit(partition, nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)), "0")
        try:
            assert torch.equal(other(x_NCHW), expected)
            assert other[0].weight.shape == (3, 3, 1, 1)
            assert not second.done()  # one at a time
        finally:
            met.go_on.set()
        halves, others = cutting.result(10), second.result(10)
    assert torch.equal(halves.back(halves.front(x_NCHW)), traced(x_NCHW))
    assert [name for name, _ in others.back.named_parameters()] == ["1.weight", "1.bias"]
    assert torch.equal(other(x_NCHW), expected)
