"""What the figures say, in sentences: the key figures, warnings, and how the data were dealt out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ecofed.config.methods import REFERENCE
from ecofed.reports.curves import bytes_to_reach
from ecofed.reports.headline import chance, final, first_of, guesses, hero_of, two
from ecofed.reports.tables import Row, as_comparison, rows
from ecofed.reports.units import fewer_or_more, human_bytes, human_seconds, rough, times
from ecofed.results import LAST_ROUNDS, Comparison, DataSummary, RunGroup, RunResult, flatten
from ecofed.results.untrained import untrained_note

_NOTES_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class KeyFigure:
    """One card at the top of the page."""

    value: str
    name: str
    detail: str
    plain: bool = False
    """Nothing to be proud of."""


def accuracy_sentence(result: Comparison | RunResult) -> str:
    """What "final accuracy" means: the mean of the last five evaluations, on so many images."""
    runs = as_comparison(result).results
    run = runs[0]
    evaluations = _evaluations(run)
    last = f"the last {LAST_ROUNDS}" if evaluations > LAST_ROUNDS else f"all {evaluations}"
    mean = f"the mean of {last} evaluations" if evaluations > 1 else "of one evaluation"
    if not evaluations:
        sure = _sure(run) if len(runs) == 1 else ""
        mean = f"of the network after the last round{sure}"
    return f"final accuracy: {mean}, on {' or '.join(dict.fromkeys(map(judged_by, runs)))}"


def _evaluations(run: RunResult) -> int:
    return sum(record.test_accuracy is not None for record in run.rounds)


def judged_by(run: RunResult) -> str:
    """What the accuracies of a run's rounds were found on, in words."""
    if run.data.test_samples:
        return f"{run.data.test_samples:,} test images"
    if (found := run.scores.on_devices) is not None and found.devices is not None:
        return f"{found.samples:,} samples that {len(found.devices.devices)} devices held out and tested themselves"
    samples = run.scores.held_out.samples if run.scores.held_out else 0
    return f"{samples:,} samples held out of the devices' uploads"


def floor_sentence(result: Comparison | RunResult) -> str:
    """The sceptic's question answered: what sending every picture once would have cost instead."""
    table = rows(result)
    subject = hero_of(table) or table[0]
    floor = min((row for row in table if row.is_floor), key=lambda row: row.total_bytes, default=None)
    if floor is None or not floor.total_bytes or not subject.total_bytes:
        return ""
    ratio = subject.total_bytes / floor.total_bytes
    compared = f"{times(ratio)} that" if ratio >= 1 else f"{times(1 / ratio)} less than that"
    kept = "" if subject.leaves_device == floor.leaves_device else ", and its images never left the devices"
    return (
        f"Sending {floor.label} would take {human_bytes(floor.total_bytes)}; {subject.label} moved "
        f"{human_bytes(subject.total_bytes)}, {compared}{kept}."
    )


def key_figures(result: Comparison | RunResult) -> list[KeyFigure]:
    """Three to five cards about ecofed, or about the first method where ecofed was not run."""
    comparison = as_comparison(result)
    table = rows(comparison)
    subject, classic = hero_of(table) or table[0], first_of(table, REFERENCE)
    name = subject.label
    no_better = guesses(subject, comparison)
    meaning = final_accuracy(comparison) + (
        f"; no better than guessing, {rough(chance(comparison))}" if no_better else ""
    )
    cards = [
        KeyFigure(value=two(subject), name=_accuracy_name(comparison), detail=f"{name}, {meaning}", plain=no_better),
        KeyFigure(
            value=human_bytes(subject.total_bytes),
            name="over the wire",
            detail=f"{name}: {human_bytes(subject.uplink_bytes)} up, {human_bytes(subject.downlink_bytes)} down",
        ),
        KeyFigure(
            value=human_bytes(subject.bytes_per_device_round or 0),
            name="per device and round",
            detail="both directions, mean over sampled devices",
        ),
    ]
    if classic and subject.times_fewer and subject is not classic:
        cards.append(
            KeyFigure(
                value=fewer_or_more(subject.times_fewer),
                name=f"bytes than {REFERENCE}",
                detail=f"{REFERENCE} moved {human_bytes(classic.total_bytes)} for {two(classic)}",
                plain=no_better or guesses(classic, comparison),
            )
        )
        reached = _reaching(comparison, subject, classic)
        if reached and final(subject) >= final(classic) and not guesses(classic, comparison):
            # It may have been there long before its end.
            needed = _reaching(comparison, classic, classic) or classic.total_bytes
            cards.append(
                KeyFigure(
                    value=human_bytes(reached),
                    name=f"to reach {REFERENCE}'s accuracy",
                    detail=f"{fewer_or_more(needed / reached)} than {REFERENCE} needed",
                )
            )
    elif subject.wall_seconds is not None:
        cards.append(KeyFigure(value=human_seconds(subject.wall_seconds), name="wall time", detail="on this machine"))
    return cards


def warnings(result: Comparison | RunResult) -> list[str]:
    """What a reader should know before believing the figures, one line each."""
    comparison = as_comparison(result)
    lines = list(comparison.notes)
    data = comparison.results[0].data
    dealt = {other.seed: other.data for other in reversed(comparison.results)}  # another seed deals otherwise
    if any(other.data != dealt[other.seed] for other in comparison.results):
        lines.append(
            "The runs did not use the same data on the same devices; the floors and the label map are the first run's."
        )
    lines += doubts(comparison)
    if data.brought:
        lines.append(brought_sentence(data))
    for group in comparison.groups():
        for run in group.results:
            lines += [f"{_run_name(group, run)}: {line}" for line in (*run.notes, *_round_notes(run))]
    # A note that every run of a comparison carries is said once.
    return list(dict.fromkeys(_said_by_all(lines, comparison.groups())))


def doubts(result: Comparison | RunResult) -> list[str]:
    """What the figures do not show, and spoils them: who is no better than guessing, devices that have nothing, and
    runs that are taken for another seed's."""
    comparison, lines = as_comparison(result), []
    data = comparison.results[0].data
    idle = [row.label for row in rows(comparison) if not row.is_floor and guesses(row, comparison)]
    if idle:
        lines.append(f"No better than guessing ({rough(chance(comparison))}) at the end: {', '.join(idle)}.")
    empty = sum(not any(counts) for counts in data.label_counts)
    if empty and not data.brought:
        lines.append(f"{empty} of {len(data.label_counts)} devices hold{'s' * (empty == 1)} no samples.")
    return lines + _repeated(comparison)


def _repeated(comparison: Comparison) -> list[str]:
    """Where runs of the same settings have the same seed: a mean over them is none over seeds."""
    lines = []
    for group in comparison.groups():
        by_seed: dict[int, list[RunResult]] = {}
        for result in group.results:
            by_seed.setdefault(result.seed, []).append(result)
        for seed, runs in by_seed.items():
            if len(runs) > 1 and all(run == runs[0] for run in runs):
                lines.append(f"{group.label}: the run with seed {seed} is named {len(runs)} times, and counts so often")
            elif len(runs) > 1:
                lines.append(f"{group.label}: {len(runs)} runs have seed {seed}; their mean is none over seeds")
    return lines


def untrained_sentences(comparison: Comparison) -> list[str]:
    """Of each run in which some rounds trained nothing: in how many."""
    named = [(_run_name(group, run), run) for group in comparison.groups() for run in group.results]
    return [f"{name}: {text}" for name, run in named if (text := untrained_note(run.rounds))]


def _run_name(group: RunGroup, run: RunResult) -> str:
    return group.label if len(group.results) == 1 else f"{group.label} (seed {run.seed})"


def brought_sentence(data: DataSummary) -> str:
    """Of a fleet with pictures of its own: what is known of them, and how."""
    told = sum(any(counts) for counts in data.label_counts)
    return (
        f"{data.brought} of {len(data.label_counts)} devices brought pictures of their own. Which labels are held is "
        f"known of {told} devices, by what they uploaded; what sending every image would take is foreseen from the "
        "server's pictures, if it has any to train on."
    )


def partition_sentence(result: RunResult) -> str:
    """Data, devices and partition in a sentence."""
    config, data = result.config, result.data
    settings = config.get("data", {})
    how = {
        "iid": "dealt out evenly at random",
        "shards": f"sorted by label and dealt out in shards, {settings.get('shards_per_device')} a device",
        "dirichlet": f"dealt out by a Dirichlet draw per label (alpha {settings.get('alpha')})",
        "quantity": f"dealt out in unequal amounts (Dirichlet, alpha {settings.get('alpha')})",
        "column": f"of the devices that the data name ({settings.get('device_column')})",
    }.get(str(settings.get("partition")), f"partitioned by '{settings.get('partition')}'")
    how = "brought by the devices" if data.brought else how
    where = data.name if data.source == "path" else f"{data.name} from {data.source}"
    return (
        f"{where}: {data.train_samples:,} training images of {len(data.classes)} classes, "
        f"{how}, on {len(data.label_counts)} devices; {config.get('sampled_devices')} take part in a round. "
        f"Each evaluation uses {judged_by(result)}{', which stay on the server' if data.test_samples else ''}."
    )


def _accuracy_name(comparison: Comparison) -> str:
    run = comparison.results[0]
    if run.data.test_samples:
        return "final test accuracy"
    return "accuracy on the devices" if run.scores.on_devices else "final accuracy, on held-out samples"


def final_accuracy(result: Comparison | RunResult) -> str:
    """What "final accuracy" is, for a legend."""
    runs = as_comparison(result).results
    if (evaluations := _evaluations(runs[0])) >= LAST_ROUNDS:
        return "the mean of the last five evaluations"
    if evaluations:
        return f"the mean of all {evaluations} evaluations" if evaluations > 1 else "what the one evaluation found"
    return "what the devices found after the last round" + (_sure(runs[0]) if len(runs) == 1 else "")


def _sure(run: RunResult) -> str:
    """The interval of an accuracy that devices have found."""
    found = run.scores.on_devices
    if found is None or found.low is None or found.high is None:
        return ""
    return f" (95 % interval {found.low:.2f} to {found.high:.2f})"


def differing_settings(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """``(key, value of each group)`` for every setting that is not the same in all groups, method and seed apart."""
    flat: list[dict[str, Any]] = [flatten(group.results[0].config) for group in comparison.groups()]
    keys = dict.fromkeys(key for values in flat for key in values if key not in ("method", "seed"))
    table = [(key, [str(values.get(key, "-")) for values in flat]) for key in keys]
    return [(key, values) for key, values in table if len(set(values)) > 1]


def _said_by_all(lines: list[str], groups: list[RunGroup]) -> list[str]:
    names = [_run_name(group, run) for group in groups for run in group.results]
    if len(names) < 2:
        return lines
    known = set(lines)
    said: list[str] = []
    for line in lines:
        name = next((name for name in names if line.startswith(f"{name}: ")), None)
        text = line.removeprefix(f"{name}: ") if name else line
        said.append(text if name and all(f"{other}: {text}" in known for other in names) else line)
    return said


def _round_notes(run: RunResult) -> list[str]:
    notes = [f"round {record.round}: {note}" for record in run.rounds for note in record.notes]
    hidden = len(notes) - _NOTES_SHOWN
    return notes if hidden <= 0 else [*notes[:_NOTES_SHOWN], f"... and {hidden} more notes in result.json"]


def _reaching(comparison: Comparison, subject: Row, classic: Row) -> float | None:
    group = next(group for group in comparison.groups() if group.label == subject.label)
    reached = [bytes_to_reach(result, final(classic)) for result in group.results]
    known = [size for size in reached if size]
    return sum(known) / len(known) if len(known) == len(reached) else None
