"""The tables of docs/results-time.md: time of a round, and time to an accuracy, by the simulated clock.

    python benchmarks/simulated_time.py

Nothing is trained: accuracies are those of the recorded runs (docs/results/runs.json, ``benchmarks/results.py``), and
their time is worked out for every link. Needs CIFAR-10 where ``ecofed data list`` finds it (entropy coding depends on
the images).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import mean
from typing import Any

from ecofed.config import Config, Settings
from ecofed.config.methods import PAPER_METHODS
from ecofed.costs.profiles import load_link, load_server
from ecofed.data import load_dataset
from ecofed.planning.method_plan import MethodPlan
from ecofed.planning.planner import plan_run
from ecofed.reports.units import human_bytes, human_seconds, times

RECORDS = Path(__file__).parents[1] / "docs" / "results" / "runs.json"
PAGE = Path(__file__).parents[1] / "docs" / "results-time.md"
PRESET = "paper-vgg11-cifar10"
DEVICE = "raspberry-pi-4"
LINKS = ("ten-mbit", "4g", "4g-plus", "wifi")
SERVERS = ("two-core", "workstation", "data-centre-gpu")
#: Ours beside the paper's: the same network and devices, our defaults for everything that is EcoFed's.
OURS = "paper-vgg11-cifar10-thrifty"
RECORDED = "cpu-vgg11-cifar10-skewed"
TARGETS = (0.4, 0.44)


def main() -> None:
    """Write the tables into docs/results-time.md."""
    load_dataset("cifar10")  # without the images the planner would give upper bounds
    page = PAGE.read_text(encoding="utf-8")
    page = _replaced(page, "rounds", rounds_table())
    page = _replaced(page, "servers", servers_table())
    page = _replaced(page, "targets", targets_table(json.loads(RECORDS.read_text(encoding="utf-8"))))
    PAGE.write_text(page, encoding="utf-8")
    print(PAGE)


def variants() -> dict[str, Config]:
    """The rows: the five methods as in the paper, then our settings of ecofed."""
    paper = Settings.load(PRESET)
    rows = {method: paper.for_method(method) for method in PAPER_METHODS}
    rows["ecofed (paper)"] = rows.pop("ecofed")
    return rows | {"ecofed (our defaults)": Settings.load(OURS).for_method("ecofed")}


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


def targets_table(records: dict[str, Any]) -> str:
    """Accuracy, and rounds, bytes and time to the first evaluation at or above each target; means over the seeds."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for name, record in records.items():
        if name.startswith(f"table-{RECORDED}-"):
            runs.setdefault(record["label"], []).append(record)
    head = [
        "method",
        "seeds",
        "accuracy at the end",
        "to",
        "rounds",
        "bytes",
        *(load_link(link).title for link in LINKS),
    ]
    head += ["bytes: classic-fl over these", "4G: classic-fl over these", "4G: vanilla-dpfl over these"]
    rows = []
    for target in TARGETS:
        costs = {label: [_cost(record, target) for record in own] for label, own in runs.items()}
        for label in sorted(runs, key=lambda label: (ORDER.index(label.partition(" ")[0]), label)):
            cells = [label, str(len(runs[label])), f"{mean(record['accuracy'] for record in runs[label]):.3f}"]
            found = [cost for cost in costs[label] if cost is not None]
            if len(found) < len(runs[label]):
                rows.append([*cells, f"{target:g}", f"in {len(found)} of {len(runs[label])} seeds", *["-"] * 8])
                continue
            rounds, size, seconds = (mean(cost[at] for cost in found) for at in (0, 1, 3))
            over = [human_seconds(mean(cost[2 + at] for cost in found)) for at in range(len(LINKS))]
            ratios = []
            for other, mine, at in (("classic-fl", size, 1), ("classic-fl", seconds, 3), ("vanilla-dpfl", seconds, 3)):
                # The baseline's faster learning rate, where it was run.
                rival = costs.get(f"{other} (learning rate 0.001)") or costs.get(other, [])
                theirs = [cost[at] for cost in rival if cost is not None]
                ratios.append(times(mean(theirs) / mine) if theirs else "-")
            rows.append([*cells, f"{target:g}", f"{rounds:.0f}", human_bytes(size), *over, *ratios])
    return _markdown(head, rows)


ORDER = (*PAPER_METHODS, "send-images", "closed-form")


def _method(sets: list[str]) -> str:
    """The method that ``--set`` words name."""
    return next((word.removeprefix("method=") for word in sets if word.startswith("method=")), "ecofed")


def _cost(record: dict[str, Any], target: float) -> tuple[float, ...] | None:
    """Rounds, bytes, and seconds over every link until a recorded run had this accuracy; ``None``: never."""
    reached = next(((round_, size) for round_, accuracy, size, _ in record["rounds"] if accuracy >= target), None)
    if reached is None:
        return None
    sets = re.findall(r"--set (\S+=\S+)", record["command"])
    settings = Settings.load(record["preset"], [*sets, f"rounds={reached[0]}"])
    config = settings.for_method(_method(sets))
    return *reached, *(on(config, link).total_seconds for link in LINKS)


def _with_server(plan: MethodPlan) -> str:
    share = plan.server_seconds_per_round / plan.seconds_per_round
    return f"{human_seconds(plan.seconds_per_round)} (server computes {share:.0%})"


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _replaced(page: str, name: str, table: str) -> str:
    pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
    return re.sub(pattern, lambda match: f"{match[1]}{table}\n{match[2]}", page, flags=re.DOTALL)


if __name__ == "__main__":
    main()
