"""What a command asks of the machine before it begins."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ecofed import machine
from ecofed.machine import Heap

SCRIPT = """
import os, sys
from ecofed.cli import main
sys.argv = ["ecofed", "--version"]
try:
    main()
except SystemExit:
    pass
print("torch" in sys.modules, os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(
    ("own", "then"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
    ids=["nothing set", "spins set", "policy set"],
)
def test_threads_that_wait_sleep_soon_unless_the_user_has_said_otherwise(own: dict[str, str], then: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment | own, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"False {then}", "before PyTorch is loaded, which reads it once"


def test_memory_in_pieces_is_given_back_when_it_has_grown_by_more_than_rounds_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room, trims, heap = Heap.ROOM_BYTES, list[int](), Heap()
    #        rounds 1, 2 (usual), still usual; grown, given back; the next rounds need as much as the second one did
    held = iter([50, 100, 100 + room, 101 + room, 40, 100 + room, 102 + room, 30])
    monkeypatch.setattr(machine, "_resident_bytes", lambda: next(held))
    monkeypatch.setattr(heap, "_trim", trims.append)
    assert [heap.round_finished() for _ in range(6)] == [False, False, False, True, False, True]
    assert trims == [0, 0]


def test_what_stays_is_not_asked_for_round_after_round(monkeypatch: pytest.MonkeyPatch) -> None:
    room, heap = Heap.ROOM_BYTES, Heap()
    held = iter([0, 0, 3 * room, 3 * room, 3 * room, 4 * room])
    monkeypatch.setattr(machine, "_resident_bytes", lambda: next(held))
    monkeypatch.setattr(heap, "_trim", lambda _: 1)
    assert [heap.round_finished() for _ in range(5)] == [False, False, True, False, False]


PIECES = """
from ecofed import machine
heap = machine.Heap()
usual = machine._resident_bytes()
heap.round_finished(), heap.round_finished()
large, small = [], []
for _ in range(5000):  # below glibc's smallest threshold for mappings of their own
    large.append(bytearray(100_000))
    small.append(bytearray(2000))
del large
before = machine._resident_bytes()
print(before - usual > 450e6, heap.round_finished(), before - machine._resident_bytes() > 400e6)
"""


@pytest.mark.skipif(not machine._OWN_PAGES.exists(), reason="says how much memory it holds: Linux")
def test_half_a_gigabyte_in_pieces_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PIECES], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "True"]
