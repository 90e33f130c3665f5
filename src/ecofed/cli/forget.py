"""``ecofed forget``: devices' uploads are deleted, and a back is trained as if they had never come."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecofed.cli.interrupt import command_line, resumable
from ecofed.cli.output import print_text
from ecofed.cli.progress import progress_view
from ecofed.cli.retrain import Run, print_learned
from ecofed.cli.shared import Json, Resume, add_command, check_kept_out, named_path, need_torch
from ecofed.errors import ConfigError

Devices = Annotated[
    list[str] | None, typer.Option("--device", metavar="N[,N...]", help="Everything of these devices; repeatable.")
]
Samples = Annotated[
    Path | None,
    typer.Option("--samples", metavar="FILE", help="Only some samples: a line DEVICE:SAMPLE each.", parser=named_path),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder for the new network; default: RUN-without.", parser=named_path),
]
By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who has it done, for the record; default: you.")]


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "forget",
        forget,
        "ecofed forget runs/first --device 7 --out runs/without-7",
        "ecofed forget runs/first --device 7,9 --samples some.txt --by 'A. Clerk'",
    )


def forget(
    run: Run,
    device: Devices = None,
    samples: Samples = None,
    out: Out = None,
    by: By = None,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Delete what devices uploaded from a run's folder, and train its back anew, as if they had never sent it.

    Codes, labels, the network that learned from them and audits there are removed, and every file is read to see that
    they are gone; RUN/forgotten.json is the record. A killed command is completed by the same one with --resume.
    """
    devices = _numbers(device or ())
    folder = check_kept_out(run, out, "without", resume=resume)
    need_torch("ecofed forget")
    from ecofed.relearning.forgetting import forget as carry_out
    from ecofed.relearning.forgetting import read_samples

    some = {} if samples is None else read_samples(samples)
    with resumable(folder), progress_view() as view:
        result = carry_out(
            run, devices, samples=some, out=folder, by=by, resume=resume, observer=view, command=command_line()
        )
    if result is None:
        print_text(f"{run}: nothing is left in the buffer")
    else:
        print_learned(result, folder, run, json=json)


def _numbers(words: list[str] | tuple[str, ...]) -> list[int]:
    parts = [part.strip() for word in words for part in word.split(",")]
    for part in parts:
        if not (part.isascii() and part.isdecimal()):
            raise ConfigError(f"--device {part!r}: must be a device's number, or several: 7,9")
    return [int(part) for part in parts]
