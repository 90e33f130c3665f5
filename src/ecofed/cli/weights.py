"""``ecofed weights``: the published weights of a backbone as a file, under this program's names for its layers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecofed.cli.output import print_text
from ecofed.cli.shared import Overwrite, add_command, check_file, named_path, need_torch
from ecofed.config.problem import ModelConfig
from ecofed.errors import ConfigError
from ecofed.files.disk import json_text, write_bytes
from ecofed.files.replacing import refuse_existing

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A backbone: efficientnet-lite0, or timm:NAME.")]
Source = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="published|auto|FILE",
        help="'published': the installed package, or timm's hub; 'auto': what 'model.weights' takes unless told "
        "otherwise; or a file (safetensors, or PyTorch's with plain tensors).",
    ),
]
Int8 = Annotated[
    bool,
    typer.Option(
        "--int8", help="Convolutions in 8 bits with a scale for each output channel, without the last layer: a quarter."
    ),
]
File = Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write.", parser=named_path)]


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "weights",
        weights,
        "ecofed weights efficientnet-lite0 --out lite0.safetensors",
        "ecofed run quickstart --set model.name=efficientnet-lite0 --set model.weights=lite0.safetensors",
        "ecofed weights timm:mobilenetv3_small_100 --int8 --out mobilenet.safetensors",
    )


def weights(
    model: Model,
    source: Source = "published",
    int8: Int8 = False,
    out: File = Path("weights.safetensors"),
    overwrite: Overwrite = False,
) -> None:
    """Convert a backbone's published weights into one safetensors file, for machines that cannot fetch them.

    The file is what 'model.weights' takes.
    """
    need_torch("converting weights")
    from ecofed.files.tensor_files import pack
    from ecofed.pretraining.int8_weights import pack_int8, without_last
    from ecofed.pretraining.published import published_weights

    config = ModelConfig(name=model, weights=source)
    if not config.is_backbone:
        raise ConfigError(f"{model}: nobody published weights of it; choose efficientnet-lite0 or timm:NAME")
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out {out}: must end in .safetensors")
    check_file(out)
    refuse_existing(out, overwrite=overwrite)
    found = published_weights(config, 3)
    arrays = found.arrays
    if int8:
        arrays = without_last(arrays)
        content = pack_int8(arrays, model=model, origin=found.origin, licence=found.licence)
    else:
        described = {"weights": model, "origin": found.origin, "mean": found.mean, "std": found.std}
        content = pack(arrays, json_text(described))
    write_bytes(out, content)
    print_text(f"{out}: {sum(array.size for array in arrays.values()):,} numbers, {len(content):,} bytes")
