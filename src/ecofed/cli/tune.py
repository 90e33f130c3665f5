"""``ecofed tune``: search for settings on the buffer that a run kept."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecofed.cli.interrupt import resumable
from ecofed.cli.output import print_json, print_table, print_text
from ecofed.cli.retrain import Run
from ecofed.cli.shared import Json, Resume, Sets, add_command, check_kept_out, named_path, need_torch
from ecofed.cli.streams import say
from ecofed.config.methods import REFERENCE
from ecofed.errors import MissingExtraError

if TYPE_CHECKING:
    from ecofed.relearning.tuning import Tuning

Trials = Annotated[
    int, typer.Option("--trials", metavar="N", help="How many settings are tried, the run's own among them.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of the search.")]
HeldOut = Annotated[
    float | None,
    typer.Option(
        "--held-out", metavar="SHARE", help="Of every device's samples, to judge by; default: the run's own, or 0.2."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", help="Processes; default: the cores there are. The result is the same."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder for the search; default: RUN-tuning.", parser=named_path),
]
#: Of a search that is printed.
BEST = 5


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "tune",
        tune,
        "ecofed tune runs/first --trials 30",
        "ecofed tune runs/first --trials 60 --resume --set ecofed.optimiser=adamw",
    )


def tune(
    run: Run,
    trials: Trials = 30,
    sets: Sets = None,
    out: Out = None,
    seed: Seed = 0,
    held_out: HeldOut = None,
    workers: Workers = None,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Search for settings on a run's kept buffer: learning rate, weight decay, schedule, averaged weights, label
    smoothing, mix-up, the head's width.

    No device is asked, and no test image is looked at: trials are judged by samples that are held out of the buffer.
    --set fixes a key for all trials. Ctrl-C stops; --resume continues, also to more trials.
    """
    folder = check_kept_out(run, out, "tuning", resume=resume)
    need_torch("ecofed tune")
    if find_spec("optuna") is None:
        raise MissingExtraError("optuna", "tune", "ecofed tune")
    from ecofed.relearning.tuning import tune as search

    with resumable(folder):
        found = search(
            run,
            out=folder,
            trials=trials,
            seed=seed,
            held_out=held_out,
            workers=workers,
            sets=sets or (),
            resume=resume,
            say=say,
        )
    if json:
        print_json(found.to_dict(), indent=1)
    else:
        _print(found, folder)


def _print(found: Tuning, folder: Path) -> None:
    from ecofed.reports.units import human_bytes

    ranked = sorted(found.trials, key=lambda trial: (-(trial.accuracy or 0.0), trial.number))
    keys = list(dict.fromkeys(key for trial in found.trials for key in trial.settings))
    shown = [*ranked[:BEST], *(trial for trial in ranked[BEST:] if trial.number == 0)]
    rows = [
        [
            str(trial.number) if trial.settings else f"{trial.number} (the run's own)",
            "diverged" if trial.accuracy is None else f"{trial.accuracy:.4f}",
            *(_value(trial.settings.get(key)) for key in keys),
        ]
        for trial in shown
    ]
    print_table(["trial", "held-out accuracy", *keys], rows, keys=2)
    for key, share in found.importance.items():
        print_text(f"importance {share:.2f}  {key}")
    rival = human_bytes(found.classic_bytes)
    print_text(f"{len(found.trials)} trials moved 0 bytes; as many of {REFERENCE} would have moved {rival}")
    if ranked[0].settings:
        print_text("the best of many is flattered: what it is worth, images say that no trial was judged by")
        print_text(found.command)
    else:
        print_text(
            "the run's own settings are the best of these: nothing to train anew; --trials N --resume tries more"
        )
    for name in ("tuning.json", "importance.png"):
        if (folder / name).is_file():
            print_text(folder / name)


def _value(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.2g}" if isinstance(value, float) else str(value)
