"""``ecofed plan``: what a run would cost, before anything is trained."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecofed.cli.compare import Methods, method_names
from ecofed.cli.output import print_json, print_paragraph, print_table, print_text
from ecofed.cli.shared import Sets, Source, add_command, make_folder, named_path, say_what_changes_nothing, settings_of
from ecofed.files.replacing import refuse_strange
from ecofed.reports.units import human_bytes, human_seconds

if TYPE_CHECKING:
    from ecofed.planning.answer import Plan
    from ecofed.planning.method_plan import MethodPlan

Json = Annotated[bool, typer.Option("--json", help="Print the plan as JSON on stdout.")]
EveryLayer = Annotated[bool, typer.Option("--every-layer", help="Plan cuts inside blocks too.")]
Plots = Annotated[
    Path | None,
    typer.Option("--plots", metavar="DIR", help="Write plan.png and timeline.png there.", parser=named_path),
]

COLUMNS = (
    *("cut", "method", "device FLOPs", "device memory", "up a round", "down a round", "per device", "time a round"),
    *("server computes", "energy", "replay buffer", "leakage"),
)


def register(app: typer.Typer) -> None:
    add_command(
        app,
        "plan",
        plan,
        "ecofed plan quickstart",
        "ecofed plan paper-vgg11-cifar10 --set clock.device=raspberry-pi-3:2,raspberry-pi-5 --set clock.link=wifi",
    )


def plan(
    source: Source = None,
    methods: Methods = None,
    sets: Sets = None,
    every_layer: EveryLayer = False,
    plots: Plots = None,
    json: Json = False,
) -> None:
    """Predict bytes, time, memory and energy of every method at every cut, and recommend settings. Nothing is trained.

    Devices, links and server are those that the keys clock.device, clock.link and clock.server name; 'ecofed profile
    --list' lists the shipped profiles. Bytes are those of the real run with the same seed, to the byte.
    """
    if plots is not None:
        make_folder(plots, "--plots")
        refuse_strange(*(plots / name for name in ("plan.png", "timeline.png")), option="--plots")
    settings = settings_of(source, sets or ())
    names = method_names(methods, settings)
    gc.disable()  # PyTorch's import and a plan make many small objects, hardly one of them in a circle
    try:
        from ecofed.planning.planner import plan as make_plan

        say_what_changes_nothing(settings, names)
        result = make_plan(settings, names, every_layer=every_layer)
    finally:
        gc.enable()
    if json:
        print_json(result.to_dict())
    else:
        _print(result)
    if plots is not None:
        from ecofed.reports.plots.plan import write_plan_plots

        rows = [
            {
                "method": row.method,
                "cut": row.cut,
                "position": result.cuts.index(row.cut),
                "seconds_per_round": row.seconds_per_round,
                "bytes_per_round": row.uplink_bytes_per_round + row.downlink_bytes_per_round,
            }
            for row in result.methods
        ]
        written = write_plan_plots(rows, {row.method: row.timeline for row in result.at_cut}, plots)
        if not json:
            for path in written:
                print_text(path)


def _print(result: Plan) -> None:
    fleet = ", ".join(result.devices.values())
    print_paragraph(f"devices: {fleet}; link: {', '.join(result.links.values())}; server: {result.server}")
    print_table(COLUMNS, [_cells(row) for row in result.methods], keys=2)
    for text in [*_misfits(result), *_early(result), *_deliveries(result), *result.notes]:
        print_paragraph(f"note: {text}", hanging=2)
    if result.recommendation is not None:
        best = result.recommendation
        print_text(f"recommended: {' '.join(f'--set {key}={value}' for key, value in best.changes.items())}")
        for reason in best.reasons:
            print_paragraph(reason, indent=2)


def _cells(row: MethodPlan) -> tuple[str, ...]:
    return (
        row.cut if row.cuts_network else "-",
        row.method,
        _flops(row.device_flops) + ("" if row.trains_on_device else " (no training)"),
        human_bytes(row.peak_device_bytes) + (" (does not fit)" if row.does_not_fit else ""),
        human_bytes(row.uplink_bytes_per_round),
        human_bytes(row.downlink_bytes_per_round),
        human_bytes(row.bytes_per_device_round),
        human_seconds(row.seconds_per_round),
        human_seconds(row.server_seconds_per_round),
        "-" if row.joules_per_round is None else f"{row.joules_per_round:,.0f} J",
        human_bytes(row.replay_bytes) if row.replay_bytes else "-",
        "-" if row.leakage_ssim is None else f"{row.leakage_ssim:.2f}",
    )


def _flops(count: float) -> str:
    return f"{count / 1e9:,.1f} G" if count < 1e12 else f"{count / 1e12:,.1f} T"


def _early(result: Plan) -> list[str]:
    """Which devices stop before the cut."""
    stops = [(name, dict.fromkeys(cuts)) for row in result.at_cut for name, cuts in row.early_cuts.items()]
    return [f"{result.devices[name]} stops at {', '.join(cuts)}; the server runs the rest" for name, cuts in stops]


def _deliveries(result: Plan) -> list[str]:
    """What comes after the last round."""
    lines = [
        f"{row.method} {human_bytes(row.delivery_bytes)} each, {human_seconds(row.delivery_seconds)} for all"
        for row in result.at_cut
        if row.delivery_bytes
    ]
    told = "after the last round the trained network goes to every device, which is in no figure of a round"
    return [f"{told}: {'; '.join(lines)}"] if lines else []


def _misfits(result: Plan) -> list[str]:
    """Who cannot take part in what, and why."""
    lines = []
    for row in result.at_cut:
        doing = row.method if not row.cuts_network else f"{row.method} at {row.cut}"
        for name in row.does_not_fit:
            need = human_bytes(row.peak_device_bytes)
            lines.append(f"{result.devices[name]} has too little memory for {doing}, which needs {need}")
    return lines
