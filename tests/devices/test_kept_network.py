"""The network that a device keeps for predictions there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecofed.devices.kept_network import KeptNetwork
from ecofed.errors import DeviceError
from ecofed.wire import InstallNetwork


def test_it_replaces_the_one_before_and_follows_no_link(tmp_path: Path) -> None:
    mine = tmp_path / "diary"
    mine.write_text("dear diary")
    for name in (".network.onnx", "network.onnx"):
        (tmp_path / name).symlink_to(mine)
    KeptNetwork(tmp_path / "network.onnx").install(InstallNetwork(round=1, network=b"weights"))
    assert (tmp_path / "network.onnx").read_bytes() == b"weights"
    assert mine.read_text() == "dear diary"


def test_the_server_is_told_why_and_not_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError) as caught:
        KeptNetwork(tmp_path / "file" / "network.onnx").install(InstallNetwork(round=1, network=b"weights"))
    assert str(caught.value).startswith("network.onnx: cannot be written (")
    assert str(tmp_path) not in str(caught.value)
