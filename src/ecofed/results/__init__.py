"""The result of a run: plain records, the schema of ``result.json``, ``metrics.jsonl`` and ``summary.json``.

Accuracies are fractions 0-1, sizes are bytes, times are seconds. ``SCHEMA`` changes when a field changes meaning.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ecofed.config.methods import REFERENCE
from ecofed.errors import ConfigError
from ecofed.errors.foreign_text import LONGEST_NAME, clean
from ecofed.files.disk import json_text, plain
from ecofed.files.json_values import Amount, Count, Fraction, Loss, Ordinal, Seed, read_as
from ecofed.results.audits import Leakage
from ecofed.results.data import DataSummary as DataSummary
from ecofed.results.data import Floors as Floors
from ecofed.results.data import clean_texts
from ecofed.results.scores import RunScores
from ecofed.results.shown import Shown, frame
from ecofed.results.shown import Spread as Spread

if TYPE_CHECKING:
    import pandas

SCHEMA = "ecofed-result/1"
SUMMARY_SCHEMA = "ecofed-summary/1"

#: What crosses the device/server boundary. ``control`` is all framing.
LEDGER_KINDS = ("weights", "front", "activations", "gradients", "labels", "logits", "statistics", "images", "control")
DIRECTIONS = ("uplink", "downlink")
#: The rounds at the end that are always evaluated; published accuracy is their mean.
LAST_ROUNDS = 5
_LONGEST_COMMAND = 100_000  # is for copying: it is of no use without its middle


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """One round, one line of ``metrics.jsonl``."""

    round: Ordinal
    """Counts from 1."""
    devices: list[Count]
    """The sampled devices, ascending."""
    uplink_bytes: Count
    downlink_bytes: Count
    took_part: list[Count] | None = None
    """Of them, those whose answers to this round count: asked, and not left out. ``None``: an earlier version."""
    train_loss: Loss | None = None
    test_accuracy: Fraction | None = None
    """``None`` in a round that was not evaluated."""
    test_loss: Loss | None = None
    device_seconds: Amount = 0.0
    """Wall time spent in device handlers, summed over devices."""
    server_seconds: Amount = 0.0
    simulated_seconds: Amount | None = None
    """By the clock of ``config.clock``; ``None`` for a method whose order of events it does not know."""
    device_joules: Amount | None = None
    """Simulated energy of those that took part; ``None`` where a profile has no power figures."""
    timeline: list[list[Any]] | None = None
    """Round 1 only: ``[actor, kind, start, end]`` in simulated seconds, of the ``server`` and some devices."""
    saturated_fraction: Fraction | None = None
    """Fraction of uploaded activation entries at the quantiser's upper limit; ``None`` without uploads."""
    refreshed: bool | None = None
    """Whether activations were uploaded this round; ``None`` for methods without a replay buffer."""
    trained: bool | None = None
    """Whether the network learned anything; ``None``: nobody said."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know about this round, one line each."""

    def __post_init__(self) -> None:
        clean_texts(self, "notes", "timeline")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums and last values over all rounds."""

    uplink_bytes: Count
    downlink_bytes: Count
    final_test_accuracy: Fraction
    """Mean over the last five evaluations."""
    best_test_accuracy: Fraction
    simulated_seconds: Amount | None
    wall_seconds: Amount


@dataclass(frozen=True, kw_only=True, repr=False)
class RunResult(Shown):
    """Everything about one run; ``result.json``."""

    config: dict[str, Any]
    environment: dict[str, Any]
    git_commit: str | None
    ecofed_version: str
    command: str
    seed: Seed
    method: str
    labels_leave_device: bool
    rounds: list[RoundRecord]
    ledger: dict[str, dict[str, Count]]
    """``ledger[kind][direction]`` in bytes; retransmissions are not in it."""
    retransmitted_bytes: dict[str, Count]
    totals: Totals
    data: DataSummary
    front: dict[str, Any] | None = None
    """The front bundle's card (id, origin, bytes), where the run used one."""
    inputs: dict[str, str] = field(default_factory=dict)
    """Fingerprints of what the run read (pictures, labels, classes, front, profiles, ...), by what it is. Empty in
    results of earlier versions."""
    scores: RunScores = field(default_factory=RunScores)
    origin: dict[str, Any] | None = None
    """Of a run that learned from what another one kept (:mod:`ecofed.relearning`)."""
    notes: list[str] = field(default_factory=list)
    leakage: Leakage | None = field(default=None, compare=False)
    """What an audit of the run found, read from its folder; not in ``result.json``."""
    schema: str = SCHEMA

    def __post_init__(self) -> None:
        clean_texts(self, "environment", "git_commit", "ecofed_version", "method", "ledger", "front", "inputs", "notes")
        clean_texts(self, "origin")
        clean_texts(self, "command", longest=_LONGEST_COMMAND)

    def __repr__(self) -> str:
        moved = f"{self.totals.final_test_accuracy:.3f}, {self.total_bytes / 1e6:,.2f} MB"
        return f"<RunResult {self.method}: accuracy {moved}, {len(self.rounds)} rounds, {self.data.name}>"

    def to_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = plain(self)
        del values["leakage"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunResult:
        """Inverse of :meth:`to_dict`. Raises ``ValueError`` for what is not a result; names the field."""
        result: RunResult = read_as(cls, values)
        return result

    @property
    def total_bytes(self) -> int:
        """Both directions, all rounds."""
        return self.totals.uplink_bytes + self.totals.downlink_bytes

    @property
    def bytes_per_device_round(self) -> float:
        """Both directions, mean over rounds and sampled devices. What comes after the last round is in none of them, as
        in plans."""
        visits = sum(len(record.devices) for record in self.rounds)
        moved = sum(record.uplink_bytes + record.downlink_bytes for record in self.rounds)
        return moved / visits if visits else 0.0

    def to_pandas(self) -> pandas.DataFrame:
        """One row a round, with the columns of :class:`RoundRecord`.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return frame([record.to_dict() for record in self.rounds], "result.to_pandas()")


@dataclass(frozen=True, kw_only=True)
class RunGroup:
    """Runs that differ in nothing but the seed: one row of a table, one colour of a plot."""

    label: str
    """The method, and the settings that tell it from other groups of the same method: ``ecofed bits=2``."""
    method: str
    results: list[RunResult]

    def spread(self, value: Callable[[RunResult], float]) -> Spread:
        """Mean and range of a figure over the seeds."""
        values = [value(result) for result in self.results]
        # The mean of equal floats can differ from them in the last digit; a single seed is shown exactly.
        mean = values[0] if len(set(values)) == 1 else sum(values) / len(values)
        return Spread(mean=mean, low=min(values), high=max(values))


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison(Shown):
    """Several runs on the same devices and data, side by side; ``summary.json``."""

    results: list[RunResult]
    """At least one; several seeds or settings of one method are welcome."""
    command: str = ""
    notes: list[str] = field(default_factory=list)
    """What a reader should know about the comparison as a whole."""
    names: list[str] = field(default_factory=list)
    """What each run is called, if it has a name of its own, as the points of a frontier do; otherwise, and where one is
    empty, its method and what tells it from others of the same."""

    def __post_init__(self) -> None:
        if not self.results:
            raise ConfigError("a comparison needs at least one result")
        clean_texts(self, "notes")
        clean_texts(self, "names", longest=LONGEST_NAME)
        clean_texts(self, "command", longest=_LONGEST_COMMAND)

    def __repr__(self) -> str:
        return "\n".join(["<Comparison", *(f"  {result!r}" for result in self.results)]) + ">"

    def groups(self) -> list[RunGroup]:
        """The runs by method and settings (the seed apart), in order of first appearance."""
        runs: dict[tuple[str, str, str], list[RunResult]] = {}
        for number, result in enumerate(self.results):
            name = self.names[number] if number < len(self.names) else ""
            settings = {key: value for key, value in flatten(result.config).items() if key not in ("seed", "method")}
            settings |= {"learned": result.origin.get("order")} if result.origin else {}
            told = json_text(settings, sort_keys=True, default=str)
            runs.setdefault((result.method, name, told), []).append(result)
        per_method = Counter(method for method, _, _ in runs)
        groups = []
        for (method, name, text), results in runs.items():
            rivals, label = [json.loads(other) for one, _, other in runs if one == method], name or method
            if per_method[method] > 1 and not name:
                differing = [key for key in json.loads(text) if len({str(rival.get(key)) for rival in rivals}) > 1]
                words = (f"{_shown_key(key, results[0].config)}={json.loads(text)[key]}" for key in differing)
                label = clean(" ".join([method, *words]), LONGEST_NAME)
            groups.append(RunGroup(label=label, method=method, results=results))
        return groups

    def folders(self) -> list[str]:
        """The folder of each result inside the comparison's: the method, and what tells it from others of its kind."""
        names: dict[int, str] = {}
        for group in self.groups():
            for result in group.results:
                name = group.label if len(group.results) == 1 else f"{group.label} seed={result.seed}"
                names[id(result)] = re.sub(r"[^A-Za-z0-9=._-]+", "-", name).strip(".-") or "run"
        folders: list[str] = []
        for result in self.results:
            name, repeat = names[id(result)], 2
            while name in folders:
                name, repeat = f"{names[id(result)]}-{repeat}", repeat + 1
            folders.append(name)
        return folders

    def rows(self) -> list[dict[str, Any]]:
        """One plain row a group: means over its seeds, and the range of the accuracy."""
        groups = self.groups()
        classic = next((g.spread(lambda r: r.total_bytes).mean for g in groups if g.method == REFERENCE), None)
        rows = []
        for group in groups:
            accuracy = group.spread(lambda r: r.totals.final_test_accuracy)
            total_bytes = group.spread(lambda r: r.total_bytes).mean
            simulated = [r.totals.simulated_seconds for r in group.results if r.totals.simulated_seconds is not None]
            rows.append(
                {
                    "label": group.label,
                    "method": group.method,
                    "seeds": [result.seed for result in group.results],
                    "final_test_accuracy": accuracy.mean,
                    "final_test_accuracy_low": accuracy.low,
                    "final_test_accuracy_high": accuracy.high,
                    "best_test_accuracy": group.spread(lambda r: r.totals.best_test_accuracy).mean,
                    "uplink_bytes": group.spread(lambda r: r.totals.uplink_bytes).mean,
                    "downlink_bytes": group.spread(lambda r: r.totals.downlink_bytes).mean,
                    "total_bytes": total_bytes,
                    "bytes_per_device_round": group.spread(lambda r: r.bytes_per_device_round).mean,
                    "times_fewer_bytes_than_classic_fl": classic / total_bytes if classic and total_bytes else None,
                    "labels_leave_device": any(result.labels_leave_device for result in group.results),
                    "leakage_ssim": max((r.leakage.ssim for r in group.results if r.leakage), default=None),
                    "wall_seconds": group.spread(lambda r: r.totals.wall_seconds).mean,
                    "simulated_seconds": sum(simulated) / len(simulated) if simulated else None,
                }
            )
        return rows

    def to_dict(self, places: Sequence[str] | None = None) -> dict[str, Any]:
        """The summary: the table, the floors, and where each run's ``result.json`` lies (:meth:`folders`)."""
        first = self.results[0]
        return {
            "schema": SUMMARY_SCHEMA,
            "ecofed_version": first.ecofed_version,
            "git_commit": first.git_commit,
            "command": self.command,
            "data": first.data.name,
            "rows": self.rows(),
            "floors": dataclasses.asdict(first.data.floors),
            "runs": [
                {"method": result.method, "seed": result.seed, "result": f"{folder}/result.json"}
                for result, folder in zip(self.results, places or self.folders(), strict=True)
            ],
            "notes": self.notes,
        }

    def to_pandas(self) -> pandas.DataFrame:
        """One row a method (a group of runs), with the columns of :meth:`rows`.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return frame(self.rows(), "comparison.to_pandas()")


def short_digest(digest: str) -> str:
    """A fingerprint for people: enough of it to tell two apart."""
    return digest if " " in digest else digest[:12]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"data": {"name": "mnist"}}`` becomes ``{"data.name": "mnist"}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _shown_key(key: str, config: Mapping[str, Any]) -> str:
    """A setting in a label: without its section where that says as much; ``codec.name`` is ``codec``."""
    section, _, name = key.rpartition(".")
    return section if name == "name" else key if name in config else name
