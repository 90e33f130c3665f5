"""``ecofed front``: which fronts ship, what their cards say, and whether one suits your images."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecofed.cli.commands import COMMANDS, Group, example
from ecofed.cli.output import print_json, print_table, print_text
from ecofed.cli.shared import add_command, need_torch
from ecofed.errors.foreign_text import LONGEST_NAME, clean
from ecofed.reports.units import human_bytes

if TYPE_CHECKING:
    from ecofed.pretraining.shipped import ShippedFront

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Name = Annotated[str, typer.Argument(metavar="FRONT", help="A name that 'ecofed front list' shows, or a file.")]
Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A labelled sample: a data set by name, a folder, or a parquet file.")
]
Front = Annotated[str, typer.Option("--front", metavar="FRONT", help="A shipped front by name, or a file.")]
Bits = Annotated[
    int | None, typer.Option("--bits", metavar="N", min=1, max=8, help="Bits per entry; default: the front's own.")
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="data.label_column or data.image_column: the columns of these data; repeatable.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the sample and of the random front.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode="rich")
    add_command(group, "list", list_, "ecofed front list")
    add_command(group, "show", show, "ecofed front show vgg11-w0.5-rgb")
    add_command(group, "check", check, "ecofed front check photos/ --front vgg11-w0.5-rgb")
    app.add_typer(
        group,
        name="front",
        help=COMMANDS["front"],
        epilog=example("ecofed front check cifar10 --front vgg11-w0.5-rgb"),
    )


def list_(json: Json = False) -> None:
    """List the fronts in this package.

    'auto' takes one for the model, width and input of a run: that of 256 bytes an image where codes have 2 bits,
    otherwise the full-size one.
    """
    need_torch("fronts")
    from ecofed.pretraining import shipped_fronts

    fronts = shipped_fronts()
    if json:
        print_json([dataclasses.asdict(front) for front in fronts])
        return
    rows = [
        (
            front.name,
            f"{front.model} x {front.width:g}",
            "grey" if front.in_channels == 1 else "colour",
            f"{front.card['bytes_per_image']} B at {front.card['bits']} bits",
            _probe_of(front.card),
            _leakage_of(front),
            str(front.card["images"]),
        )
        for front in fronts
    ]
    print_table(("front", "model", "input", "an image", "probe", "an attacker's SSIM", "pre-trained on"), rows)


def show(name: Name, json: Json = False) -> None:
    """Print a front's card: where it comes from, what it was trained with, and what it is worth."""
    need_torch("fronts")
    from ecofed.pretraining.shipped import card_of, load_front

    card = card_of(load_front(name))
    if json:
        print_json(card)
    else:
        own = card.pop("card")
        rows = [(clean(key, LONGEST_NAME), clean(value)) for key, value in (card | own).items()]
        for key, value in rows:  # plain lines: a value may be a long command
            print_text(f"{key:{max(len(name) for name, _ in rows)}}  {value}")


def _probe_of(card: dict[str, Any]) -> str:
    if "probe_accuracy" not in card:
        return "-"
    return f"{card['probe_accuracy']} on {card.get('probe_data', 'an unnamed set')}"


def _leakage_of(front: ShippedFront) -> str:
    """Of the strongest attack on its codes, where one was tried; docs/results-privacy.md."""
    from ecofed.pretraining.audited import audited_front

    found = audited_front(front.name, front.card["bits"])
    return "-" if found is None else f"{found.ssim:.2f}"


def check(
    data: Data, front: Front, bits: Bits = None, seed: Seed = 0, sets: Columns = None, json: Json = False
) -> None:
    """Tell whether a front suits images, before anything is deployed.

    A linear classifier is fitted on the front's codes of up to 5,000 training images and tested on 2,000, against the
    same on a random front and on raw pixels.
    """
    need_torch("fronts")
    from ecofed.data import load_dataset
    from ecofed.pretraining.check import check_front, reading_for
    from ecofed.pretraining.shipped import load_front
    from ecofed.runs.evaluating import columns_of

    columns, bundle = columns_of(sets or ()), load_front(front)
    how = dataclasses.replace(
        reading_for(bundle),
        image_column=columns.get("image_column"),
        label_column=columns.get("label_column"),
        columns_needed=bool(columns),
    )
    found = check_front(bundle, load_dataset(data, how=how), bits=bits, seed=seed)
    if json:
        print_json(dataclasses.asdict(found) | {"advice": found.advice})
        return
    rows = [
        ("this front", f"{found.probe_accuracy:.3f}", human_bytes(found.bytes_per_image)),
        ("a random front", f"{found.random_front_accuracy:.3f}", "-"),
        ("raw pixels", f"{found.pixels_accuracy:.3f}", human_bytes(found.raw_bytes_per_image)),
        ("the compressed image", "-", human_bytes(found.compressed_bytes_per_image)),
    ]
    print_table((found.data, "linear probe", "an image"), rows)
    print_text(f"saturated entries: {found.saturated_fraction:.1%}")
    print_text(found.advice)
    if found.audited is not None:
        print_text(found.audited)
