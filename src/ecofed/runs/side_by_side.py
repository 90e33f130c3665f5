"""Runs that do not depend on each other, side by side: each in a process of its own, all told to one observer.

Such a process is :mod:`ecofed.runs.one_of_several`. A line of JSON on its standard input says what to run; lines of
JSON on its standard output say what happens. What it makes is in its folder.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeAlias, cast

from ecofed.config import Config
from ecofed.config.given import ARRAYS, MODULE
from ecofed.config.registry import plugins_to_pass_on
from ecofed.errors import ConfigError, EcoFedError, as_raised
from ecofed.files.disk import json_text
from ecofed.files.json_values import parse, read_as
from ecofed.machine import CORES, cores, free_bytes
from ecofed.reports.files import read_result
from ecofed.results import RoundRecord, RunResult
from ecofed.runs.interruption import SAID, answers_ctrl_c
from ecofed.runs.observing import Observer
from ecofed.runtimes.lifetime import own_python

#: A run that has begun grows by about so much while it trains.
_GROWTH = 1.5
#: Which run says what; ``None``: it has ended. One of its own for Ctrl-C.
Told: TypeAlias = "queue.SimpleQueue[tuple[int, dict[str, Any] | None]]"
_CTRL_C = -1


class Several(Protocol):
    """An observer that can show runs beside each other."""

    def beside(self) -> Observer:
        """One for a single run, shown among the others."""
        ...


@dataclass(frozen=True, kw_only=True)
class Order:
    """What such a process is told."""

    config: dict[str, Any]
    folder: str
    resume: bool
    command: str
    plugins: list[str]
    parent: int


class _Child:
    """A run in its process."""

    def __init__(self, number: int, order: Order, told: Told, share: int) -> None:
        """``share``: of the processor cores."""
        self.config, self.folder = Config.from_dict(order.config), Path(order.folder)
        # A session of its own: Ctrl-C at a terminal is for the process that started it, which passes it on.
        self.process = subprocess.Popen(
            [*own_python(), "-m", "ecofed.runs.one_of_several"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=os.environ | {CORES: str(share)},
        )
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self.process.stdin as line:  # it is missed when nothing comes back
            line.write(f"{json_text(asdict(order))}\n".encode())
        self._listener = threading.Thread(target=self._listen, args=(number, told), daemon=True)
        self._listener.start()

    def _listen(self, number: int, told: Told) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with contextlib.suppress(ValueError):  # a line that a killed process did not finish
                    told.put((number, cast(dict[str, Any], parse(line.decode()))))
        told.put((number, None))

    def most_bytes(self) -> int:
        """The most memory that it has had."""
        with contextlib.suppress(OSError, IndexError, ValueError):
            text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
            return 1024 * int(text.split("VmHWM:")[1].split()[0])
        return 0

    def stop(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


class _Runs:
    """All of them, some at a time."""

    def __init__(self, orders: Sequence[Order], jobs: int, observer: Observer) -> None:
        self._orders, self._jobs, self._observer = orders, jobs, observer
        shows_several = hasattr(observer, "beside")
        self._views = [cast(Several, observer).beside() if shows_several else observer for _ in orders]
        self._turn = None if shows_several else 0
        self._untold: dict[int, list[dict[str, Any]]] = {number: [] for number in range(len(orders))}
        self._told: Told = queue.SimpleQueue()
        self._children: dict[int, _Child] = {}
        self._running: set[int] = set()
        self._up: set[int] = set()
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._failure: EcoFedError | None = None
        self._stopped = self._said_few = False

    def all(self) -> None:
        """Until they have ended.

        Raises:
            EcoFedError: of the first that failed; the others were stopped as by Ctrl-C. KeyboardInterrupt: all were.
        """
        # A Ctrl-C waits for its turn: what is under way here is not cut in two.
        ours = answers_ctrl_c()
        if ours:
            signal.signal(signal.SIGINT, self._pressed)
        try:
            while self._start_some():
                number, event = self._told.get()
                if number == _CTRL_C:
                    self._interrupt()
                elif event is None:
                    self._end(number)
                else:
                    self._hear(number, event)
        finally:
            if ours:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            for number in self._running:
                self._children[number].stop(signal.SIGKILL)
                self._children[number].process.wait()
        if self._failure is not None:
            raise self._failure
        if self._stopped:
            raise KeyboardInterrupt

    def _pressed(self, _number: int, _frame: FrameType | None) -> None:
        self._told.put((_CTRL_C, None))

    def _start_some(self) -> bool:
        """Whether any is running then."""
        left = range(len(self._children), len(self._orders))
        for number in () if self._stopped else left:
            if len(self._running) >= self._jobs or not self._has_room():
                break
            self._children[number] = _Child(number, self._orders[number], self._told, max(1, cores() // self._jobs))
            self._running.add(number)
        return bool(self._running)

    def _has_room(self) -> bool:
        """Whether another one finds memory: as much as one that has begun will take."""
        if not self._running:
            return True
        if not self._begun:  # nobody knows yet
            return False
        each = int(_GROWTH * max(self._children[number].most_bytes() for number in self._begun))
        free = free_bytes()
        if free is None or free > each:
            return True
        if not self._said_few:
            self._said_few = True
            self._observer.note(
                f"{len(self._running)} side by side, not {self._jobs}: a run takes about {each / 1e9:.1f} GB, and "
                f"{free / 1e9:.1f} GB are free"
            )
        return False

    def _hear(self, number: int, event: dict[str, Any]) -> None:
        if "failed" in event and self._failure is None:
            name, message = event["failed"]
            self._failure = as_raised(str(name), str(message))
            self._stop_all(signal.SIGINT)
        if "stopped" in event:
            self._stopped = True
        if "up" in event:
            self._up.add(number)
        if "records" in event:
            self._begun.add(number)
        self._untold[number].append(event)
        self._tell()

    def _tell(self) -> None:
        """What has happened, run after run where the observer knows no other way."""
        for number in sorted(self._untold) if self._turn is None else [self._turn]:
            view, child = self._views[number], self._children.get(number)
            while child is not None and self._untold[number]:
                _pass_on(self._untold[number].pop(0), view, child)
        if self._turn is not None and self._turn in self._ended and self._turn + 1 < len(self._orders):
            self._turn += 1
            self._tell()

    def _end(self, number: int) -> None:
        self._running.remove(number)
        self._ended.add(number)
        self._begun.discard(number)
        child = self._children[number]
        code = child.process.wait()
        if code and self._failure is None and not self._stopped:
            self._failure = EcoFedError(f"{child.folder}: the process of its run ended without a word ({code})")
            self._stop_all(signal.SIGINT)
        self._tell()

    def _interrupt(self) -> None:
        if self._stopped:
            self._stop_all(signal.SIGKILL)
        else:
            self._observer.note(SAID)
            self._stop_all(signal.SIGINT)

    def _stop_all(self, number: int) -> None:
        self._stopped = True
        for (
            running
        ) in self._running:  # one that is still starting has nothing to save, and would answer with a traceback
            self._children[running].stop(number if running in self._up else signal.SIGKILL)


def run_side_by_side(
    configs: Sequence[Config], folders: Sequence[Path], *, jobs: int, resume: bool, observer: Observer, command: str
) -> list[RunResult]:
    """Train each configuration in its folder, which the caller has claimed; at most ``jobs`` at a time.

    Results are those of one after the other. Where memory is short there are fewer at a time, with a note.

    Raises:
        EcoFedError: one has failed. KeyboardInterrupt: they were stopped, and can be resumed.
    """
    for config in configs:
        if config.data.name.startswith(ARRAYS) or config.model.name.startswith(MODULE):
            raise ConfigError("jobs: arrays and modules given in Python are in this process alone; use jobs=1")
    plugins = plugins_to_pass_on()
    orders = [
        Order(
            config=config.to_dict(),
            folder=str(folder),
            resume=resume,
            command=command,
            plugins=plugins,
            parent=os.getpid(),
        )
        for config, folder in zip(configs, folders, strict=True)
    ]
    _Runs(orders, jobs, observer).all()
    return [read_result(folder) for folder in folders]


def _pass_on(event: dict[str, Any], view: Observer, child: _Child) -> None:
    if "records" in event:
        records: list[RoundRecord] = read_as(list[RoundRecord], event["records"], "records")
        view.started(child.config, records)
    elif "round" in event:
        record: RoundRecord = read_as(RoundRecord, event["round"], "round")
        view.round_finished(record, child.config.rounds)
    elif "note" in event:
        view.note(str(event["note"]))
    elif "finished" in event:
        view.finished(read_result(child.folder))
