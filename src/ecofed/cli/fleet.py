"""``ecofed fleet``: what a deployed fleet needs, and a whole fleet on one machine to try."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from ecofed.cli.commands import COMMANDS, Group, example
from ecofed.cli.output import print_json, print_text
from ecofed.cli.shared import Json, Sets, add_command, named_path, need_torch, settings_of
from ecofed.cli.streams import say
from ecofed.errors import EcoFedError, MissingExtraError
from ecofed.files.disk import write_text
from ecofed.fleet.folder import MOST_DEVICES, MOST_SECONDS, PORT, Plan, make_fleet

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Where to write.", parser=named_path)]
Hosts = Annotated[
    list[str],
    typer.Option(
        "--host",
        metavar="NAME",
        help="Name or address under which devices reach the server; repeatable, the first is used.",
    ),
]
Devices = Annotated[int, typer.Option("--devices", metavar="N", min=0, max=MOST_DEVICES, help="How many devices.")]
Worker = Annotated[
    Literal["auto", "onnx", "torch"],
    typer.Option("--worker", help="What devices compute with; auto: PyTorch where it is installed."),
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode="rich")
    add_command(group, "init", init, "ecofed fleet init fleet --host superlink.example.org --devices 4 --worker onnx")
    add_command(group, "try", try_, "ecofed fleet try --out runs/fleet", "ecofed fleet try quickstart --worker onnx")
    app.add_typer(
        group,
        name="fleet",
        help=COMMANDS["fleet"],
        epilog=example("ecofed fleet init fleet --host superlink.example.org --devices 4"),
    )


def init(
    folder: Folder,
    hosts: Hosts,
    devices: Devices = 1,
    port: Annotated[int, typer.Option("--port", metavar="N", min=1, max=65535, help="Of the server.")] = PORT,
    environment: Annotated[
        str,
        typer.Option("--environment", metavar="PATH", help="Where packages are installed, on all machines."),
    ] = Plan.environment,
    data: Annotated[str, typer.Option("--data", metavar="PATH", help="On a device: its images.")] = Plan.data,
    worker: Worker = "auto",
    start_within: Annotated[
        int,
        typer.Option("--start-within", metavar="SECONDS", min=0, max=MOST_SECONDS, help="Spread the devices' starts."),
    ] = Plan.start_within,
    json: Json = False,
) -> None:
    """Write certificates and keys, services, a container file, Flower's app, and what to do with them.

    The server gets a certificate, every device a key of its own. The same command with a larger --devices adds devices;
    what is there is checked and kept. DIR/README.md has the commands for each machine.
    """
    if find_spec("cryptography") is None:
        raise MissingExtraError("cryptography", "fleet", "ecofed fleet init")
    plan = Plan(
        hosts=tuple(hosts),
        devices=devices,
        port=port,
        environment=environment,
        data=data,
        worker=worker,
        start_within=start_within,
    )
    made = make_fleet(folder, plan)
    if json:
        print_json({"written": made.written, "kept": made.kept})
        return
    for name in made.kept:
        say(f"{folder / name} is there with another content, and stays as it is")
    print_text(f"{folder}: {len(made.written)} files written; {folder / 'README.md'} says what to do with them")
    print_text(f"Keep {folder / 'certificates' / 'ca.key'} to yourself.")


def try_(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="PRESET|FILE.toml",
            help="What to train; default: a few minutes' work; photos-trial: on photographs.",
        ),
    ] = None,
    sets: Sets = None,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Results, keys, logs; an earlier fleet's stay.", parser=named_path),
    ] = Path("runs/fleet"),
    worker: Worker = "auto",
    minutes: Annotated[float, typer.Option("--minutes", metavar="X", min=0.1, help="Give up after this long.")] = 6,
) -> None:
    """Run a server and its devices on this machine, with TLS and authentication, and train over them.

    Then the same is trained in process and compared: ledger, accuracy, and the trained weights bit for bit.
    """
    need_torch("ecofed fleet try")
    if find_spec("flwr") is None:
        raise MissingExtraError("flwr", "flower", "ecofed fleet try")
    from importlib import metadata
    from importlib.resources import files

    from ecofed.fleet.machine import NAME, Fleet, unused_folder
    from ecofed.fleet.versions import untested
    from ecofed.reports.files import read_result
    from ecofed.runs.experiment import run as train

    if (line := untested(metadata.version("flwr"))) is not None:
        say(line)
    if source in (None, "photos-trial"):
        source = str(files("ecofed.fleet") / ("trial.toml" if source is None else "trial-photos.toml"))
    assert source is not None
    settings = settings_of(source, sets or ())
    config = settings.for_method(settings.method)
    folder = unused_folder(out.resolve())
    if folder != out.resolve():
        say(f"{out} holds an earlier fleet, which stays; this one goes to {folder}")
    flower, local = folder / "flower", folder / "in-process"
    started = time.monotonic()
    preset = source if not Path(source).is_file() else str(Path(source).resolve())
    with Fleet(folder, config.devices) as fleet:
        fleet.register(*(fleet.certificates / f"device-{device}.pub" for device in range(config.devices)))
        for device in range(config.devices):
            fleet.add_device(device, config=f'worker="{worker}"')
        say(f"SuperLink and {config.devices} SuperNodes are up after {time.monotonic() - started:.0f} s")
        run = fleet.run(preset, flower, sets=" ".join(sets or ()))
        try:
            state = fleet.wait(run, minutes * 60 - (time.monotonic() - started))
        finally:
            log = fleet.flwr("log", str(run), NAME, "--show")
            write_text(folder / "logs" / "run.log", log)
    if not (flower / "result.json").exists():
        lines = ["", *(line for line in log.splitlines() if "rror" in line)]
        last = next((line for line in lines if line.startswith("error: ")), lines[-1])
        raise EcoFedError(f"Flower says '{state['status']}'; {last}; see {folder / 'logs'}")
    say(f"trained over Flower after {time.monotonic() - started:.0f} s")
    train(config, out=local, report=False)
    results = [read_result(place) for place in (flower, local)]
    checks = {
        "same ledger": results[0].ledger == results[1].ledger,
        "same accuracy": results[0].totals.final_test_accuracy == results[1].totals.final_test_accuracy,
        "same weights, bit for bit": _same_weights(flower, local),
    }
    ours = results[0].total_bytes
    print_text(f"accuracy {results[0].totals.final_test_accuracy:.4f}; ledger {ours:,} bytes")
    traffic = state.get("network-traffic", {}).get("total-bytes", 0)
    print_text(f"Flower's own count, framing included: {traffic:,} bytes, {100 * (traffic / ours - 1):.2f} % more")
    for name, good in checks.items():
        print_text(f"{name} as in process: {'yes' if good else 'NO'}")
    print_text(f"Report: {flower / 'report.html'}   ({time.monotonic() - started:.0f} s in all)")
    if not all(checks.values()):
        raise EcoFedError(f"what was trained over Flower differs from the same in process; see {folder}")


def _same_weights(one: Path, other: Path) -> bool:
    """Whether two trained networks are equal bit for bit."""
    from safetensors.numpy import load_file

    weights = [load_file(folder / "model.safetensors") for folder in (one, other)]
    return weights[0].keys() == weights[1].keys() and all(
        weights[0][name].tobytes() == weights[1][name].tobytes() for name in weights[0]
    )
