"""Devices in processes of their own: the same bytes and the same numbers, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from small import outcome, prepared_for, small_config

from ecofed.config import MAX_PROCESSES, METHODS, Config
from ecofed.errors import ConfigError, DeviceError
from ecofed.experiment import run
from ecofed.runtimes import ProcessesTransport
from ecofed.wire import Failure, Refresh, decode, encode

QUICK = ("ecofed",)  # the others are in test_sockets.py, with devices in threads


def children_of(process: int) -> list[int]:
    """Process ids, from the process table; zombies are children too."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text()
            except OSError:
                continue  # it ended meanwhile
            if int(status.rpartition(")")[2].split()[1]) == process:
                found.append(int(entry.name))
    return found


def gone(process: int, seconds: float = 20.0) -> bool:
    """Whether a process ends in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not Path(f"/proc/{process}").exists():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("method", [m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in METHODS])
def test_both_runtimes_give_the_same_result(method: str, pictures: Path, tmp_path: Path) -> None:
    config = small_config(pictures, method)
    here = run(config, out=tmp_path / "here", report=False)
    apart = run(config.replace(runtime="processes"), out=tmp_path / "apart", report=False)
    assert outcome(apart) == outcome(here)
    assert apart.retransmitted_bytes == {"uplink": 0, "downlink": 0}
    assert not any(record.notes for record in apart.rounds)
    expected = load_file(tmp_path / "here" / "model.safetensors")
    arrays = load_file(tmp_path / "apart" / "model.safetensors")
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    assert children_of(os.getpid()) == []


def ask(transport: ProcessesTransport, device: int) -> str:
    """A refresh without a front: every worker refuses it, so every worker that is there answers."""
    request = encode(Refresh(round=1, view=0, front_id="none", want_labels=False)).data
    answer = transport.exchange(device, [request], time.monotonic() + 60)
    assert answer.lost is None, answer.lost
    message, _ = decode(answer.replies[0])
    assert isinstance(message, Failure)
    return message.reason


def test_devices_end_with_the_transport_and_when_the_server_dies(pictures: Path) -> None:
    task = prepared_for(small_config(pictures, runtime="processes")).task
    transport = ProcessesTransport(task)
    assert "no front" in ask(transport, 0)
    (host,) = children_of(os.getpid())
    devices = children_of(host)
    assert len(devices) == 1  # started when needed
    transport.close()
    transport.close()
    assert children_of(os.getpid()) == []
    assert all(gone(device) for device in devices)


SERVER = """
import sys, time
from ecofed.config import Config
from ecofed.runtimes import ProcessesTransport
from ecofed.task import Task
sys.path.insert(0, sys.argv[1])
from test_processes import ask
transport = ProcessesTransport(Task.from_json(sys.stdin.read()))
ask(transport, 0), ask(transport, 1)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_no_orphans_however_the_server_ends(end: signal.Signals, pictures: Path) -> None:
    task = prepared_for(small_config(pictures, runtime="processes")).task
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(Path(__file__).parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(task.to_json())
        server.stdin.close()
        assert server.stdout.readline() == "ready\n"
        (host,) = children_of(server.pid)
        devices = children_of(host)
        assert len(devices) == 2
        os.kill(devices[0], signal.SIGSTOP)  # a device that is frozen is ended too
        server.send_signal(end)
        server.wait(30)
    assert gone(host)
    assert all(gone(device) for device in devices)


def test_too_many_processes_are_refused_at_once(pictures: Path) -> None:
    with pytest.raises(ConfigError, match=r"devices = 65: .*at most 64.*runtime=in-process"):
        small_config(pictures, devices=MAX_PROCESSES + 1, runtime="processes")
    assert isinstance(small_config(pictures, devices=MAX_PROCESSES + 1), Config)


def test_a_device_without_its_data_says_so(pictures: Path, tmp_path: Path) -> None:
    config = small_config(pictures, runtime="processes")
    prepared = prepared_for(config)
    moved = prepared.task.config.replace(data__name=str(tmp_path / "elsewhere"))
    object.__setattr__(prepared.task, "config", moved)
    transport = ProcessesTransport(prepared.task)
    try:
        assert "elsewhere" in ask(transport, 2)
    finally:
        transport.close()


def test_a_run_whose_devices_all_refuse_stops_with_their_reason(pictures: Path) -> None:
    config = small_config(pictures, "classic-fl", learning_rate=1e12, rounds=4)
    with pytest.raises(DeviceError, match=r"device \d: .*lower learning_rate"):
        run(config)
