"""The measures of likeness, against what they must be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ecofed.auditing.eye import the_eye
from ecofed.auditing.likeness import psnr, ssim
from ecofed.auditing.recognising import nearest_is_own, reidentified

PICTURES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def slow_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Straight from the paper, in float64, window by window; x and y (H, W)."""
    at = np.arange(11) - 5
    weight = np.exp(-(at**2) / (2 * 1.5**2))
    window = np.outer(weight, weight) / np.outer(weight, weight).sum()
    values = []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = x[top : top + 11, left : left + 11], y[top : top + 11, left : left + 11]
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            both = (window * (a - mean_a) * (b - mean_b)).sum()
            light = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
            values.append(light * (2 * both + 9e-4) / (var_a + var_b + 9e-4))
    return float(np.mean(values))


def test_structural_similarity_is_that_of_the_paper() -> None:
    noise = torch.randn(PICTURES.shape, generator=torch.Generator().manual_seed(1))
    other = (PICTURES + 0.3 * noise).clamp(0, 1)
    for made, x, y in zip(ssim(PICTURES, other), PICTURES, other, strict=True):
        wanted = np.mean([slow_ssim(a.double().numpy(), b.double().numpy()) for a, b in zip(x, y, strict=True)])
        assert float(made) == pytest.approx(wanted, abs=1e-5)


def test_of_even_pictures_only_the_light_differs() -> None:
    dark, bright = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.8)
    assert float(ssim(dark, bright)) == pytest.approx((2 * 0.2 * 0.8 + 1e-4) / (0.2**2 + 0.8**2 + 1e-4), abs=1e-4)
    assert float(psnr(dark, dark + 0.1)) == pytest.approx(20, abs=1e-3)


def test_a_picture_is_most_like_itself() -> None:
    assert ssim(PICTURES, PICTURES) == pytest.approx(1, abs=1e-5)
    look = the_eye().look
    assert look(PICTURES).distance(look(PICTURES)).max() == 0
    near, far = (PICTURES + 0.02).clamp(0, 1), 1 - PICTURES
    assert (look(PICTURES).distance(look(near)) < look(PICTURES).distance(look(far))).all()


def test_grey_pictures_are_looked_at_as_colour() -> None:
    grey = PICTURES[:, :1]
    colour = grey.expand(-1, 3, -1, -1)
    assert torch.equal(the_eye().look(grey).features_NF, the_eye().look(colour).features_NF)


def test_only_the_nearest_own_picture_counts_and_a_tie_does_not() -> None:
    own = torch.eye(4)
    assert nearest_is_own(own + 0.01, own) == 1
    assert nearest_is_own(own[[1, 0, 2, 3]], own) == 0.5
    assert nearest_is_own(torch.zeros(4, 4), own) == 0
    swapped, look = PICTURES[[1, 2, 0]], the_eye().look
    assert reidentified(PICTURES, look(PICTURES), PICTURES, look(PICTURES)) == 1
    assert reidentified(swapped, look(swapped), PICTURES, look(PICTURES)) == 0
