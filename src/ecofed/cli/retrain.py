"""``ecofed retrain``: another back from the buffer that a run kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecofed.cli.interrupt import command_line, resumable
from ecofed.cli.output import print_json, print_results
from ecofed.cli.progress import progress_view
from ecofed.cli.shared import Json, Resume, Sets, add_command, check_kept_out, named_path, need_torch

if TYPE_CHECKING:
    from ecofed.results import RunResult

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run that keeps its buffer.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder for the results; default: RUN-again.", parser=named_path),
]
AsUploaded = Annotated[
    bool,
    typer.Option(
        "--as-uploaded",
        help="Each upload counts from the round in which it came, as in the run; default: all from the first round.",
    ),
]


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "retrain",
        retrain,
        "ecofed retrain runs/first --set learning_rate=0.003 --out runs/slower",
        "ecofed retrain runs/first --set model.head_width=512 --set ecofed.ema=0.998",
    )


def retrain(
    run: Run,
    sets: Sets = None,
    out: Out = None,
    as_uploaded: AsUploaded = False,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Train another back from a run's kept buffer (keep_buffer=true); no device is asked, and no byte moves.

    What comes after the cut and how it is trained can be set anew; what made the buffer (front, cut, codec, data)
    cannot. Ctrl-C stops; the same command with --resume continues.
    """
    folder = check_kept_out(run, out, "again", resume=resume)
    need_torch("ecofed retrain")
    from ecofed.relearning.retraining import retrain as train

    with resumable(folder), progress_view() as view:
        result = train(
            run,
            out=folder,
            sets=sets or (),
            order="as-uploaded" if as_uploaded else "all",
            resume=resume,
            observer=view,
            command=command_line(),
        )
    print_learned(result, folder, run, json=json)


def print_learned(result: RunResult, folder: Path, run: Path, *, json: bool) -> None:
    """A run that learned again, beside the one that it learned from."""
    if json:
        print_json(result.to_dict(), indent=1)
        return
    from ecofed.relearning.retraining import earlier_result
    from ecofed.results import Comparison

    before = earlier_result(run, lambda _: None)  # was told when it began
    print_results(result if before is None else Comparison(results=[before, result]), folder)
