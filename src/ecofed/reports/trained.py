"""The part of the report about the networks that runs ended with: how sure an accuracy is, and what it hides.

Of several seeds the counts are added up: each image then counts once for each network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from ecofed.reports.devices import each_device
from ecofed.reports.tables import ABSENT
from ecofed.reports.units import accuracy
from ecofed.reports.words import final_accuracy
from ecofed.results import Comparison, RunGroup
from ecofed.results.scores import Calibration, DeviceScores, Scores, interval, shares

#: A matrix with more classes is not read: the commonest confusions are listed instead, and the worst classes.
MOST_SHOWN = 20
#: By what a network may be judged, the usual first: the field of a run's scores, and its name on the page.
JUDGED_BY = {
    "test": "test images",
    "held_out": "samples held out of uploads",
    "on_devices": "the devices themselves",
}
_QUANTILES = {"0": "worst", "0.1": "10 %", "0.25": "25 %", "0.5": "median", "0.75": "75 %", "0.9": "90 %", "1": "best"}
_DEVICES = (
    "The accuracy on each device's own images: quantiles over the devices, each counting the same, and the mean of the "
    "worst tenth of them. Where a device has few images, part of the spread is chance: with 10 images its accuracy "
    "moves in steps of 0.1. In the drawing a dot is a device, the bar their mean."
)
_BY_CLASS = (
    "How many of the images of each class the network got right, the worst class of the first column first. A class "
    "that is rare on the devices is often the one that is lost."
)
_HEAT = "Rows are the true classes, columns what the network said; each row adds up to the images of its class."
_SURE = (
    "How sure the network was (mean of the largest entry of its softmax), and how often it was right then. The "
    "calibration error is the mean distance between the two; a network that says 0.8 should be right in 8 of 10 cases."
)


def trained_networks(comparison: Comparison) -> str:
    """What stands under its heading; empty where no result has such figures (those of earlier versions have none)."""
    names = comparison.results[0].data.classes
    judged = [(group, _judged(group, len(names))) for group in comparison.groups()]
    found = [(group, next(iter(scores.values()))) for group, scores in judged if scores]
    if not found:
        return ""
    parts = [_overview(judged), _among_devices(judged), _by_class(found, names)]
    for group, scores in found:
        opened = " open" if len(found) == 1 else ""
        body = _confusions(scores, names) + _calibration([one.calibration for one in scores if one.calibration])
        title = f"{escape(group.label)}: what was taken for what"
        parts += [f"<details{opened}><summary>{title}</summary>{body}</details>"] if body else []
    return "".join(parts)


def _judged(group: RunGroup, classes: int) -> dict[str, list[Scores]]:
    """By what the group's networks were judged, and what came out, a seed each; the usual first."""
    found: dict[str, list[Scores]] = {}
    for name, title in JUDGED_BY.items():
        scores: list[Scores | None] = [getattr(result.scores, name) for result in group.results]
        if known := [one for one in scores if one and one.samples and one.fits(classes)]:
            found[title] = known
    return found


def _overview(judged: Sequence[tuple[RunGroup, Mapping[str, list[Scores]]]]) -> str:
    rows = [
        (group.label, [escape(by), *_overview_cells(scores)]) for group, own in judged for by, scores in own.items()
    ]
    return (
        "<p class='note'>The network as it was after the last round (final accuracy elsewhere: "
        f"{final_accuracy(judged[0][0].results[0])}). The interval is for so many images; what another seed would "
        "change is not in it.</p>"
        + _table(("", "judged by", "images", "accuracy", "95 % interval", "calibration error"), rows)
    )


def _overview_cells(scores: Sequence[Scores]) -> list[str]:
    errors = [one.calibration.error for one in scores if one.calibration]
    share = sum(one.right / one.samples for one in scores) / len(scores)
    samples = round(sum(one.samples for one in scores) / len(scores))  # with another seed others are held out
    return [
        _span([one.samples for one in scores]),
        _mean([one.accuracy for one in scores]),
        _interval(share * samples, samples),
        _mean(errors),
    ]


def _among_devices(judged: Sequence[tuple[RunGroup, Mapping[str, list[Scores]]]]) -> str:
    rows = []
    each: list[tuple[RunGroup, DeviceScores]] = []
    for group, own in judged:
        for by, scores in own.items():
            if known := [one.devices for one in scores if one.devices]:
                rows.append((group.label, [escape(by), *_device_cells(known)]))
                each += [(group, known[0])] if group not in [other for other, _ in each] else []
    if not rows:
        return ""
    head = ("", "judged by", "devices", "images a device (median)", *_QUANTILES.values(), "worst tenth", "deviation")
    return f"<h3>Among devices</h3><p class='note'>{_DEVICES}</p>{_table(head, rows)}{each_device(each)}"


def _device_cells(known: Sequence[DeviceScores]) -> list[str]:
    quantiles = [_mean([one.quantiles.get(share) for one in known]) for share in _QUANTILES]
    return [
        _span([len(one.devices) for one in known]),
        f"{np.median(np.concatenate([one.samples for one in known])):g}",
        *quantiles,
        _mean([one.worst_tenth for one in known]),
        _mean([one.deviation for one in known]),
    ]


def _by_class(found: Sequence[tuple[RunGroup, list[Scores]]], names: Sequence[str]) -> str:
    columns = []
    for _, scores in found:
        samples_K = np.sum([one.class_samples for one in scores], axis=0)
        columns.append(shares(np.sum([one.class_right for one in scores], axis=0), samples_K))
    first = columns[0]
    order = sorted(range(len(names)), key=lambda at: (first[at] is None, first[at] or 0.0, at))
    shown = order[:MOST_SHOWN]
    counts_K = list(zip(*(one.class_samples for one in found[0][1]), strict=True))
    lines = "".join(
        f"<tr><th scope='row'>{escape(names[at])}</th><td>{_span(counts_K[at])}</td>"
        + "".join(_heat(column[at], "" if column[at] is None else accuracy(column[at] or 0.0)) for column in columns)
        + "</tr>"
        for at in shown
    )
    head = "".join(f"<th scope='col'>{escape(group.label)}</th>" for group, _ in found)
    rest = f" The {MOST_SHOWN} worst of {len(names)} are shown; all are in result.json." * (len(names) > MOST_SHOWN)
    return (
        f"<h3>By class</h3><p class='note'>{_BY_CLASS}{rest}</p>"
        "<div class='scroll' tabindex='0'><table class='sortable'>"
        f"<thead><tr><th scope='col'>class</th><th scope='col'>images</th>{head}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )


def _confusions(scores: Sequence[Scores], names: Sequence[str]) -> str:
    matrices = [one.confusion for one in scores if one.confusion is not None]
    if not matrices:
        return ""
    confusion_KK = np.sum(matrices, axis=0)
    if len(names) > MOST_SHOWN:
        return _commonest(confusion_KK, names)
    head = "".join(f"<th scope='col'><span>{escape(name)}</span></th>" for name in names)
    lines = ""
    for name, row in zip(names, confusion_KK.tolist(), strict=True):
        of_row = shares(row, [sum(row)] * len(row))
        cells = "".join(
            _heat(share, f"{count:,}") if count else "<td></td>" for count, share in zip(row, of_row, strict=True)
        )
        lines += f"<tr><th scope='row'>{escape(name)}</th>{cells}</tr>"
    return (
        f"<p class='note'>{_HEAT}</p><div class='scroll' tabindex='0'><table class='confusion'>"
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _commonest(confusion_KK: np.ndarray, names: Sequence[str]) -> str:
    wrong_KK = confusion_KK - np.diag(np.diagonal(confusion_KK))
    order = np.argsort(-wrong_KK, axis=None, kind="stable")[:MOST_SHOWN]
    pairs = [(int(at) // len(names), int(at) % len(names)) for at in order if wrong_KK.flat[at]]
    rows = [(names[true], [escape(names[said]), f"{wrong_KK[true, said]:,}"]) for true, said in pairs]
    return (
        f"<p class='note'>The commonest confusions.</p>{_table(('class', 'taken for', 'images'), rows)}" if rows else ""
    )


def _calibration(found: Sequence[Calibration]) -> str:
    if not found:
        return ""
    first = found[0]
    bins = [at for at, count in enumerate(first.samples) if count]
    rows = [
        ("how sure", [_share(first.confidence[at]) for at in bins]),
        ("how often right", [_share(first.accuracy[at]) for at in bins]),
        ("images", [f"{first.samples[at]:,}" for at in bins]),
    ]
    seed = " Of the first seed." if len(found) > 1 else ""
    return f"<p class='note'>{_SURE}{seed}</p>{_table(('', *['' for _ in bins]), rows)}"


def _table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """``rows``: a heading, and cells that are escaped already."""
    titles = "".join(f"<th scope='col'>{escape(title)}</th>" for title in head)
    lines = "".join(
        f"<tr><th scope='row'>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        for name, cells in rows
    )
    top = f"<thead><tr>{titles}</tr></thead>" if any(head) else ""
    return f"<div class='scroll' tabindex='0'><table>{top}<tbody>{lines}</tbody></table></div>"


def _heat(share: float | None, text: str) -> str:
    """A cell, the stronger the colour the larger the share."""
    if not share:
        return f"<td>{escape(text)}</td>"
    strong = " class='strong'" if share > 0.55 else ""
    colour = f"color-mix(in srgb, var(--accent) {100 * min(1.0, share):.0f}%, transparent)"
    return f"<td{strong} style='background: {colour}'>{escape(text)}</td>"


def _interval(right: float, samples: int) -> str:
    return " to ".join(map(accuracy, interval(right, samples))) if samples else ABSENT


def _span(counts: Sequence[int]) -> str:
    """Of several seeds: one number, or the least and the most."""
    least, most = min(counts), max(counts)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return accuracy(sum(known) / len(known)) if known else ABSENT


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
