"""What a run leaves: the checkpoint that continues it, and its result."""

from __future__ import annotations

import dataclasses

from ecofed._version import __version__
from ecofed.costs.ledger import Ledger
from ecofed.methods import Method
from ecofed.reports.unfinished import totals_of
from ecofed.results import RoundRecord, RunResult
from ecofed.results.scores import RunScores
from ecofed.runs.checkpoints import Checkpoint
from ecofed.runs.environment import describe_environment, git_commit
from ecofed.runs.preparation import Prepared


def checkpoint_of(
    prepared: Prepared, records: list[RoundRecord], ledger: Ledger, method: Method, wall_seconds: float
) -> Checkpoint:
    """After these rounds."""
    arrays, values = method.state()
    return Checkpoint(
        config=prepared.task.config.to_dict(),
        inputs=prepared.inputs,
        records=records,
        ledger=ledger.to_dict(),
        values=values,
        arrays=arrays,
        wall_seconds=wall_seconds,
    )


def result_of(
    prepared: Prepared,
    ledger: Ledger,
    records: list[RoundRecord],
    method: Method,
    wall_seconds: float,
    command: str,
    notes: list[str],
    scores: RunScores | None = None,
    delivery_seconds: float = 0.0,
) -> RunResult:
    """Of these rounds, and of what came after them; without rounds, what is known of a run at its start."""
    config, scores = prepared.task.config, scores or RunScores()
    totals = totals_of(records, wall_seconds)
    if not prepared.summary.test_samples and scores.on_devices and scores.on_devices.accuracy is not None:
        found = scores.on_devices.accuracy
        totals = dataclasses.replace(totals, final_test_accuracy=found, best_test_accuracy=found)
    if totals.simulated_seconds is not None:
        totals = dataclasses.replace(totals, simulated_seconds=totals.simulated_seconds + delivery_seconds)
    return RunResult(
        config=config.to_dict(),
        environment=describe_environment(config.threads, str(prepared.torch_device)),
        git_commit=git_commit(),
        ecofed_version=__version__,
        command=command,
        seed=config.seed,
        method=config.method,
        labels_leave_device=method.labels_leave_device and config.privacy.labels == "each",
        rounds=records,
        ledger=ledger.bytes,
        retransmitted_bytes=ledger.retransmitted,
        totals=dataclasses.replace(
            totals,
            uplink_bytes=ledger.total("uplink"),  # with what is sent after the last round
            downlink_bytes=ledger.total("downlink"),
        ),
        data=prepared.summary,
        front=prepared.front_card,
        inputs=prepared.inputs,
        scores=scores,
        notes=notes,
    )
