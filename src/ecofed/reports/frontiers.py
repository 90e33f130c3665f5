"""``frontier.json``: the points of a sweep of bytes against accuracy, each a run in a folder of its own."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ecofed.errors import EcoFedError
from ecofed.errors.foreign_text import LONGEST_NAME, cleaned
from ecofed.files.json_values import Amount, Count, Fraction, read_as
from ecofed.reports.files import read_file, read_result
from ecofed.reports.plots.frontier import PlottedPoint, write_frontier_plot
from ecofed.results import Comparison

FRONTIER_FILE = "frontier.json"
PLOT_FILE = "frontier.png"
SCHEMA = "ecofed-frontier/1"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run of the sweep, by its figures."""

    label: str
    method: str
    final_test_accuracy: Fraction
    total_bytes: Count
    bytes_per_device: Amount
    """Both directions, over the whole training, mean over all devices."""
    uplink_bytes_per_device: Amount
    images_leave_device: bool
    efficient: bool = False
    """No other point has at least its accuracy for fewer bytes."""
    result: str
    """Where its ``result.json`` lies, below the sweep's folder."""

    def __post_init__(self) -> None:
        for name in ("label", "method"):
            object.__setattr__(self, name, cleaned(getattr(self, name), LONGEST_NAME))


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """A finished sweep; ``frontier.json``."""

    points: list[Point]
    raw_image_bytes_per_device: Amount
    compressed_image_bytes_per_device: Amount | None
    notes: list[str]
    schema: str = SCHEMA

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", cleaned(self.notes))

    def to_dict(self) -> dict[str, Any]:
        return {"schema": self.schema, **asdict(self)}


def holds_frontier(folder: str | Path) -> bool:
    """Whether a folder holds a finished sweep."""
    return os.path.isfile(Path(folder) / FRONTIER_FILE)


def read_frontier(folder: str | Path) -> tuple[Frontier, Comparison]:
    """The sweep in a folder, and its runs.

    Raises:
        EcoFedError: a file is missing or malformed, or lies outside of the folder.
    """
    file = Path(folder) / FRONTIER_FILE
    try:
        found: Frontier = read_as(Frontier, read_file(file, SCHEMA))
        if not found.points:
            raise ValueError("'points' is empty")
    except ValueError as error:
        raise EcoFedError(f"{file}: {error}") from error
    places = [PurePosixPath(point.result) for point in found.points]
    strange = next((place for place in places if place.is_absolute() or ".." in place.parts), None)
    if strange is not None:
        raise EcoFedError(f"{file}: 'points' must hold paths inside this folder, not '{strange}'")
    runs = [read_result(Path(folder) / place) for place in places]
    names = [point.label for point in found.points]
    return found, Comparison(results=runs, command=runs[0].command, notes=found.notes, names=names)


def plot_frontier(made: Frontier, folder: Path) -> None:
    """Write ``frontier.png``.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    marks = [("every image once (raw)", made.raw_image_bytes_per_device)]
    if made.compressed_image_bytes_per_device is not None:
        marks.append(("every image once (compressed)", made.compressed_image_bytes_per_device))
    points = [
        PlottedPoint(
            label=point.label.removeprefix("ecofed "),
            method=point.method,
            bytes_per_device=point.bytes_per_device,
            accuracy=point.final_test_accuracy,
            efficient=point.efficient,
        )
        for point in made.points
    ]
    write_frontier_plot(points, marks, folder / PLOT_FILE)
