"""An engine that trains nothing, and how a command ended."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ecofed
from ecofed.config import Config, Settings
from ecofed.reports.files import write_result, write_summary
from ecofed.results import Comparison, DataSummary, Floors, RoundRecord, RunResult, Totals


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on stderr."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


Cli = Callable[..., Ended]


class FakeEngine(types.ModuleType):
    """Stands in for ``ecofed.runs.experiment``: the same signatures, made-up numbers."""

    def __init__(self) -> None:
        super().__init__("ecofed.runs.experiment")
        self.calls: list[dict[str, Any]] = []
        self.failure: BaseException | None = None
        """Raised after the second round."""

    def run(
        self,
        config: Config,
        *,
        out: Path | None = None,
        resume: bool = False,
        observer: Any = None,
        command: str = "",
    ) -> RunResult:
        self.calls.append({"config": config, "out": out, "resume": resume, "command": command})
        result = fake_result(config, command)
        observer.started(config, [])
        for record in result.rounds:
            observer.round_finished(record, config.rounds)
            if record.round == 2 and self.failure is not None:
                raise self.failure
        observer.note("a remark")
        observer.finished(result)
        if out is not None:
            write_result(result, out)
        return result

    def compare(
        self,
        settings: Settings,
        methods: Sequence[str],
        *,
        out: Path,
        seeds: Sequence[int] = (),
        resume: bool = False,
        observer: Any = None,
        command: str = "",
        jobs: int = 1,  # noqa: ARG002
    ) -> Comparison:
        configs = [settings.for_method(name) for name in methods]
        if seeds:
            configs = [config.replace(seed=seed) for config in configs for seed in seeds]
        results = [self.run(config, out=None, resume=resume, observer=observer, command=command) for config in configs]
        comparison = Comparison(results=results, command=command)
        write_summary(comparison, out)
        return comparison


def fake_result(config: Config, command: str) -> RunResult:
    rounds = [
        RoundRecord(
            round=number,
            devices=[0, 1],
            uplink_bytes=1_000_000,
            downlink_bytes=500_000,
            test_accuracy=number / 100 if number % 2 == 0 else None,
        )
        for number in range(1, config.rounds + 1)
    ]
    return RunResult(
        config=config.to_dict(),
        environment={},
        git_commit=None,
        ecofed_version=ecofed.__version__,
        command=command,
        seed=config.seed,
        method=config.method,
        labels_leave_device=True,
        rounds=rounds,
        ledger={},
        retransmitted_bytes={"uplink": 0, "downlink": 0},
        totals=Totals(
            uplink_bytes=1_000_000 * config.rounds,
            downlink_bytes=500_000 * config.rounds,
            final_test_accuracy=0.5,
            best_test_accuracy=0.625,
            simulated_seconds=None,
            wall_seconds=65.0,
        ),
        data=DataSummary(
            name="Fake",
            source="nowhere",
            train_samples=20,
            test_samples=10,
            classes=["a", "b"],
            label_counts=[[5, 5], [5, 5]],
            floors=Floors(raw_bytes=20_480, compressed_bytes=None, compressed_as=None),
        ),
    )
