"""Images keep their numbers, whatever comes to a device's folder."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from ecofed.devices.lasting_numbers import lasting_order
from ecofed.errors import ConfigError
from ecofed.files.ownership import owned


def pictures(*shades: int) -> np.ndarray:
    return np.stack([np.full((4, 4, 1), shade, np.uint8) for shade in shades])


def test_new_images_come_last_wherever_they_are(tmp_path: Path) -> None:
    file = tmp_path / "device" / "numbers"
    assert lasting_order(file, pictures(5, 7, 7)).tolist() == [0, 1, 2]
    written = file.read_bytes()
    assert lasting_order(file, pictures(7, 5, 7)).tolist() == [1, 0, 2]
    assert file.read_bytes() == written
    later = pictures(1, 7, 9, 5, 7, 7)
    order = lasting_order(file, later)
    assert later[order][:, 0, 0, 0].tolist() == [5, 7, 7, 1, 9, 7]
    assert lasting_order(file, later[::-1])[:3].tolist() == [2, 0, 1]
    assert lasting_order(file, np.concatenate([pictures(3), later])).tolist() == [*(order + 1), 0]


def test_an_image_that_is_gone_is_said(tmp_path: Path) -> None:
    lasting_order(tmp_path / "numbers", pictures(5, 7))
    with pytest.raises(ConfigError, match=r"numbers: image number 1 of this device is not there any more"):
        lasting_order(tmp_path / "numbers", pictures(5, 6))


def test_of_two_processes_one_waits_for_the_other(tmp_path: Path) -> None:
    file = tmp_path / "numbers"
    started = threading.Event()
    orders: list[list[int]] = []

    def second() -> None:
        started.set()
        orders.append(lasting_order(file, pictures(7, 5)).tolist())

    other = threading.Thread(target=second)
    with owned(tmp_path, ".numbers.owner"):
        other.start()
        started.wait()
        other.join(0.1)
        assert other.is_alive()
        lasting_order(tmp_path / "elsewhere", pictures(5))
        file.write_bytes((tmp_path / "elsewhere").read_bytes())
    other.join()
    assert orders == [[1, 0]]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["elsewhere", "numbers"]
