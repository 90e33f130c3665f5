"""``ecofed report``: the table, plots and HTML page of results that are there already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecofed.cli import frontier, watching
from ecofed.cli.output import print_json, print_results, print_text
from ecofed.cli.shared import Json, add_command, make_folder, named_path, need_torch
from ecofed.errors import ConfigError, nearest
from ecofed.files.replacing import refuse_strange

if TYPE_CHECKING:
    from ecofed.reports.photographs import Photograph
    from ecofed.results import Comparison, RunResult

Folders = Annotated[
    list[Path],
    typer.Argument(
        metavar="DIR",
        help="Folders that 'ecofed run', 'ecofed compare' or 'ecofed frontier' wrote, finished or not.",
        parser=named_path,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Folder for the page and plots; default: the folder itself, of several runs/report.",
        parser=named_path,
    ),
]
TABLES = ("markdown", "latex", "csv")
Table = Annotated[
    str | None,
    typer.Option("--table", metavar="|".join(TABLES), help="Print the table so; csv has the numbers as they are."),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="png,svg,pdf",
        help="What the plots are written as, in plots/; svg and pdf are for papers: without titles, text as text.",
    ),
]
Photographs = Annotated[
    int | None,
    typer.Option(
        "--photographs",
        metavar="N",
        min=1,
        max=60,
        help="Put so many test images into the page, with what each trained network says of them.",
    ),
]
Watch = Annotated[
    bool,
    typer.Option("--watch", help="Write the page anew while the runs go on, until the last one ends or Ctrl-C."),
]
#: Files of a run, whose page a joined report must not replace.
_OF_RUNS = ("result.json", "summary.json", "frontier.json", "unfinished.json")


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "report",
        report,
        "ecofed report runs/quickstart",
        "ecofed report runs/first runs/tuned --out runs/both",
        "ecofed report runs/quickstart --format pdf --table latex > table.tex",
        "ecofed report --watch runs/quickstart",
        "ecofed report runs/quickstart --photographs 12",
    )


def report(
    folders: Folders,
    out: Out = None,
    table: Table = None,
    format: Format = None,
    photographs: Photographs = None,
    watch: Watch = False,
    json: Json = False,
) -> None:
    """Write report.html and the plots of results anew, and print their table.

    A run that goes on or was stopped is shown up to its last round. Several folders are joined into one report, which
    says where their runs differ in data, devices or seeds. With --watch the page is written anew as rounds end, and a
    browser that shows it follows. --photographs puts test images into the page: mind
    whom you give it to. --table prints the table for a paper or a spreadsheet.
    """
    if table is not None and table not in TABLES:
        raise ConfigError(f"--table {table}: must be one of {', '.join(TABLES)}{nearest(table, TABLES)}")
    if table is not None and json:
        raise ConfigError("--table and --json both say what is printed: choose one")
    if watch and (table is not None or json or format is not None or photographs is not None):
        raise ConfigError("--watch writes the page; what else is asked for is for a report without it")
    from ecofed.reports.frontiers import holds_frontier, plot_frontier, read_frontier
    from ecofed.reports.html import write_report
    from ecofed.reports.joining import joined, load
    from ecofed.reports.plots import DRAWERS

    def found(several: Sequence[Path]) -> Comparison | RunResult:
        return load(several[0]) if len(several) == 1 else joined(several)

    papers = _papers(format)
    place = out or (folders[0] if len(folders) == 1 else Path("runs") / "report")
    if watch:
        _settle(place, folders, [place / "plots" / f"{name}.png" for name in DRAWERS])
        watching.watch(folders, place, found)
        return
    sweep = None
    result: Comparison | RunResult
    if len(folders) == 1 and holds_frontier(folders[0]):
        sweep, result = read_frontier(folders[0])
    else:
        result = found(folders)
    drawn = [place / "plots" / f"{name}.{ending}" for name in DRAWERS for ending in ("png", *papers)]
    _settle(place, folders, [*drawn, *([place / "frontier.png"] if sweep else [])])
    write_report(result, place, papers=papers, shown=_photographs(folders, result, photographs))
    if sweep is not None:
        plot_frontier(sweep, place)
    if table is not None:
        from ecofed.reports.for_papers import FORMATS

        print_text(FORMATS[table](result))
    elif json:
        print_json((sweep or result).to_dict(), indent=1)
    elif sweep is not None:
        frontier.print_frontier(sweep)
        print_text(place / "frontier.png")
        print_text(place / "report.html")
    else:
        print_results(result, place)


def _photographs(folders: Sequence[Path], result: Comparison | RunResult, count: int | None) -> list[Photograph]:
    """Test images with the answers of one network of each method, that of its first seed."""
    if count is None:
        return []
    need_torch("ecofed report --photographs")
    from ecofed.reports.joining import run_folders
    from ecofed.reports.tables import as_comparison
    from ecofed.runs.photographs import photographs

    comparison = as_comparison(result)
    places = [place for folder in folders for place in run_folders(folder)]
    found = {id(run): place for run, place in zip(comparison.results, places, strict=True)}
    return photographs([(group.label, found[id(group.results[0])]) for group in comparison.groups()], count)


def _settle(place: Path, folders: Sequence[Path], drawn: Sequence[Path]) -> None:
    """Make the place of the page and its plots, where nothing else is replaced."""
    if place not in folders:
        make_folder(place)
        taken = next((name for name in _OF_RUNS if (place / name).exists()), None)
        if taken is not None:
            raise ConfigError(f"{place} holds {taken} of a run; choose another folder with --out")
    refuse_strange(place / "report.html", *drawn)


def _papers(formats: str | None) -> list[str]:
    """The formats besides PNG, which is always written."""
    from ecofed.reports.plots.style import PAPER_FORMATS

    known = ("png", *PAPER_FORMATS)
    asked = [name.strip() for name in (formats or "png").split(",")]
    wrong = next((name for name in asked if name not in known), None)
    if wrong is not None:
        raise ConfigError(f"--format {wrong}: must be one of {', '.join(known)}{nearest(wrong, known)}")
    return [name for name in PAPER_FORMATS if name in asked]
