"""Feature-space augmentation: what each change does, and that draws are independent of each other's switches."""

from __future__ import annotations

import numpy as np
import pytest

from ecofed.activations import augmentation
from ecofed.activations.augmentation import FeatureAugmentation, enlarged, shifted
from ecofed.data import transforms

H_BCHW = np.arange(1, 1 + 40 * 2 * 6 * 6, dtype=np.float32).reshape(40, 2, 6, 6)


def augmented(**settings: float) -> np.ndarray:
    return FeatureAugmentation(**settings)(H_BCHW, np.random.default_rng(0))


def test_nothing_switched_on_changes_nothing() -> None:
    assert augmented() is H_BCHW


def test_the_input_is_left_as_it_is() -> None:
    before = H_BCHW.copy()
    augmented(flip=1, shift=1, cutout=1, crop=1)
    assert np.array_equal(H_BCHW, before)


def test_a_flip_mirrors_every_channel() -> None:
    assert np.array_equal(augmented(flip=1), H_BCHW[:, :, :, ::-1])


@pytest.mark.parametrize(("down", "right"), [(1, 0), (-1, 0), (0, 1), (0, -1), (1, -1), (-2, 3)])
def test_a_shift_moves_and_fills_with_zeros(down: int, right: int) -> None:
    moved = shifted(H_BCHW, down, right)
    back = shifted(moved, -down, -right)
    inside = (
        slice(None),
        slice(None),
        slice(max(-down, 0), 6 - max(down, 0)),
        slice(max(-right, 0), 6 - max(right, 0)),
    )
    assert np.array_equal(back[inside], H_BCHW[inside])
    assert np.count_nonzero(moved) == 40 * 2 * (6 - abs(down)) * (6 - abs(right))


def test_every_shift_of_one_entry_occurs_and_never_none() -> None:
    kept = {int(np.count_nonzero(sample)) for sample in augmented(shift=1)}
    assert kept == {2 * 6 * 5, 2 * 5 * 5}


def test_a_cut_out_is_a_square_in_all_channels() -> None:
    for sample in augmented(cutout=1):
        assert np.array_equal(sample[0] == 0, sample[1] == 0)
        rows, columns = np.nonzero(sample[0] == 0)
        assert len(rows) == 4
        assert np.ptp(rows) == np.ptp(columns) == 1


def test_a_probability_is_a_share_of_the_samples_and_other_switches_leave_the_draw_alone() -> None:
    alone = (augmented(flip=0.5) != H_BCHW).any(axis=(1, 2, 3))
    assert 10 < alone.sum() < 30
    together = augmented(flip=0.5, cutout=1)
    mirrored = (together[:, 0, :, 0] > together[:, 0, :, -1]) & (together[:, 0, :, -1] != 0)
    assert not (mirrored.any(axis=1) & ~alone).any()


def test_a_part_is_enlarged_as_pictures_are() -> None:
    """Of a ramp, which linear interpolation keeps a ramp: it has the values of where the part lies."""
    size = 16
    middles = (np.arange(size) + 0.5) / size
    ramp_HW = middles[:, None] * 2 + middles
    h_BCHW = np.broadcast_to(ramp_HW, (2, 3, size, size)).astype(np.float32)
    top_B, left_B, height_B, width_B = np.array([[0.25, 0], [0.125, 0], [0.5, 1], [0.625, 1]])
    got_BCHW = enlarged(h_BCHW, top_B, left_B, height_B, width_B)
    expected_HW = (0.25 + middles[:, None] * 0.5) * 2 + (0.125 + middles * 0.625)
    assert np.allclose(got_BCHW[0], expected_HW, atol=1e-5)
    assert np.array_equal(got_BCHW[1], h_BCHW[1])  # the whole is itself


def test_random_parts_are_those_of_photographs_and_lie_inside() -> None:
    assert augmentation.CROP_AREA == transforms.CROP_AREA
    assert augmentation.CROP_RATIO == transforms.CROP_RATIO
    top_B, left_B, height_B, width_B = augmentation._parts(np.random.default_rng(0).random((4, 2000)))
    assert np.all((top_B >= 0) & (left_B >= 0) & (top_B + height_B <= 1) & (left_B + width_B <= 1))
    area_B = height_B * width_B
    assert 0.3 < area_B.min() < 0.37
    assert 0.63 < area_B.mean() < 0.69


def test_a_crop_mixes_entries_and_leaves_the_other_draws_alone() -> None:
    cropped = augmented(crop=1)
    assert cropped.shape == H_BCHW.shape
    assert cropped.dtype == np.float32
    assert np.all(cropped.max(axis=(2, 3)) <= H_BCHW.max(axis=(2, 3)))
    assert len({sample.tobytes() for sample in cropped - H_BCHW}) > 35  # another part each
    some = (augmented(crop=0.5) != H_BCHW).any(axis=(1, 2, 3))
    assert 10 < some.sum() < 30
    flipped = (augmented(flip=0.5) != H_BCHW).any(axis=(1, 2, 3))
    both = augmented(flip=0.5, crop=0.5)
    assert np.array_equal(both[flipped & ~some], H_BCHW[flipped & ~some][:, :, :, ::-1])
    assert np.array_equal(both[~flipped & ~some], H_BCHW[~flipped & ~some])
