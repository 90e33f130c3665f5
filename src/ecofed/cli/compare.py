"""``ecofed compare``: several methods side by side, one report."""

from __future__ import annotations

from typing import Annotated

import typer

from ecofed.cli import completion
from ecofed.cli.interrupt import command_line, resumable
from ecofed.cli.output import print_json, print_results
from ecofed.cli.progress import progress_view
from ecofed.cli.shared import (
    Jobs,
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
from ecofed.config import Settings
from ecofed.config.methods import PAPER_METHODS, RIVALS
from ecofed.config.schema import all_methods
from ecofed.errors import ConfigError

Methods = Annotated[
    str | None,
    typer.Option(
        "--methods",
        metavar="A,B,...",
        autocompletion=completion.methods,
        help=f"Which, in this order; default: those that the preset names, otherwise {','.join(PAPER_METHODS)}. "
        f"Rivals: {', '.join(RIVALS)}.",
        show_default=False,
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option("--seeds", metavar="0,1,...", help="Run each method with each of them; default: the key 'seed'."),
]


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "compare",
        compare,
        "ecofed compare quickstart --out runs/first",
        "ecofed compare quickstart --methods classic-fl,ecofed --set classic-fl.learning_rate=0.03",
        "ecofed compare quickstart --methods classic-fl,ecofed --seeds 0,1,2",
    )


def compare(
    source: Source = None,
    methods: Methods = None,
    seeds: Seeds = None,
    sets: Sets = None,
    out: Out = None,
    jobs: Jobs = 1,
    track: Track = None,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Train several methods on the same devices, data, model and seed, and put them side by side in one report.

    A key may be overridden for one method: --set classic-fl.learning_rate=0.03. Results go to --out, by default
    runs/NAME, where NAME is the preset's or the file's, with one folder a method. Ctrl-C stops; the same command with
    --resume continues.
    """
    refuse_unknown_trackers(track)
    settings = settings_of(source, sets or ())
    names, numbers = method_names(methods, settings), seed_numbers(seeds)
    say_what_changes_nothing(settings, names)
    folder = output_folder(out, settings, "", resume=resume, foreign=("result.json", "metrics.jsonl", "frontier.json"))
    need_torch("ecofed compare")
    from ecofed.runs.experiment import compare as train

    with resumable(folder), progress_view() as view:
        result = train(
            settings,
            names,
            out=folder,
            seeds=numbers,
            resume=resume,
            observer=with_trackers(view, track, folder),
            command=command_line(),
            jobs=jobs,
        )
    if json:
        print_json(result.to_dict(), indent=1)
    else:
        print_results(result, folder)


def method_names(methods: str | None, settings: Settings) -> list[str]:
    """The methods of a comma-separated list, each once and known; without one, those that the settings compare."""
    if methods is None:
        return list(settings.compared)
    names = [name.strip() for name in methods.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"--methods names no method; choose from {', '.join(all_methods())}")
    for name in names:
        settings.for_method(name)  # an unknown one is refused before anything is trained
        if names.count(name) > 1:
            raise ConfigError(f"--methods names '{name}' twice")
    return names


def seed_numbers(seeds: str | None) -> list[int]:
    """The seeds of a comma-separated list; none without one."""
    words = [word.strip() for word in (seeds or "").split(",") if word.strip()]
    if seeds is not None and not (words and all(word.isdecimal() for word in words)):
        raise ConfigError(f"--seeds {seeds}: must be whole numbers with commas between them, such as 0,1,2")
    return [int(word) for word in words]
