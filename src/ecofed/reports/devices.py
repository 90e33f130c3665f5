"""How results differ from device to device: a dot a device, drawn without scripts, and a table of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ecofed.reports import theme
from ecofed.reports.units import accuracy
from ecofed.results import RunGroup
from ecofed.results.scores import DeviceScores

#: Of more devices the worst ones are listed; all are in result.json.
MOST_LISTED = 100
#: Dots of more devices are not told apart.
_MOST_DOTS = 1000
_WIDTH, _LEFT, _RIGHT, _ROW = 700, 150, 14, 34


def each_device(found: Sequence[tuple[RunGroup, DeviceScores]]) -> str:
    """A strip of dots for each group, and its devices by rising accuracy. Of several seeds the first one's."""
    tables = "".join(
        f"<details><summary>{escape(group.label)}: each device</summary>{_table(own)}</details>" for group, own in found
    )
    return f"<figure><div class='scroll' tabindex='0'>{_strips(found)}</div></figure>{tables}"


def _strips(found: Sequence[tuple[RunGroup, DeviceScores]]) -> str:
    looks = theme.styles([group for group, _ in found])
    height = _ROW * len(found) + 34
    base = _ROW * len(found) + 6
    parts = [
        f"<svg class='strips' viewBox='0 0 {_WIDTH} {height}' role='img' aria-label='Accuracy on each device'>",
    ]
    for step in range(6):
        x = _place(step / 5)
        parts.append(f"<path class='grid' d='M{x:.1f} 4V{base}'/>")
        parts.append(f"<text x='{x:.1f}' y='{base + 18}' text-anchor='middle'>{step / 5:.1f}</text>")
    for row, (group, own) in enumerate(found):
        y = _ROW * row + 4 + _ROW / 2
        colour = f"var({theme.css_name(looks[group.label].colour)}, {looks[group.label].colour})"
        name = group.label if len(group.label) <= 20 else f"{group.label[:19]}…"
        parts.append(f"<text x='{_LEFT - 14}' y='{y + 4:.1f}' text-anchor='end'>{escape(name)}</text>")
        for at in range(min(len(own.devices), _MOST_DOTS)):
            aside = (at * 7 % 13 - 6) * 1.4  # equal accuracies would be one dot
            parts.append(
                f"<circle cx='{_place(own.accuracy[at]):.1f}' cy='{y + aside:.1f}' r='3.6' fill='{escape(colour)}' "
                f"fill-opacity='.55'><title>{escape(_told(own, at))}</title></circle>"
            )
        mean = _place(own.mean)
        parts.append(f"<path class='mean' d='M{mean:.1f} {y - 13:.1f}v26'/>")
    return "".join(parts) + "</svg>"


def _place(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _told(own: DeviceScores, at: int) -> str:
    reach = f", 95 % interval {own.low[at]:.2f} to {own.high[at]:.2f}" if own.low else ""
    return f"device {own.devices[at]}: {own.accuracy[at]:.3f} of {own.samples[at]:,} images{reach}"


def _table(own: DeviceScores) -> str:
    order = sorted(range(len(own.devices)), key=lambda at: (own.accuracy[at], own.devices[at]))[:MOST_LISTED]
    lines = "".join(
        f"<tr><th scope='row'>{own.devices[at]}</th><td>{own.samples[at]:,}</td><td>{accuracy(own.accuracy[at])}</td>"
        + (f"<td>{accuracy(own.low[at])} to {accuracy(own.high[at])}</td>" if own.low else "<td>-</td>")
        + "</tr>"
        for at in order
    )
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("device", "images", "accuracy", "95 % interval"))
    rest = f"<p class='note'>The {MOST_LISTED} worst of {len(own.devices):,}.</p>" * (len(own.devices) > MOST_LISTED)
    return (
        f"<div class='scroll' tabindex='0'><table class='sortable'><thead><tr>{head}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>{rest}"
    )
