"""Tables that only grow: what a checkpoint says of one names what was there, whatever was written after it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecofed.activations import UploadHistory, Uploads
from ecofed.files.growing import GrowingTable


def table(path: Path | None, *rows: tuple[int, int]) -> GrowingTable:
    made = GrowingTable(2, path)
    for row in rows:
        made.add(*row)
    return made


@pytest.mark.parametrize("in_a_file", [True, False])
def test_it_comes_back_as_the_checkpoint_knew_it(in_a_file: bool, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "table" if in_a_file else None
    first = table(path, (1, -2), (3, 1 << 40))
    saved = first.save()
    first.add(5, 6)
    later = first.save()
    again = GrowingTable(2, path)
    again.load(saved)
    assert list(again) == [[1, -2], [3, 1 << 40]]
    again.add(7, 8)
    again.save()
    assert list(again) == [[1, -2], [3, 1 << 40], [7, 8]]
    if path is not None:
        assert path.stat().st_size == 3 * 2 * 8
        with pytest.raises(ValueError, match="damaged"):
            GrowingTable(2, path).load(later)


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    made = table(tmp_path / "table", (1, 2))
    saved = made.save()
    (tmp_path / "table").unlink()
    np.testing.assert_array_equal(made.save(), saved)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("saved", [np.zeros(3, np.int64), np.zeros((2, 2), np.int64), np.zeros(2, np.float64)])
def test_what_is_no_such_state_is_refused(saved: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a table of 2 columns is"):
        GrowingTable(2, tmp_path / "table").load(saved)


def test_a_history_says_what_each_device_uploaded_and_when(tmp_path: Path) -> None:
    before = {4: Uploads(views=1, bytes=100, rounds=(2,))}
    history = UploadHistory(tmp_path, before)
    history.add(4, 3, 50, 7)
    history.add(1, 3, 20, 5)
    history.add(1, 6, 21, 5)
    again = UploadHistory(tmp_path, before)
    again.load_state(history.state())
    for one in (history, again):
        assert one.of(4) == Uploads(views=2, bytes=150, rounds=(2, 3))
        assert one.of(1) == Uploads(views=2, bytes=41, rounds=(3, 6))
        assert one.of(0) == Uploads()
        assert one.samples == {4: 7, 1: 5}
