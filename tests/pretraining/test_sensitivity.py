"""What the rest of a network reacts to, and codes that spend their bits there."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from torch import nn

from ecofed.config.problem import ModelConfig
from ecofed.models import partition
from ecofed.pretraining.cut_statistics import measured, shipped_statistics
from ecofed.pretraining.principal import add_transform_bottleneck
from ecofed.pretraining.sensitivity import sensitivity

RNG = np.random.default_rng(3)
MIXED_CC = RNG.normal(size=(5, 5))
H_NCHW = np.einsum("nchw,dc->ndhw", RNG.normal(size=(80, 5, 4, 4)), MIXED_CC).astype(np.float32)


def back_that_sees(weight_FC: np.ndarray) -> nn.Module:
    """Pooled features that are a linear map of the channels, and a classifier, which plays no role."""
    see = nn.Conv2d(5, len(weight_FC), 1, bias=False)
    with torch.no_grad():
        see.weight.copy_(torch.from_numpy(weight_FC.astype(np.float32))[:, :, None, None])
    return nn.Sequential(see, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(len(weight_FC), 3)).eval()


def test_the_metric_of_a_linear_map_is_its_own() -> None:
    weight_FC = RNG.normal(size=(4, 5))
    metric_CC = sensitivity(back_that_sees(weight_FC), H_NCHW.repeat(6, axis=0))
    own_CC = weight_FC.T @ weight_FC
    np.testing.assert_allclose(metric_CC, own_CC * (5 / np.trace(own_CC)), atol=0.35)
    assert abs(np.trace(metric_CC) - 5) < 1e-9


def test_a_back_that_sees_nothing_treats_all_alike() -> None:
    np.testing.assert_array_equal(sensitivity(back_that_sees(np.zeros((2, 5))), H_NCHW), np.eye(5))


def test_weighted_components_lead_back_and_are_told_apart_by_the_metric() -> None:
    metric_CC = sensitivity(back_that_sees(RNG.normal(size=(5, 5))), H_NCHW)
    found = measured(H_NCHW, "noise", metric_CC)
    encode_KC, decode_CK, variance_K = found.weighted_components()
    np.testing.assert_allclose(decode_CK @ encode_KC, np.eye(5), atol=1e-9)
    values_VC = H_NCHW.transpose(0, 2, 3, 1).reshape(-1, 5).astype(np.float64)
    np.testing.assert_allclose((values_VC @ encode_KC.T).var(axis=0, ddof=1), variance_K, rtol=1e-6)
    assert (np.diff(variance_K) <= 0).all()
    plain = measured(H_NCHW, "noise")
    np.testing.assert_array_equal(plain.weighted_components()[0], plain.components()[0])


@torch.no_grad()
def test_as_many_bytes_lose_less_of_what_the_back_sees() -> None:
    back = back_that_sees(RNG.normal(size=(5, 5)) * np.array([[5.0], [1.0], [0.2], [0.1], [0.1]]))
    with torch.enable_grad():
        metric_CC = sensitivity(back, H_NCHW)
    lost = {}
    for name, statistics in (("alike", measured(H_NCHW, "x")), ("weighted", measured(H_NCHW, "x", metric_CC))):
        model = nn.Sequential(OrderedDict(one=nn.Identity(), head=nn.Conv2d(5, 2, 1)))
        front = partition(model, "one", checked=False).front
        front.register_parameter("anything", nn.Parameter(torch.zeros(1)))
        expansion = add_transform_bottleneck(front, statistics, statistics.step_for(20, 16))
        levels = torch.round(front.eval()(torch.from_numpy(H_NCHW)) * 255) / 255
        seen = [back[0](x) for x in (expansion(levels), torch.from_numpy(H_NCHW))]
        lost[name] = float((seen[0] - seen[1]).square().mean())
    assert lost["weighted"] < 0.6 * lost["alike"]


def test_the_shipped_statistics_have_a_metric() -> None:
    found = shipped_statistics(ModelConfig(name="efficientnet-lite0").name, "block6", 3)
    assert found is not None
    assert found.metric_CC is not None
    value_C = np.linalg.eigvalsh(found.metric_CC)
    assert found.metric_CC.shape == (80, 80)
    assert abs(value_C.sum() - 80) < 1e-6
    assert 5 < value_C[-1] / np.median(value_C) < 50
