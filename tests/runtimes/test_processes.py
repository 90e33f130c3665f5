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

from ecofed.config.methods import METHODS
from ecofed.config.schema import MAX_PROCESSES, Config
from ecofed.errors import ConfigError, DeviceError
from ecofed.methods import METHOD_CLASSES
from ecofed.runs.experiment import run
from ecofed.runtimes import ProcessesTransport, lifetime
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
    """Whether a process ends in time; one that nobody has waited for yet has ended, too."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("method", [m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in METHODS])
def test_both_runtimes_give_the_same_result(method: str, pictures: Path, tmp_path: Path) -> None:
    config, before = small_config(pictures, method), set(children_of(os.getpid()))
    here = run(config, out=tmp_path / "here", report=False)
    apart = run(config.replace(runtime="processes"), out=tmp_path / "apart", report=False)
    assert outcome(apart) == outcome(here)
    assert apart.retransmitted_bytes == {"uplink": 0, "downlink": 0}
    assert not any(record.notes for record in apart.rounds)
    if METHOD_CLASSES[method].has_network:
        expected = load_file(tmp_path / "here" / "model.safetensors")
        arrays = load_file(tmp_path / "apart" / "model.safetensors")
        assert arrays.keys() == expected.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)
    assert not set(children_of(os.getpid())) - before


def ask(transport: ProcessesTransport, device: int) -> str:
    """A refresh without a front: every worker refuses it, so every worker that is there answers."""
    request = encode(Refresh(round=1, view=0, front_id="none", want_labels=False)).data
    answer = transport.exchange(device, [request], time.monotonic() + 60)
    assert answer.lost is None, answer.lost
    message, _ = decode(answer.replies[0])
    assert isinstance(message, Failure)
    return message.reason


@pytest.mark.ci
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
from ecofed.config.schema import Config
from ecofed.runtimes import ProcessesTransport
from ecofed.config.task import Task
sys.path[:0] = sys.argv[1:]
from test_processes import ask
transport = ProcessesTransport(Task.from_json(sys.stdin.read()))
ask(transport, 0), ask(transport, 1)
print("ready", flush=True)
time.sleep(600)
"""


KILL, INTERRUPT, TERMINATE = signal.SIGKILL, signal.SIGINT, signal.SIGTERM


@pytest.mark.ci
@pytest.mark.parametrize(
    ("end", "stopped"),
    [
        (KILL, "everybody"),
        pytest.param(KILL, "host", marks=pytest.mark.slow),
        pytest.param(TERMINATE, "host", marks=pytest.mark.slow),
        *(pytest.param(end, "device", marks=pytest.mark.slow) for end in (KILL, TERMINATE, INTERRUPT)),
    ],
)
def test_no_orphans_however_the_server_ends(end: signal.Signals, stopped: str, pictures: Path) -> None:
    task = prepared_for(small_config(pictures, runtime="processes")).task
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, *(str(folder) for folder in Path(__file__).parents[:2])],
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
        frozen = {"device": devices[:1], "host": [host], "everybody": [host, *devices]}[stopped]
        for process in frozen:  # who is stopped cannot notice by itself, and is ended too
            os.kill(process, signal.SIGSTOP)
        server.send_signal(end)
        server.wait(30)
    assert gone(host)
    assert all(gone(device) for device in devices)


WITHOUT_THE_KERNEL = """
import os, select, signal, sys
from ecofed.runtimes import device_host
device_host._GRACE_SECONDS = 0.05
server_end, server = os.pipe()
host = os.fork()
if not host:
    os.close(server)
    life_end, life = os.pipe()
    if not os.fork():
        os.close(life)
        device_host._end_with(life_end, server_end)
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(0)
os.close(server_end)
_, status = os.waitpid(host, os.WUNTRACED)
assert os.WIFSTOPPED(status)
os.write(server, b"this is for the host")  # and does not look like the end
os.close(server)
_, status = os.waitpid(host, 0)
print(os.WTERMSIG(status))
"""


@pytest.mark.ci
def test_a_stopped_host_is_ended_by_its_devices_where_the_kernel_does_not() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_THE_KERNEL], capture_output=True, text=True, check=True)
    assert done.stdout == f"{int(signal.SIGKILL)}\n"


def test_a_process_whose_parent_is_gone_already_does_not_begin(tmp_path: Path) -> None:
    command = [sys.executable, "-I", lifetime.__file__, "1", sys.executable, "-c", "open('begun', 'w')"]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 1
    assert not (tmp_path / "begun").exists()
    command[3] = str(os.getpid())
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "begun").exists()


def test_too_many_processes_are_refused_at_once(pictures: Path) -> None:
    with pytest.raises(ConfigError, match=r"devices = 65: .*at most 64.*runtime=in-process"):
        small_config(pictures, devices=MAX_PROCESSES + 1, runtime="processes")
    assert isinstance(small_config(pictures, devices=MAX_PROCESSES + 1), Config)


@pytest.mark.ci
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
