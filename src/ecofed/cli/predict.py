"""``ecofed predict``: the classes of new images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecofed.cli.output import print_json, print_table
from ecofed.cli.shared import add_command

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors, or the run folder that holds it.")]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGE|FOLDER", help="Image files, and folders of them.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def register(app: typer.Typer) -> None:
    add_command(app, "predict", predict, "ecofed predict runs/quickstart/ecofed photo1.png photos/")


def predict(model: Model, images: Images, json: Json = False) -> None:
    """Name the most likely class of each image, with its probability.

    Of a folder every picture is asked about, those in its sub-folders too; what is left out is said.
    """
    from ecofed.runs.prediction import predict as predicted

    predictions = predicted(model, images)
    if json:
        print_json([prediction.to_dict() for prediction in predictions])
    else:
        rows = [(str(p.image), p.label, f"{p.probability:.3f}") for p in predictions]
        print_table(("image", "class", "probability"), rows)
