"""``ecofed run``: one method."""

from __future__ import annotations

import typer

from ecofed.cli.interrupt import command_line, resumable
from ecofed.cli.output import print_json, print_results
from ecofed.cli.progress import progress_view
from ecofed.cli.shared import (
    Json,
    Out,
    Resume,
    Sets,
    Source,
    Track,
    add_command,
    need_torch,
    output_folder,
    refuse_unknown_trackers,
    say_what_changes_nothing,
    settings_of,
    with_trackers,
)


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "run",
        run,
        "ecofed run quickstart --set rounds=5 --out runs/first",
        "ecofed run my.toml --set method=classic-fl --set learning_rate=0.03",
    )


def run(
    source: Source = None,
    sets: Sets = None,
    out: Out = None,
    track: Track = None,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Train one method (the key 'method', default ecofed) and write its results.

    Results go to --out, by default runs/NAME-METHOD, where NAME is the preset's or the file's. Ctrl-C stops; the same
    command with --resume continues.
    """
    refuse_unknown_trackers(track)
    settings = settings_of(source, sets or ())
    config = settings.for_method(settings.method)
    say_what_changes_nothing(settings, [config.method], one=True)
    folder = output_folder(out, settings, f"-{config.method}", resume=resume, foreign=("summary.json", "frontier.json"))
    need_torch("ecofed run")
    from ecofed.runs.experiment import run as train

    with resumable(folder), progress_view() as view:
        result = train(
            config, out=folder, resume=resume, observer=with_trackers(view, track, folder), command=command_line()
        )
    if json:
        print_json(result.to_dict(), indent=1)
    else:
        print_results(result, folder)
