"""``ecofed update``: what is new on devices, added to the buffer that a run kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecofed.cli.interrupt import command_line, resumable
from ecofed.cli.progress import progress_view
from ecofed.cli.retrain import Run, print_learned
from ecofed.cli.shared import Json, Resume, Sets, add_command, check_kept_out, named_path, need_torch

Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder for the results; default: RUN-updated.", parser=named_path),
]
FromBack = Annotated[
    bool, typer.Option("--from-back", help="Start from the run's network, as far as it fits; default: anew.")
]


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "update",
        update,
        "ecofed update runs/first --set devices=100 --out runs/more",
        "ecofed update runs/first --set data.samples_per_device=600 --from-back",
    )


def update(
    run: Run,
    sets: Sets = None,
    out: Out = None,
    from_back: FromBack = False,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Ask devices for what is new since a run, and train on that and on what the run kept (keep_buffer=true).

    New devices upload as in any run, old ones their new samples only, forgotten ones nothing. --out keeps all of it.
    Ctrl-C stops; the same command with --resume continues.
    """
    folder = check_kept_out(run, out, "updated", resume=resume)
    need_torch("ecofed update")
    from ecofed.relearning.updating import update as go_on

    with resumable(folder), progress_view() as view:
        result = go_on(
            run,
            out=folder,
            sets=sets or (),
            start="back" if from_back else "anew",
            resume=resume,
            observer=view,
            command=command_line(),
        )
    print_learned(result, folder, run, json=json)
