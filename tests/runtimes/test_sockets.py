"""Devices behind sockets, in threads of this process: what goes wrong costs only who does it."""

from __future__ import annotations

import dataclasses
import errno
import secrets
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small import notes, outcome, prepared_for, small_config
from threaded import (
    Mishap,
    answer_late,
    answer_twice,
    break_off,
    die,
    die_in_mid_upload,
    hang_up,
    speak_out_of_turn,
    talk_nonsense,
    threaded,
)

from ecofed.config.methods import METHODS
from ecofed.config.schema import Config
from ecofed.errors import WireError
from ecofed.results import RunResult
from ecofed.runs.experiment import run
from ecofed.runtimes import ProcessesTransport, processes
from ecofed.runtimes.device_process import Device
from ecofed.runtimes.sockets import INCARNATION_BYTES, SILENCE_SECONDS, TOKEN_BYTES, Connection, Hello
from ecofed.wire import HEADER_BYTES, MAX_MESSAGE_BYTES, Failure, encode
from slowly import quick


@pytest.fixture(autouse=True)
def _brief_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "REJOIN_SECONDS", 20.0)
    # One at a time: in one process, devices share a network (classic-fl), and PyTorch's tracer.
    monkeypatch.setattr(processes, "WINDOW", 1)


def run_with(config: Config, scripts: dict[int, list[Mishap | None]]) -> RunResult:
    """A run with devices in threads that behave as their scripts say."""
    prepared = prepared_for(config)
    with threaded(prepared, scripts) as transport:
        return run(config, connect=lambda _: transport)


@cache
def undisturbed(pictures: Path, method: str) -> dict[str, Any]:
    """What the method comes to in process, without faults; all devices in every round."""
    return outcome(run(small_config(pictures, method, sampled_devices=4)))


@pytest.mark.parametrize("method", quick(METHODS, "ecofed", "lgl", "vanilla-dpfl"))
def test_faults_that_are_overcome_change_nothing(method: str, pictures: Path) -> None:
    scripts: dict[int, list[Mishap | None]] = {
        0: [break_off],
        1: [None, die_in_mid_upload, None, die],
        2: [None, hang_up, break_off],
        3: [die, die, None, break_off],
    }
    result = run_with(small_config(pictures, method, sampled_devices=4), scripts)
    assert outcome(result) == undisturbed(pictures, method)
    assert "asked again" in notes(result)
    assert "left out" not in notes(result)
    assert result.retransmitted_bytes["downlink"] > 0


@pytest.mark.parametrize("mishap", [answer_twice, speak_out_of_turn])
def test_answers_that_nobody_asked_for_are_not_taken_for_others(mishap: Mishap, pictures: Path) -> None:
    config = small_config(pictures, "lgl", sampled_devices=4)
    result = run_with(config, {2: [mishap]})
    assert outcome(result) == undisturbed(pictures, "lgl")


@pytest.mark.parametrize(
    "mishap",
    [pytest.param(answer_late(5.0), id="late", marks=pytest.mark.ci), pytest.param(talk_nonsense, id="nonsense")],
)
def test_a_device_that_fails_a_round_is_left_out_of_it_and_comes_back(mishap: Mishap, pictures: Path) -> None:
    config = small_config(pictures, "lgl", sampled_devices=4, quorum=0.75, deadline_seconds=4.0, rounds=4)
    result = run_with(config, {3: [mishap]})
    first, *_, last = result.rounds
    assert any("device 3: " in note and "left out of this round" in note for note in first.notes), first.notes
    assert first.train_loss is not None
    assert last.notes == []
    assert last.uplink_bytes > first.uplink_bytes


def test_below_the_quorum_nothing_is_trained_and_the_record_says_who_was_missing(pictures: Path) -> None:
    config = small_config(pictures, "lgl", sampled_devices=4, quorum=3, rounds=2)
    result = run_with(config, {1: [talk_nonsense], 3: [talk_nonsense]})
    first, second = result.rounds
    assert "round skipped, nothing was trained: 2 of 4 devices answered, 3 are needed" in first.notes
    assert [note.split(":")[0] for note in first.notes[:2]] == ["device 1", "device 3"]
    assert first.train_loss is None
    assert first.uplink_bytes > 0
    assert first.downlink_bytes == second.downlink_bytes
    assert second.notes == []
    assert sum(row["uplink"] for row in result.ledger.values()) == first.uplink_bytes + second.uplink_bytes


def test_a_device_that_is_never_there_is_missing_in_every_round(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "REJOIN_SECONDS", 0.3)
    config = small_config(pictures, sampled_devices=4, quorum=0.5)
    prepared = prepared_for(config)
    with threaded(prepared) as transport:
        transport._seats[2].close()
        result = run(config, connect=lambda _: transport)
    refreshed = [record for record in result.rounds if record.refreshed]
    assert refreshed
    assert all("device 2: not connected; left out of this round" in record.notes for record in refreshed)


def caller(transport: ProcessesTransport) -> socket.socket:
    place = (transport.installation.host, transport.installation.port)
    return socket.create_connection(place, timeout=10)


def refused(sock: socket.socket, data: bytes) -> bool:
    """Whether the server closes the connection instead of saying welcome."""
    with sock:
        sock.sendall(data)
        try:
            return sock.recv(16) == b""
        except ConnectionResetError:
            return True


def test_only_devices_with_the_runs_token_are_let_in(pictures: Path) -> None:
    config = small_config(pictures, "lgl", rounds=1)
    prepared = prepared_for(config)
    with threaded(prepared) as transport:
        token = bytes.fromhex(transport.installation.token)
        hello = Hello(device=0, incarnation=secrets.token_bytes(INCARNATION_BYTES), token=token)
        wrong = dataclasses.replace(hello, token=bytes(TOKEN_BYTES))
        unknown = dataclasses.replace(hello, device=4_000_000_000)
        assert refused(caller(transport), wrong.encode())
        assert refused(caller(transport), unknown.encode())
        assert refused(caller(transport), b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a stranger\r\n\r\n")
        assert refused(caller(transport), hello.encode()[:4] + b"\x02" + hello.encode()[5:])
        silent = [caller(transport) for _ in range(5)]  # and they keep nobody else out
        result = run(config, connect=lambda _: transport)
        for sock in silent:
            sock.close()
    assert result.rounds[0].notes == []


def test_a_token_is_drawn_for_each_run(pictures: Path) -> None:
    task = prepared_for(small_config(pictures)).task
    tokens = set()
    for _ in range(2):
        transport = ProcessesTransport(task, start_devices=False)
        tokens.add(transport.installation.token)
        transport.close()
    assert len(tokens) == 2


def test_a_hello_survives_the_wire_and_nothing_else_is_one() -> None:
    token = secrets.token_bytes(TOKEN_BYTES)
    hello = Hello(device=7, incarnation=bytes(range(INCARNATION_BYTES)), token=token)
    data = hello.encode()
    assert len(data) == 56
    assert Hello.decode(data, token) == hello
    for position in [0, 4, 5, 28, 55]:
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises(WireError, match="wrong token" if position > 5 else "not an EcoFed hello"):
            Hello.decode(bytes(damaged), token)


def connected_pair() -> tuple[Connection, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = socket.create_connection(listener.getsockname())
        sock, _ = listener.accept()
    return Connection(sock), other


def test_a_length_that_is_only_claimed_takes_no_memory() -> None:
    connection, other = connected_pair()
    with other:
        other.sendall(struct.pack("<4sBBHQI", b"EcoF", 1, 2, 0, MAX_MESSAGE_BYTES + 1, 0))
        with pytest.raises(WireError, match="exceeds the limit"):
            connection.receive(time.monotonic() + 10)
        other.sendall(struct.pack("<4sBBHQI", b"EcoF", 1, 2, 0, MAX_MESSAGE_BYTES, 0) + bytes(1000))
        with pytest.raises(TimeoutError):
            connection.receive(time.monotonic() + 0.2)
        connection.close()
    assert HEADER_BYTES == 20


def test_trickling_bytes_do_not_stretch_a_deadline() -> None:
    connection, other = connected_pair()
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.05):
            other.sendall(b"E")

    thread = threading.Thread(target=trickle)
    thread.start()
    started = time.monotonic()
    with pytest.raises((TimeoutError, WireError)):
        connection.receive(time.monotonic() + 0.5)
    assert time.monotonic() - started < 10
    stop.set()
    thread.join()
    connection.close()
    other.close()


def test_who_vanishes_without_a_word_is_lost_after_a_while_and_late_only_after_the_deadline() -> None:
    """The kernel asks; what it says then is no deadline, and a device asks again. test_slow_links.py cuts a wire."""
    ours, theirs = connected_pair()
    sock = ours._socket
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    if sys.platform == "linux":
        kernel = {name: sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, f"TCP_{name}")) for name in PROBED}
        assert kernel["KEEPIDLE"] + kernel["KEEPINTVL"] * kernel["KEEPCNT"] == SILENCE_SECONDS
        assert kernel["USER_TIMEOUT"] == 1000 * SILENCE_SECONDS
    with pytest.raises(TimeoutError):
        ours.receive(time.monotonic() + 0.05)
    gone = OSError(errno.ETIMEDOUT, "Connection timed out")
    ours._socket = SimpleNamespace(settimeout=lambda _: None, recv=raising(gone), sendall=raising(gone))  # type: ignore[assignment]
    for use in (lambda: ours.receive(None), lambda: ours.send(b"x", None)):
        with pytest.raises(ConnectionResetError, match="no sign of the other side for 45 s"):
            use()
    sock.close()
    theirs.close()


PROBED = ("KEEPIDLE", "KEEPINTVL", "KEEPCNT", "USER_TIMEOUT")


def raising(error: Exception) -> Callable[..., None]:
    def use(*_: object) -> None:
        raise error

    return use


def test_a_server_that_greets_and_hangs_up_is_asked_more_and_more_rarely(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepared_for(small_config(pictures, "lgl", rounds=1, devices=1, sampled_devices=1))
    early = ProcessesTransport(prepared.task, start_devices=False)
    device = Device(early.installation, 0)
    early.close()
    greeted, ends, pauses = iter([False, False, True, False, False, False]), list[socket.socket](), list[float]()

    def greet() -> Connection | None:
        served = next(greeted, None)
        if served is None:
            return None
        ours, theirs = connected_pair()
        ends.append(theirs)
        if served:
            theirs.sendall(encode(Failure(reason="a message")).data)
        theirs.shutdown(socket.SHUT_WR)
        return ours

    monkeypatch.setattr(device, "_connect", greet)
    monkeypatch.setattr(device, "answer", lambda request: request)
    monkeypatch.setattr("ecofed.runtimes.device_process.time.sleep", pauses.append)
    device.serve()
    for end in ends:
        end.close()
    assert pauses == [0.0, 0.05, 0.0, 0.05, 0.1, 0.2]  # one that is asked something is back at once


@pytest.mark.slow
def test_a_device_that_was_started_before_the_server_waits_for_it(pictures: Path) -> None:
    config = small_config(pictures, "lgl", rounds=1, devices=1, sampled_devices=1)
    prepared = prepared_for(config)
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    early = ProcessesTransport(prepared.task, start_devices=False)
    installation = dataclasses.replace(early.installation, port=port, patience_seconds=10.0)
    early.close()
    device = Device(installation, 0)
    thread = threading.Thread(target=device.serve)
    thread.start()
    time.sleep(0.3)
    transport = ProcessesTransport(prepared.task, address=("127.0.0.1", port), start_devices=False)
    transport._token = bytes.fromhex(installation.token)
    result = run(config, connect=lambda _: transport)
    device._installation = dataclasses.replace(installation, patience_seconds=0.0)
    thread.join(30)
    assert not thread.is_alive()
    assert result.rounds[0].notes == []
