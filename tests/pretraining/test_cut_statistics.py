"""What a cut is like, and bottlenecks made of it."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ecofed.activations.codecs import make_codec
from ecofed.activations.entropy.position_coder import expected_bytes
from ecofed.config.problem import ModelConfig
from ecofed.errors import ModelError
from ecofed.models import partition
from ecofed.pretraining.cut_statistics import (
    CutStatistics,
    load_statistics,
    measured,
    save_statistics,
    shipped_statistics,
)
from ecofed.pretraining.principal import add_transform_bottleneck
from ecofed.pretraining.published import Code, published_front

H_NCHW = (np.random.default_rng(0).normal(size=(40, 6, 1, 1)) + np.random.default_rng(1).normal(size=(40, 6, 4, 4))) @ (
    np.eye(4)
)


def test_means_covariances_and_what_steps_cost() -> None:
    found = measured(H_NCHW, "noise")
    values_VC = H_NCHW.transpose(0, 2, 3, 1).reshape(-1, 6)
    np.testing.assert_allclose(found.mean_C, values_VC.mean(axis=0))
    np.testing.assert_allclose(found.covariance_CC, np.cov(values_VC.T))
    directions_KC, variance_K = found.components()
    np.testing.assert_allclose((values_VC @ directions_KC.T).var(axis=0, ddof=1), variance_K)
    assert (np.diff(variance_K) <= 0).all()
    assert (np.diff(found.bytes_S) < 0).all()
    assert found.step_for(16, 16) < found.step_for(8, 16)


@torch.no_grad()
def test_a_bottleneck_of_steps_takes_about_the_bytes_that_are_asked_for() -> None:
    model = nn.Sequential(OrderedDict(one=nn.Identity(), head=nn.Conv2d(6, 2, 1)))
    front = partition(model, "one", checked=False).front
    front.register_parameter("anything", nn.Parameter(torch.zeros(1)))
    statistics = measured(H_NCHW, "noise")
    step = statistics.step_for(24, 16)
    expansion = add_transform_bottleneck(front, statistics, step)
    y_NKHW = front.eval()(torch.from_numpy(H_NCHW.astype(np.float32))).numpy()
    codec = make_codec("dct", 8, y_NKHW.shape[1:], np.ones(y_NKHW.shape[1], np.float32))
    rows = codec.encode(y_NKHW, 1).rows
    assert expected_bytes(codec.symbols(rows)) / 40 == pytest.approx(24, rel=0.05)
    back_NCHW = expansion(torch.from_numpy(codec.decode(rows))).numpy()
    deviation = np.sqrt(np.square(back_NCHW - H_NCHW).mean())
    assert 0.2 * step < deviation < 0.5 * step


def test_they_come_back_from_a_file(tmp_path: Path) -> None:
    found = measured(H_NCHW, "noise")
    save_statistics(tmp_path / "x.statistics", found)
    again = load_statistics(tmp_path / "x.statistics")
    for name, value in vars(found).items():
        np.testing.assert_array_equal(getattr(again, name), value)


@pytest.mark.parametrize("damage", ["cut", "flip", "shape", "nan"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    place, found = tmp_path / "x.statistics", measured(H_NCHW, "noise")
    if damage == "shape":
        found = CutStatistics(found.mean_C[:2], found.covariance_CC, found.step_S, found.bytes_S, "noise")
    if damage == "nan":
        found = CutStatistics(found.mean_C * np.nan, found.covariance_CC, found.step_S, found.bytes_S, "noise")
    save_statistics(place, found)
    content = bytearray(place.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
    place.write_bytes(content[:-8] if damage == "cut" else content)
    with pytest.raises(ModelError, match="not the statistics of a cut"):
        load_statistics(place)


def test_those_of_photographs_are_for_coloured_pictures_of_any_size() -> None:
    found = shipped_statistics("efficientnet-lite0", "block6", 3)
    assert found is not None
    assert "1,500 photographs" in found.images
    assert found.covariance_CC.shape == (80, 80)
    assert 10 < found.step_for(320, 64) < 16
    for other in (("efficientnet-lite0", "block6", 1), ("efficientnet-lite0", "block5", 3), ("vgg11", "block2", 3)):
        assert shipped_statistics(*other) is None
    for side in (32, 128):
        code = Code(60, 8, transformed=True)
        made = published_front(ModelConfig(name="efficientnet-lite0"), "block6", 3, input_size=side, code=code)
        assert made.card["images"] == f"limits from {found.images}"
