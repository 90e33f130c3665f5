"""The sentence at the top of a report, and what keeps it honest: what guessing gives, and what left the devices."""

from __future__ import annotations

from ecofed.config.methods import OURS, REFERENCE
from ecofed.reports.tables import Row, as_comparison, rows
from ecofed.reports.units import fewer_or_more, human_bytes, rough
from ecofed.results import Comparison, RunResult
from ecofed.results.scores import interval


def headline(result: Comparison | RunResult) -> str:
    """What came out, in one sentence, and whether labels left the devices for it.

    ``ecofed reached 0.81 accuracy with 34x fewer bytes than classic-fl (0.79); labels left the devices``. An accuracy
    that is no better than guessing is called that, and nothing is said to be cheaper than it.
    """
    table = [row for row in rows(result) if not row.is_floor]
    hero, classic = hero_of(table), first_of(table, REFERENCE)
    if hero and classic and hero.times_fewer:
        return _against(hero, classic, result)
    best = max(table, key=final)
    if guesses(best, result):
        who = f"{best.label} did not learn" if len(table) == 1 else "no method learned"
        return f"{who}: {_guess(best, result)}"
    if len(table) == 1:
        return f"{best.label} reached {two(best)} accuracy and moved {human_bytes(best.total_bytes)}{_left(best)}"
    least = min(table, key=lambda row: row.total_bytes)
    if best is least:
        total = human_bytes(best.total_bytes)
        return f"{best.label} reached the best accuracy, {two(best)}, with the fewest bytes, {total}{_left(best)}"
    return (
        f"{best.label} reached the best accuracy, {two(best)}; "
        f"{least.label} moved the fewest bytes, {human_bytes(least.total_bytes)}, and reached {two(least)}"
    )


def _against(hero: Row, classic: Row, result: Comparison | RunResult) -> str:
    if guesses(hero, result):
        if guesses(classic, result):
            return f"neither {hero.label} nor {REFERENCE} learned: {_guess(max(hero, classic, key=final), result)}"
        return f"{hero.label} did not learn: {_guess(hero, result)}; {REFERENCE} reached {two(classic)}"
    if guesses(classic, result):
        return (
            f"{hero.label} reached {two(hero)} accuracy with {human_bytes(hero.total_bytes)}{_left(hero)}; "
            f"{REFERENCE} did not learn ({two(classic)}, guessing gives {rough(chance(result))})"
        )
    bytes_ = f"{fewer_or_more(hero.times_fewer or 1)} bytes than"
    if bytes_.startswith("as many"):
        bytes_ = "as many bytes as"
    if final(classic) - final(hero) >= 0.01:
        below = f"{final(classic) - final(hero):.2f} below {REFERENCE} ({two(hero)}, {two(classic)})"
        return f"{hero.label} ended {below}, with {bytes_} it{_left(hero)}"
    return f"{hero.label} reached {two(hero)} accuracy with {bytes_} {REFERENCE} ({two(classic)}){_left(hero)}"


def labels_sentence(result: Comparison | RunResult) -> str:
    """With which methods labels, or images, left the devices."""
    table = [row for row in rows(result) if not row.is_floor]
    images, labels, nothing = (
        list(dict.fromkeys(row.method or row.label for row in table if row.leaves_device == what))
        for what in ("images too", "yes", "no")
    )
    if not images and not labels:
        return "No labels left the devices."
    parts = [f"Images and their labels left the devices with {_and(images)}."] if images else []
    if labels:
        kept = f", not with {_and(nothing)}" if nothing else ""
        parts.append(f"Labels left the devices with {_and(labels)}{kept}.")
    elif nothing:
        parts.append(f"With {_and(nothing)} neither did.")
    return " ".join(parts)


def chance(result: Comparison | RunResult) -> float:
    """The accuracy of always naming the commonest class of the test images, or of any class where those are unknown."""
    run = as_comparison(result).results[0]
    judged = run.scores.test or run.scores.held_out or run.scores.on_devices
    even = 1 / max(1, len(run.data.classes))
    if judged is None or not judged.samples:
        return even
    return max(even, max(judged.class_samples) / judged.samples)


def guesses(row: Row, result: Comparison | RunResult) -> bool:
    """Whether a final accuracy is no better than guessing, as far as so many test images can tell (95 %)."""
    run = as_comparison(result).results[0]
    judged = run.scores.held_out or run.scores.on_devices
    samples = run.data.test_samples or (judged.samples if judged else 0)
    lowest = interval(final(row) * samples, samples)[0] if samples else final(row)
    return lowest <= chance(result)


def hero_of(table: list[Row]) -> Row | None:
    """The best of our rows, the cheapest of equals."""
    return max(
        (row for row in table if row.method == OURS), key=lambda row: (final(row), -row.total_bytes), default=None
    )


def first_of(table: list[Row], method: str) -> Row | None:
    """A method's first row."""
    return next((row for row in table if row.method == method), None)


def final(row: Row) -> float:
    """Its final accuracy; 0 of a floor."""
    return row.final_accuracy.mean if row.final_accuracy else 0.0


def two(row: Row) -> str:
    """Its final accuracy, as :func:`rough`."""
    return rough(final(row))


def _guess(row: Row, result: Comparison | RunResult) -> str:
    return f"{two(row)} accuracy, and guessing gives {rough(chance(result))}"


def _left(row: Row) -> str:
    return {"yes": "; labels left the devices", "images too": "; images and labels left the devices"}.get(
        row.leaves_device, "; labels stayed on the devices"
    )


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
