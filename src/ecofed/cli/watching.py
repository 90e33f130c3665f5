"""``ecofed report --watch``: a page that is written anew while its runs go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ecofed.cli.interrupt import Interrupted
from ecofed.cli.streams import say
from ecofed.errors import EcoFedError, InUseError
from ecofed.files.disk import write_text
from ecofed.files.ownership import refuse_if_owned

if TYPE_CHECKING:
    from ecofed.reports.plots import Plot
    from ecofed.results import Comparison, RunResult

#: Between two looks at the folders, and how often the page loads itself.
SECONDS = 5
#: Drawing must leave the processor to the training: it gets at most a fifth of one.
_PAUSES = 4

Load = Callable[[Sequence[Path]], "Comparison | RunResult"]


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What a look at the folders found."""

    going: bool
    tested: list[Path]
    """The folders that hold something to show."""
    state: list[tuple[str, str, str, int]]
    """What a page is made from; equal where it need not be made anew."""


def watch(folders: Sequence[Path], place: Path, load: Load, pause: Callable[[float], None] = time.sleep) -> None:
    """Keep ``report.html`` in ``place`` up to date until no run in the folders goes on.

    Raises:
        Interrupted: the user pressed Ctrl-C; the page is left as it is and no longer renews itself.
        EcoFedError: nothing goes on, and there is nothing to show.
    """
    from ecofed.reports.html import REPORT_FILE, report_html
    from ecofed.reports.plots import draw_plots, save_plots

    page = place / REPORT_FILE
    shown: tuple[Comparison | RunResult, list[Plot]] | None = None
    seen: _Look | None = None
    told: str = ""
    try:
        while True:
            now, began = _look(folders), time.monotonic()
            if now != seen:
                problem = "" if now.tested else "waiting for the first round that is tested"
                try:
                    if now.tested:
                        result = load(now.tested)
                        shown = result, draw_plots(result)
                        save_plots(shown[1], place)
                        write_text(page, report_html(*shown, renews=SECONDS if now.going else None))
                        say(f"{page}: {_so_far(now)}")
                except EcoFedError as error:  # a file that was replaced between two readings: the next look has it
                    problem, now = str(error), _Look(going=now.going, tested=now.tested, state=[])
                if problem and not now.going:
                    raise EcoFedError(
                        problem if now.tested else f"{folders[0]}: no run goes on here, and none has ended"
                    )
                if problem and problem != told:
                    say(problem)
                told = problem
                seen = now
            if not now.going:
                return
            pause(max(SECONDS, _PAUSES * (time.monotonic() - began)))
    except KeyboardInterrupt:
        left = "no page was written"
        if shown is not None:
            write_text(page, report_html(*shown))
            left = f"{page} shows them as they were"
        raise Interrupted(f"stopped watching; the runs go on, and {left}") from None


def _look(folders: Sequence[Path]) -> _Look:
    from ecofed.reports.listing import list_runs

    state: list[tuple[str, str, str, int]] = []
    tested: list[Path] = []
    going = False
    for folder in folders:
        runs = list_runs(folder) if folder.is_dir() else []
        state += [(f"{folder}/{run.folder}", run.state, run.changed, run.rounds_done) for run in runs]
        going = going or any(run.state == "running" for run in runs) or _is_owned(folder)
        if any(run.accuracy is not None for run in runs):
            tested.append(folder)
    return _Look(going=going, tested=tested, state=state)


def _is_owned(folder: Path) -> bool:
    """A comparison between two of its runs has none that goes on."""
    try:
        refuse_if_owned(folder)
    except InUseError:
        return True
    return False


def _so_far(now: _Look) -> str:
    states = [state for _, state, _, _ in now.state]
    rounds = sum(done for *_, done in now.state)
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"{counted}, {rounds} round{'s' if rounds != 1 else ''}"
