"""``ecofed profile``: measure this machine, or list the profiles there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecofed.cli.output import print_json, print_table, print_text
from ecofed.cli.shared import Overwrite, add_command, check_file, named_path
from ecofed.errors import ConfigError
from ecofed.files.disk import write_text
from ecofed.files.replacing import refuse_existing

if TYPE_CHECKING:
    from ecofed.costs.profiles import Link, Machine

Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE.toml", help="Write the profile there.", parser=named_path)
]
Accelerator = Annotated[str, typer.Option("--accelerator", metavar="cpu|cuda", help="What to measure.")]
Threads = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="PyTorch threads; default: as many as it takes.", min=1)
]
Listing = Annotated[bool, typer.Option("--list", help="List the shipped profiles of devices, servers and links.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "profile",
        profile,
        "ecofed profile --out here.toml",
        "ecofed plan quickstart --set clock.server=here.toml",
    )


def profile(
    out: Out = None,
    accelerator: Accelerator = "cpu",
    threads: Threads = None,
    listing: Listing = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Measure this machine: inference, training, memory, the cost of a call.

    The profile serves as clock.device or clock.server, in runs and plans. It takes about five seconds.
    """
    if listing:
        _list(json=json)
        return
    if accelerator not in ("cpu", "cuda"):
        raise ConfigError(f"--accelerator {accelerator}: must be cpu or cuda")
    from ecofed.planning.measure import measure, to_toml

    if out is not None:
        check_file(out)
        refuse_existing(out, overwrite=overwrite)
    machine = measure(out.stem if out is not None else "here", accelerator=accelerator, threads=threads)
    text = to_toml(machine)
    if out is not None:
        write_text(out, text)
    if json:
        print_json(_values(machine))
    elif out is not None:
        print_text(out)
    else:
        print_text(text.rstrip("\n"))


def _list(*, json: bool) -> None:
    from ecofed.costs.profiles import FOLDERS, load_device, load_link, load_server, profile_names

    load: dict[str, Callable[[str], Machine | Link]]
    load = {"devices": load_device, "servers": load_server, "links": load_link}
    profiles = [(folder, load[folder](name)) for folder in FOLDERS for name in profile_names(folder)]
    if json:
        print_json([{"kind": folder.removesuffix("s"), **_values(one)} for folder, one in profiles])
    else:
        print_table(
            ("kind", "name", "what", "figures"),
            [(folder.removesuffix("s"), one.name, one.title, _figures(one)) for folder, one in profiles],
            keys=2,
        )


def _values(profile: Machine | Link) -> dict[str, object]:
    return dict(vars(profile))


def _figures(one: Machine | Link) -> str:
    from ecofed.costs.profiles import Link

    if isinstance(one, Link):
        up, down = one.uplink_bits_per_second / 1e6, one.downlink_bits_per_second / 1e6
        return f"{up:g} up, {down:g} Mbit/s down, {1000 * one.latency_seconds:g} ms"
    infer, train = one.inference_flops_per_second / 1e9, one.training_flops_per_second / 1e9
    size, unit = (one.memory_bytes / 1e9, "GB") if one.memory_bytes >= 1e9 else (one.memory_bytes / 1e6, "MB")
    return f"{infer:g} GFLOP/s inference, {train:g} training, {size:g} {unit}"
