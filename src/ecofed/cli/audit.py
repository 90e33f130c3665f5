"""``ecofed audit``: what a configuration's uploads give away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecofed.cli import completion
from ecofed.cli.interrupt import command_line, resumable
from ecofed.cli.output import print_json, print_paragraph, print_table, print_text
from ecofed.cli.shared import Json, Out, Resume, Sets, add_command, need_torch, output_folder
from ecofed.cli.streams import say
from ecofed.config import Settings
from ecofed.errors import ConfigError

if TYPE_CHECKING:
    from ecofed.results.audits import Audit

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN|PRESET|FILE.toml",
        help="A run's folder, a preset or a TOML file; default: plain defaults.",
        autocompletion=completion.sources,
    ),
]
Images = Annotated[int, typer.Option("--images", min=12, metavar="N", help="How many uploaded images are attacked.")]
Passes = Annotated[
    int | None,
    typer.Option(
        "--passes",
        min=0,
        metavar="N",
        help="Images that each decoder is trained on, counting each time; 0: the linear decoder alone. "
        "Default: 8,000 for images of 32 pixels, fewer for larger ones.",
    ),
]
Attacks = Annotated[
    str | None,
    typer.Option("--attacks", metavar="A,B,...", help="Attackers to try, by name; default: all. 'control' always is."),
]
Unlike = Annotated[
    str, typer.Option("--unlike", metavar="DATA", help="Public images unlike the devices': 'fractals' or a data set.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the attacker.")]


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "audit",
        audit,
        "ecofed audit quickstart",
        "ecofed audit cpu-vgg11-cifar10 --set codec.bits=2 --attacks black-box-4096,white-box",
        "ecofed audit runs/first --json",
    )


def audit(
    source: Source = None,
    sets: Sets = None,
    images: Images = 256,
    passes: Passes = None,
    attacks: Attacks = None,
    unlike: Unlike = "fractals",
    seed: Seed = 0,
    out: Out = None,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Attack the very bytes that a configuration uploads, and tell what they give away.

    An attacker learns from 128 pairs of public image and upload, from 4,096 and from all, without the front and with
    it; each time the table tells how like the images his reconstructions are, which image each is, and whether a
    classifier recognises it, beside JPEGs and a control. Ctrl-C stops; the same command with --resume continues.
    """
    from ecofed.reports.files import AUDIT_FOLDER

    run = None if source is None else Path(source)
    if run is not None and run.is_dir():
        folder = output_folder(out or run / AUDIT_FOLDER, Settings(), "", resume=resume)
    else:
        folder = output_folder(out, Settings.load(source, sets or ()), "-audit", resume=resume)
    need_torch("ecofed audit")
    from ecofed.auditing.audit import audit as make

    with resumable(folder):
        found = make(
            source,
            out=folder,
            sets=sets or (),
            images=images,
            passes=passes,
            attacks=None if attacks is None else _names(attacks),
            unlike=unlike,
            seed=seed,
            resume=resume,
            note=lambda text: say(f"note: {text}"),
            command=command_line(),
        )
    if json:
        print_json(found.to_dict(), indent=1)
        return
    print_audit(found, folder)


def print_audit(found: Audit, folder: Path) -> None:
    """The table, then what else is known, then where the files are."""
    from ecofed.reports.audits import (
        COLUMNS,
        GRID_FILE,
        PAGE_FILE,
        PLOT_FILE,
        cells,
        headline,
        legend,
        membership_sentence,
        sums_sentences,
    )
    from ecofed.reports.files import AUDIT_FILE

    print_table(COLUMNS, [cells(row) for row in found.rows])
    print_paragraph(headline(found))
    print_paragraph(legend(found))
    for each in found.membership:
        print_paragraph(membership_sentence(each))
    for text in sums_sentences(found.sums) if found.sums is not None else []:
        print_paragraph(text)
    for text in found.facts:
        print_paragraph(text)
    for text in found.notes:
        print_paragraph(f"note: {text}", hanging=2)
    for name in (PAGE_FILE, AUDIT_FILE, GRID_FILE, PLOT_FILE):
        print_text(folder / name)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ConfigError("--attacks names none; leave it out to try all")
    return names
