"""``ecofed export``: fronts and trained networks for devices without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecofed.cli.commands import COMMANDS, Group, example
from ecofed.cli.output import print_text
from ecofed.cli.shared import (
    Overwrite,
    Sets,
    Source,
    add_command,
    check_file,
    make_folder,
    named_path,
    need_torch,
    settings_of,
)
from ecofed.config.methods import OURS
from ecofed.files.replacing import refuse_existing

Folder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.", parser=named_path)]
File = Annotated[Path, typer.Option("--out", metavar="FILE.onnx", help="File to write.", parser=named_path)]
Int8 = Annotated[bool, typer.Option("--int8", help="Weights in 8 bits: a quarter of the size.")]
Model = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or its model.safetensors.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode="rich")
    add_command(group, "front", front, "ecofed export front quickstart --out device")
    add_command(group, "network", network, "ecofed export network runs/quickstart/ecofed --out network.onnx")
    app.add_typer(
        group,
        name="export",
        help=COMMANDS["export"],
        epilog=example("ecofed export front quickstart --out device"),
    )


def front(
    source: Source = None,
    sets: Sets = None,
    out: Folder = Path("device"),
    int8: Int8 = False,
    overwrite: Overwrite = False,
) -> None:
    """Write what a device needs before a run: the front as ONNX, its constants, the task, checksums.

    With --int8 the weights are rounded: that is another front, and the run must use it too; the last line says how.
    """
    need_torch("ecofed export")
    from ecofed.onnx.device_bundle import DEVICE_FILES
    from ecofed.runs.exporting import export_front

    make_folder(out)
    refuse_existing(*(out / name for name in DEVICE_FILES), overwrite=overwrite)
    config = settings_of(source, sets or ()).for_method(OURS)
    exported = export_front(config, out, lambda text: print_text(f"note: {text}"), int8=int8)
    print_text(f"{out}: front {exported.front_id}, {len(exported.front):,} bytes of ONNX")
    if int8:
        print_text(f"train with: --set front.name={out / 'front.safetensors'}")


def network(run: Model, out: File = Path("network.onnx"), int8: Int8 = False, overwrite: Overwrite = False) -> None:
    """Write a trained network, front and back in one, for 'ecofed predict' on a device."""
    need_torch("ecofed export")
    from ecofed.runs.exporting import export_network

    check_file(out)
    refuse_existing(out, overwrite=overwrite)
    print_text(f"{out}: {export_network(run, out, int8=int8):,} bytes")
