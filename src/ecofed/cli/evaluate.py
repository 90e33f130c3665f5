"""``ecofed evaluate``: a trained network on a data set's test images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import ecofed
from ecofed.cli.output import print_json, print_text
from ecofed.cli.shared import add_command

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors, or the run folder that holds it.")]
Data = Annotated[
    str | None, typer.Option("--data", metavar="NAME|PATH", help="Default: the data set the network was trained on.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "evaluate",
        evaluate,
        "ecofed evaluate runs/quickstart/ecofed",
        "ecofed evaluate runs/quickstart/ecofed/model.safetensors --data ./my-images",
    )


def evaluate(model: Model, data: Data = None, json: Json = False) -> None:
    """Accuracy and loss of a trained network on all test images of a data set."""
    result = ecofed.evaluate(model, data)
    if json:
        print_json(result.to_dict())
    else:
        print_text(
            f"accuracy {result.accuracy:.4f}  loss {result.loss:.4f}  {result.samples:,} test images of {result.data}"
        )
