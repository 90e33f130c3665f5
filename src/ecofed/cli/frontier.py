"""``ecofed frontier``: bytes against accuracy at many settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ecofed.cli.interrupt import command_line, resumable
from ecofed.cli.output import print_json, print_paragraph, print_table, print_text
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
    output_folder,
    refuse_unknown_trackers,
    settings_of,
    with_trackers,
)
from ecofed.cli.streams import say
from ecofed.config.schema import all_methods
from ecofed.errors import ConfigError, nearest
from ecofed.reports.units import human_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from ecofed.reports.frontiers import Frontier

Bits = Annotated[str, typer.Option("--bits", metavar="A,B,...", help="Bits of a code.")]
Views = Annotated[str, typer.Option("--views", metavar="A,B,...", help="Uploads in a device's life; 0 is unbounded.")]
Fronts = Annotated[
    str, typer.Option("--fronts", metavar="A,B,...", help="As the key front.name names them; 'ecofed front list'.")
]
Baselines = Annotated[
    str,
    typer.Option(
        "--baselines", metavar="A,B,...", help="Methods, and 'paper' for the paper's EcoFed settings; 'none' for none."
    ),
]


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "frontier",
        frontier,
        "ecofed frontier quickstart --bits 2,4 --views 1,0 --baselines paper",
        "ecofed frontier cpu-vgg11-cifar10 --fronts auto,vgg11-w0.5-rgb-256b --baselines classic-fl,send-images",
    )


def frontier(
    source: Source = None,
    bits: Bits = "2,4,8",
    views: Views = "1,0",
    fronts: Fronts = "auto",
    baselines: Baselines = "classic-fl,vanilla-dpfl,paper",
    sets: Sets = None,
    out: Out = None,
    jobs: Jobs = 1,
    track: Track = None,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Train ecofed at every combination of bits, views and front, and plot accuracy against the bytes of a device.

    Each point is a run in a folder of its own. What an option sweeps counts more than --set. Combinations for which a
    front has no quantiser are left out. Ctrl-C stops; the same command with --resume continues. The floors, every
    image sent once, are marked in frontier.png; report.html has the runs in full.
    """
    from ecofed.runs.sweep import PAPER_BASELINE, planned, without_effect_in

    refuse_unknown_trackers(track)
    settings = settings_of(source, sets or ())
    counts, lives = _numbers("--bits", bits), _numbers("--views", views)
    rivals = [] if baselines.strip() == "none" else _names(baselines)
    for name in rivals:
        known = (*all_methods(), PAPER_BASELINE)
        if name not in known:
            raise ConfigError(f"--baselines names '{name}'{nearest(name, known)}; choose from {', '.join(known)}, none")
    runs = planned(settings, bits=counts, views=lives, fronts=_names(fronts), baselines=rivals)
    for text in without_effect_in(settings, runs):
        say(f"note: {text}")
    folder = output_folder(out, settings, "-frontier", resume=resume)
    with resumable(folder), progress_view() as view:
        from ecofed.runs.frontier import frontier as sweep

        result = sweep(
            settings,
            out=folder,
            bits=counts,
            views=lives,
            fronts=_names(fronts),
            baselines=rivals,
            resume=resume,
            observer=with_trackers(view, track, folder),
            command=command_line(),
            jobs=jobs,
        )
        _report(folder)
    if json:
        print_json(result.to_dict())
        return
    print_frontier(result)
    for name in ("report.html", "frontier.png", "frontier.json"):
        if (folder / name).is_file():  # a plot that failed was said
            print_text(folder / name)


def _report(folder: Path) -> None:
    """The page of a sweep, unless it lies there already and nothing has changed since."""
    from ecofed.reports.frontiers import FRONTIER_FILE, read_frontier
    from ecofed.reports.html import REPORT_FILE
    from ecofed.runs.experiment import report_or_note

    page = folder / REPORT_FILE
    if not page.exists() or page.stat().st_mtime < (folder / FRONTIER_FILE).stat().st_mtime:
        report_or_note(read_frontier(folder)[1], folder, say)


def print_frontier(result: Frontier) -> None:
    """The table of a sweep."""
    rows = [
        (
            point.label,
            f"{point.final_test_accuracy:.3f}",
            human_bytes(point.bytes_per_device),
            human_bytes(point.uplink_bytes_per_device),
            "yes" if point.efficient else "",
        )
        for point in sorted(result.points, key=lambda point: point.bytes_per_device)
    ]
    rows.append(("every image once (raw)", "-", human_bytes(result.raw_image_bytes_per_device), "", ""))
    if result.compressed_image_bytes_per_device is not None:
        rows.append(
            ("every image once (compressed)", "-", human_bytes(result.compressed_image_bytes_per_device), "", "")
        )
    print_table(("point", "final accuracy", "bytes a device", "of them up", "on the frontier"), rows)
    for text in result.notes:
        print_paragraph(f"note: {text}", hanging=2)


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(name) for name in _names(text)]
    except ValueError:
        raise ConfigError(f"{option} {text!r}: must be whole numbers with commas between, such as 2,4") from None
