"""``ecofed evaluate``: a trained network on a data set's test images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecofed.cli.output import print_json, print_paragraph, print_table, print_text
from ecofed.cli.shared import add_command, need_torch

if TYPE_CHECKING:
    from ecofed.results.scores import DeviceScores, Scores

#: Devices that are listed.
MOST_DEVICES = 20

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors, or the run folder that holds it.")]
Data = Annotated[
    str | None, typer.Option("--data", metavar="NAME|PATH", help="Default: the data set the network was trained on.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="data.label_column or data.image_column: the columns of these data, if not those of the network's own; "
        "repeatable.",
    ),
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


def evaluate(model: Model, data: Data = None, sets: Sets = None, json: Json = False) -> None:
    """Accuracy and loss of a trained network on all test images of a data set: in all, by class, by how sure it is."""
    need_torch("ecofed evaluate")
    from ecofed.runs.evaluating import evaluate as evaluated

    result = evaluated(model, data, sets or ())
    if json:
        print_json(result.to_dict())
        return
    if result.loss is not None:
        found = f"accuracy {result.accuracy:.4f}  loss {result.loss:.4f}"
        print_text(f"{found}  {result.samples:,} test images of {result.data}")
        print_scores(result.classes, result.scores)
    for title, scores in result.of_devices.items():
        print_text(f"accuracy {scores.accuracy or 0:.4f}  {scores.samples:,} {title}, as the run found")
        print_scores(result.classes, scores)


def print_scores(classes: Sequence[str], scores: Scores) -> None:
    """How far to trust an accuracy, and what it hides: classes, and devices where they are known."""
    print_paragraph(surety(scores))
    print_table(("class", "images", "accuracy", "otherwise mostly"), class_rows(classes, scores))
    if (own := scores.devices) is not None:
        most = f"; the {MOST_DEVICES} worst, all are in --json" if len(own.devices) > MOST_DEVICES else ""
        print_paragraph(
            f"among {len(own.devices):,} devices: worst tenth {own.worst_tenth:.4f}, median "
            f"{own.quantiles['0.5']:.4f}, mean {own.mean:.4f}, deviation {own.deviation:.4f}{most}"
        )
        print_table(("device", "images", "accuracy", "95 % interval"), device_rows(own))


def surety(scores: Scores) -> str:
    """How far to trust the accuracy, and the network's own confidence."""
    sure = "" if scores.calibration is None else f"; calibration error {scores.calibration.error:.3f}"
    return f"95 % interval {scores.low or 0:.4f} to {scores.high or 0:.4f} for so many images{sure}"


def device_rows(own: DeviceScores) -> list[tuple[str, str, str, str]]:
    """The worst devices first: number, images, accuracy, and its interval for so few images."""
    from ecofed.results.scores import interval

    order = sorted(range(len(own.devices)), key=lambda at: own.accuracy[at])[:MOST_DEVICES]
    ends = [interval(right, samples) for right, samples in zip(own.right, own.samples, strict=True)]
    return [
        (str(own.devices[at]), f"{own.samples[at]:,}", f"{own.accuracy[at]:.3f}", "{:.3f} to {:.3f}".format(*ends[at]))
        for at in order
    ]


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
