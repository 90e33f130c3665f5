"""A run in a process of its own, ``python -m ecofed.runs.one_of_several``: see :mod:`ecofed.runs.side_by_side`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ecofed.config import Config
from ecofed.config.registry import load_plugin
from ecofed.errors import EcoFedError
from ecofed.files.disk import json_text
from ecofed.files.json_values import parse, read_as
from ecofed.results import RoundRecord, RunResult
from ecofed.runs.interruption import SAID
from ecofed.runs.side_by_side import Order
from ecofed.runtimes.lifetime import end_with_parent


class _Telling:
    """An observer that writes a line for everything."""

    def __init__(self) -> None:
        # What libraries print must not come between the lines.
        self._way = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def tell(self, **event: Any) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._way.write(f"{json_text(event)}\n")
            self._way.flush()

    def started(self, config: Config, records: Sequence[RoundRecord]) -> None:  # noqa: ARG002
        self.tell(records=[record.to_dict() for record in records])

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:  # noqa: ARG002
        self.tell(round=record.to_dict())

    def note(self, text: str) -> None:
        if text != SAID:  # the other process has said it
            self.tell(note=text)

    def finished(self, result: RunResult) -> None:  # noqa: ARG002
        self.tell(finished=True)


@contextlib.contextmanager
def _told(observer: _Telling) -> Iterator[None]:
    """Errors and Ctrl-C are told, too."""
    try:
        yield
    except EcoFedError as error:
        observer.tell(failed=[type(error).__name__, str(error)])
    except KeyboardInterrupt:
        observer.tell(stopped=True)


def main() -> None:
    """Carry out the order on the standard input."""
    observer = _Telling()
    order: Order = read_as(Order, parse(sys.stdin.readline()), "order")
    end_with_parent(order.parent)
    with _told(observer):
        observer.tell(up=True)
        from ecofed.runs.experiment import run_owned  # brings PyTorch: a Ctrl-C meanwhile is told, too

        for plugin in order.plugins:
            load_plugin(plugin)
        config, folder = Config.from_dict(order.config), Path(order.folder)
        run_owned(config, folder, resume=order.resume, observer=observer, command=order.command, report=False)


if __name__ == "__main__":
    main()
