"""Feature-space augmentation: what each change does, and that draws are independent of each other's switches."""

from __future__ import annotations

import numpy as np
import pytest

from ecofed.activations.augmentation import FeatureAugmentation, shifted

H_BCHW = np.arange(1, 1 + 40 * 2 * 6 * 6, dtype=np.float32).reshape(40, 2, 6, 6)


def augmented(**settings: float) -> np.ndarray:
    return FeatureAugmentation(**settings)(H_BCHW, np.random.default_rng(0))


def test_nothing_switched_on_changes_nothing() -> None:
    assert augmented() is H_BCHW


def test_the_input_is_left_as_it_is() -> None:
    before = H_BCHW.copy()
    augmented(flip=1, shift=1, cutout=1)
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
