"""Who is not let in: a real SuperLink on loopback, and SuperNodes that should not be part of it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from ecofed.fleet.certificates import make_certificates, make_device_key
from ecofed.fleet.machine import Fleet

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 90


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet"), devices=1) as running:
        running.register(running.certificates / "device-0.pub")
        yield running


def log(fleet: Fleet, device: int) -> str:
    return (fleet.folder / "logs" / f"device-{device}.log").read_text(errors="replace")


def is_let_in(fleet: Fleet, device: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the SuperNode gives up (no) or says which number it was given (yes)."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if "SuperNode ID" in log(fleet, device):
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.5)
    return False


def test_a_registered_device_is_let_in(fleet: Fleet) -> None:
    assert is_let_in(fleet, 0, fleet.add_device(0)), log(fleet, 0)


def test_an_unregistered_device_is_refused(fleet: Fleet) -> None:
    key = fleet.folder / "stranger.key"
    make_device_key(key)
    process = fleet.add_device(1, key=key)
    assert not is_let_in(fleet, 1, process)
    assert process.poll(), log(fleet, 1)


def test_a_plain_text_client_is_refused(fleet: Fleet) -> None:
    process = fleet.add_device(2, key=fleet.certificates / "device-0.key", insecure=True)
    assert not is_let_in(fleet, 2, process)


def test_a_device_that_trusts_another_authority_refuses_the_server(fleet: Fleet) -> None:
    make_certificates(fleet.folder / "other", ["localhost"], devices=0)
    process = fleet.add_device(3, key=fleet.certificates / "device-0.key", ca=fleet.folder / "other" / "ca.crt")
    assert not is_let_in(fleet, 3, process)
