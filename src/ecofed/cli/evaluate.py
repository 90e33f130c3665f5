"""``ecofed evaluate``: a trained network on a data set's test images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecofed.cli.output import print_json, print_paragraph, print_table, print_text
from ecofed.cli.shared import add_command, need_torch

if TYPE_CHECKING:
    from ecofed.results.scores import Scores

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
    """Accuracy and loss of a trained network on all test images of a data set: in all, by class, by how sure it is."""
    need_torch("ecofed evaluate")
    from ecofed.runs.saved_model import evaluate as evaluated

    result = evaluated(model, data)
    if json:
        print_json(result.to_dict())
        return
    print_text(
        f"accuracy {result.accuracy:.4f}  loss {result.loss:.4f}  {result.samples:,} test images of {result.data}"
    )
    print_paragraph(surety(result.scores))
    print_table(("class", "images", "accuracy", "otherwise mostly"), class_rows(result.classes, result.scores))


def surety(scores: Scores) -> str:
    """How far to trust the accuracy, and the network's own confidence."""
    sure = "" if scores.calibration is None else f"; calibration error {scores.calibration.error:.3f}"
    return f"95 % interval {scores.low or 0:.4f} to {scores.high or 0:.4f} for so many images{sure}"


def class_rows(classes: Sequence[str], scores: Scores) -> list[tuple[str, str, str, str]]:
    """Of each class that has images, the worst first: its name, images, accuracy, and what it is mostly taken for."""
    present = [at for at, count in enumerate(scores.class_samples) if count]
    rows = []
    for at in sorted(present, key=lambda at: scores.class_accuracy[at] or 0.0):
        wrong = list(scores.confusion[at]) if scores.confusion else [0]
        if scores.confusion:
            wrong[at] = 0
        most = max(wrong)
        taken_for = f"{classes[wrong.index(most)]} ({most:,})" if most else "-"
        count, share = scores.class_samples[at], scores.class_accuracy[at] or 0.0
        rows.append((classes[at], f"{count:,}", f"{share:.3f}", taken_for))
    return rows
