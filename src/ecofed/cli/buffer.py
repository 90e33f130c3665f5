"""``ecofed buffer``: what a finished run's folder keeps of its devices' uploads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecofed.cli.output import print_json, print_table, print_text
from ecofed.cli.shared import Json, add_command

if TYPE_CHECKING:
    from ecofed.runs.kept_buffer import KeptBuffer

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run that keeps its buffer.")]
COLUMNS = ("device", "views", "samples", "bytes", "round", "age", "classes")


def register(app: typer.Typer) -> None:
    add_command(app, "buffer", buffer, "ecofed buffer runs/first", "ecofed buffer runs/first --json")


def buffer(run: Run, json: Json = False) -> None:
    """List what a run keeps (keep_buffer=true): devices, classes, samples, bytes, and how old they are.

    'round' is the one in which a device's latest upload came, 'age' how many rounds the run went on after it.
    """
    from ecofed.runs.kept_buffer import open_buffer

    kept = open_buffer(run)
    found = listing(kept)
    if json:
        print_json(found, indent=1)
        return
    rows = []
    for one in found["devices"]:
        held = " ".join(f"{name}:{count}" for name, count in one["classes"].items())
        known = one["round"] is not None
        figures = (one["device"], one["views"], f"{one['samples']:,}", f"{one['bytes']:,}")
        rows.append([*map(str, figures), *((str(one["round"]), str(one["age"])) if known else ("?", "?")), held])
    print_table(COLUMNS, rows)
    print_text(
        f"{found['samples']:,} samples of {len(rows)} devices, {found['bytes']:,} bytes; "
        f"front {kept.origin.front_id[:12]}, buffer {found['digest'][:12]}"
    )
    for device, samples in kept.origin.forgotten.items():
        print_text(f"forgotten: device {device}" + (f", {len(samples)} samples" if samples else ""))


def listing(kept: KeptBuffer) -> dict[str, Any]:
    """The same for programs."""
    rounds, devices = kept.origin.before + kept.config.rounds, []
    names, totals = kept.origin.classes, [0] * len(kept.origin.classes)
    sizes = {key: path.stat().st_size for key, path in kept.buffer.files.items()}
    for device in kept.buffer.devices:
        views, counts = kept.buffer.views_of(device), kept.label_counts(device)
        came = kept.origin.rounds.get((device, max(views)), 0) or None
        totals = [before + int(count) for before, count in zip(totals, counts, strict=True)]
        devices.append(
            {
                "device": device,
                "views": len(views),
                "samples": sum(map(len, views.values())),
                "bytes": sum(sizes[device, view] for view in views),
                "round": came,
                "age": None if came is None else rounds - came,
                "classes": {name: int(count) for name, count in zip(names, counts, strict=True) if count},
            }
        )
    return {
        "run": str(kept.run),
        "front_id": kept.origin.front_id,
        "digest": kept.digest(),
        "rounds": rounds,
        "samples": len(kept.buffer),
        "bytes": kept.bytes,
        "classes": dict(zip(names, totals, strict=True)),
        "devices": devices,
        "forgotten": {str(device): samples for device, samples in kept.origin.forgotten.items()},
    }
