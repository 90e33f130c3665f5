"""Draws docs/images/pipelines.svg: three rounds of each method, one device, the network and the server.

A scheme: what follows what, and roughly how long it takes beside the rest. How long it takes in seconds is what the
clock says (docs/results-time.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

PICTURE = Path(__file__).parent / "images" / "pipelines.svg"

LANES = ("device", "network", "server")
#: Colour-blind safe (Okabe and Ito).
COLOURS = {"train": "#d55e00", "infer": "#e69f00", "up": "#0072b2", "down": "#56b4e9", "server": "#009e73"}
LEGEND = {
    "infer": "device runs the front",
    "train": "device trains",
    "down": "bytes down",
    "up": "bytes up",
    "server": "server trains",
}
ROUNDS = 3
LEFT, TOP, LANE, GAP, UNIT = 92, 66, 17, 34, 9.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something that takes ``length`` units."""

    kind: str
    length: float


def batches(*steps: Step) -> list[Step]:
    """Three batches, as every device has many."""
    return [*steps] * 3


METHODS: dict[str, tuple[str, list[list[Step]]]] = {
    "classic-fl": (
        "the whole network travels both ways, the device trains all of it",
        [[Step(kind="down", length=8), Step(kind="train", length=11), Step(kind="up", length=9)]] * ROUNDS,
    ),
    "vanilla-dpfl": (
        "for every batch an activation up, a gradient down, and one waits for the other",
        [
            [
                Step(kind="down", length=0.6),
                *batches(
                    Step(kind="infer", length=0.7),
                    Step(kind="up", length=1.1),
                    Step(kind="server", length=0.7),
                    Step(kind="down", length=1.1),
                    Step(kind="train", length=0.9),
                ),
                Step(kind="up", length=0.6),
            ]
        ]
        * ROUNDS,
    ),
    "lgl": (
        "a small classifier on the device teaches the front: activations up, no gradients down",
        [
            [
                Step(kind="down", length=0.8),
                *batches(
                    Step(kind="train", length=1.8),
                    Step(kind="up", length=1.2),
                    Step(kind="server", length=1.2),
                ),
                Step(kind="up", length=0.8),
            ]
        ]
        * ROUNDS,
    ),
    "fedgkt": (
        "as lgl, and each side learns from the other's answers, which travel, too",
        [
            [
                Step(kind="down", length=0.8),
                *batches(Step(kind="train", length=2.2), Step(kind="up", length=1.3)),
                Step(kind="server", length=3.6),
                Step(kind="down", length=0.5),
                Step(kind="up", length=0.8),
            ]
        ]
        * ROUNDS,
    ),
    "ecofed": (
        "the front goes down once, codes go up once; then the server trains from what it keeps",
        [
            [
                Step(kind="down", length=0.5),
                Step(kind="infer", length=1.4),
                Step(kind="up", length=0.3),
                Step(kind="server", length=4.0),
            ],
            [Step(kind="server", length=4.0)],
            [Step(kind="server", length=4.0)],
        ],
    ),
}


def lane_of(kind: str) -> int:
    return {"infer": 0, "train": 0, "down": 1, "up": 1, "server": 2}[kind]


def drawn() -> str:
    """The picture."""
    panel = 3 * LANE + GAP
    longest = max(sum(step.length for round_ in rounds for step in round_) for _, rounds in METHODS.values())
    width, height = LEFT + longest * UNIT + 24, TOP + len(METHODS) * panel + 6
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        'font-family="DejaVu Sans, Arial, sans-serif" font-size="12">',
        "<title>Three rounds of each method: what the device, the network and the server do</title>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="20" font-size="15" fill="#222">Three rounds of each method, one device of many</text>',
    ]
    x = float(LEFT)
    for kind, text in LEGEND.items():
        out.append(f'<rect x="{x:.1f}" y="32" width="13" height="13" fill="{COLOURS[kind]}"/>')
        out.append(f'<text x="{x + 18:.1f}" y="43" fill="#222">{escape(text)}</text>')
        x += 36 + 7.1 * len(text)
    for number, (name, (says, rounds)) in enumerate(METHODS.items()):
        out += _panel(name, says, rounds, TOP + number * panel)
    return "\n".join([*out, "</svg>", ""])


def _panel(name: str, says: str, rounds: list[list[Step]], top: float) -> list[str]:
    whole = sum(step.length for round_ in rounds for step in round_) * UNIT
    title = f'<tspan font-weight="bold">{name}</tspan>: {escape(says)}'
    out = [f'<text x="{LEFT}" y="{top + 13:.0f}" fill="#222">{title}</text>']
    top += 20
    for lane, text in enumerate(LANES):
        y = top + lane * LANE
        out.append(f'<text x="{LEFT - 8}" y="{y + 12:.1f}" text-anchor="end" fill="#555">{text}</text>')
        out.append(f'<rect x="{LEFT}" y="{y + 1:.1f}" width="{whole:.1f}" height="{LANE - 2}" fill="#f1f1f1"/>')
    x = float(LEFT)
    for round_ in rounds:
        for step in round_:
            y = top + lane_of(step.kind) * LANE + 1
            out.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{step.length * UNIT - 0.6:.1f}" height="{LANE - 2}" '
                f'fill="{COLOURS[step.kind]}"/>'
            )
            x += step.length * UNIT
        out.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{top + 3 * LANE:.1f}" stroke="#222" '
            'stroke-dasharray="2 2"/>'
        )
    return out


if __name__ == "__main__":
    PICTURE.write_text(drawn(), encoding="utf-8")
    print(PICTURE)
