"""The tables of docs/results-time.md: time of a round, and time to an accuracy, by the simulated clock.

    python benchmarks/simulated_time.py                              the table of rounds (nothing is trained)
    python benchmarks/simulated_time.py runs/a runs/b --target 0.5   and the times to an accuracy of these runs

A run is a folder with a ``result.json``; its accuracies are the run's, its time is worked out for every link.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ecofed.config import PAPER_METHODS, Config, Settings
from ecofed.costs.plan import MethodPlan
from ecofed.costs.profiles import load_link, load_server
from ecofed.planning import plan_run
from ecofed.reports import read_result
from ecofed.reports.units import human_bytes, human_seconds, times
from ecofed.results import RunResult

PAGE = Path(__file__).parents[1] / "docs" / "results-time.md"
PRESET = "paper-vgg11-cifar10"
DEVICE = "raspberry-pi-4"
LINKS = ("ten-mbit", "4g", "4g-plus", "wifi")
SERVERS = ("two-core", "workstation", "data-centre-gpu")
#: Ours beside the paper's: the same network and devices, our defaults for everything that is EcoFed's.
DEFAULTS = (
    *("ecofed.codec=uniform", "ecofed.bits=4", "ecofed.server=pooled", "ecofed.front_delivery=download"),
    "normalisation=frozen",
)


def main(
    runs: Annotated[list[Path] | None, typer.Argument(help="Folders with a result.json.")] = None,
    target: Annotated[list[float] | None, typer.Option(help="Test accuracy to reach; repeatable.")] = None,
) -> None:
    """Write the tables into docs/results-time.md."""
    page = PAGE.read_text(encoding="utf-8")
    page = _replaced(page, "rounds", rounds_table())
    page = _replaced(page, "servers", servers_table())
    if runs:
        results = [read_result(folder) for folder in runs]
        page = _replaced(page, "targets", targets_table(results, target or [0.5]))
    PAGE.write_text(page, encoding="utf-8")
    print(PAGE)


def variants() -> dict[str, Config]:
    """The rows: the five methods as in the paper, then our settings of ecofed."""
    paper = Settings.load(PRESET)
    rows = {method: paper.for_method(method) for method in PAPER_METHODS}
    rows["ecofed (paper)"] = rows.pop("ecofed")
    return rows | {"ecofed (our defaults)": Settings.load(PRESET, DEFAULTS).for_method("ecofed")}


def on(config: Config, link: str, server: str = "workstation") -> MethodPlan:
    """The plan of a run over this link."""
    return plan_run(config.replace(clock__device=DEVICE, clock__link=link, clock__server=server))


def rounds_table() -> str:
    """Time of a round for every method and link."""
    plans = {label: {link: on(config, link) for link in LINKS} for label, config in variants().items()}
    classic, vanilla = plans["classic-fl"]["4g"], plans["vanilla-dpfl"]["4g"]
    head = ["method", *(load_link(link).title for link in LINKS), "4G against classic-fl", "4G against vanilla-dpfl"]
    rows = []
    for label, row in plans.items():
        seconds = row["4g"].seconds_per_round
        cells = [human_seconds(row[link].seconds_per_round) for link in LINKS]
        ratios = [times(other.seconds_per_round / seconds) for other in (classic, vanilla)]
        rows.append([label, *cells, *ratios])
    return _markdown(
        [*head, "bytes per device and round", "energy per round"],
        [
            [*row, human_bytes(plan["4g"].bytes_per_device_round), f"{plan['4g'].joules_per_round:,.0f} J"]
            for row, plan in zip(rows, plans.values(), strict=True)
        ],
    )


def servers_table() -> str:
    """Time of a round over 4G with every server."""
    head = ["method", *(load_server(server).title for server in SERVERS)]
    rows = []
    for label, config in variants().items():
        plans = [on(config, "4g", server) for server in SERVERS]
        rows.append([label, *(_with_server(plan) for plan in plans)])
    return _markdown(head, rows)


def targets_table(results: list[RunResult], targets: list[float]) -> str:
    """Time to the first evaluation at or above each accuracy, over every link; baselines come first."""
    names = [load_link(link).title for link in LINKS]
    head = [
        "run",
        "accuracy at the end",
        "target",
        "rounds",
        *names,
        "4G against classic-fl",
        "4G against vanilla-dpfl",
    ]
    rows = []
    reference: dict[tuple[str, float], float] = {}
    """Seconds over 4G of the first run of a method, by target."""
    for result in results:
        config = Config.from_dict(result.config)
        configs = {_label(config): config}
        if config.method == "classic-fl":
            # SplitFed v1 averages the same gradients in two places: round for round the same accuracy.
            split = config.replace(method="vanilla-dpfl")
            configs[f"{_label(split)} (accuracies of classic-fl)"] = split
        for label, one in configs.items():
            seconds = [on(one, link).seconds_per_round for link in LINKS]
            for target in targets:
                reached = next((r.round for r in result.rounds if (r.test_accuracy or 0) >= target), None)
                cells = ["never" if reached is None else human_seconds(reached * each) for each in seconds]
                final = f"{result.totals.final_test_accuracy:.3f}"
                ratios = ["-", "-"]
                if reached is not None:
                    mine = reached * seconds[LINKS.index("4g")]
                    reference.setdefault((one.method, target), mine)
                    others = [reference.get((method, target)) for method in ("classic-fl", "vanilla-dpfl")]
                    ratios = ["-" if other is None else times(other / mine) for other in others]
                rows.append([label, final, f"{target:g}", str(reached or "-"), *cells, *ratios])
    return _markdown(head, rows)


def _with_server(plan: MethodPlan) -> str:
    share = plan.server_seconds_per_round / plan.seconds_per_round
    return f"{human_seconds(plan.seconds_per_round)} (server computes {share:.0%})"


def _label(config: Config) -> str:
    extra = ""
    if config.method == "ecofed":
        extra = f" ({config.ecofed.front}, {config.ecofed.bits} bits, {config.ecofed.refresh})"
    model = f"{config.model.name} x {config.model.width:g}, {config.data.name} {config.data.partition}"
    return f"{config.method}{extra}: {model}"


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _replaced(page: str, name: str, table: str) -> str:
    pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
    return re.sub(pattern, lambda match: f"{match[1]}{table}\n{match[2]}", page, flags=re.DOTALL)


if __name__ == "__main__":
    typer.run(main)
