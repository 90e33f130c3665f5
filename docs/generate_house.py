"""Draws docs/images/house.svg: the rooms of the package and who imports whom, taken from the imports.

A room stands one floor above the highest room that it imports. An arrow that others imply is left out.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from html import escape
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "ecofed"
PICTURE = Path(__file__).parent / "images" / "house.svg"

#: What everybody may import: drawn as one slab, without arrows.
FOUNDATION = ("config", "results", "files", "errors", "machine", "randomness", "slow_work")
#: The names of the package itself, and how it is started: doors, not rooms.
DOORS = ("__init__", "__main__", "_version")
#: What a room is for, in the words of docs/architecture.md.
HOLDS = {
    "activations": "codecs, replay buffer",
    "api": "ecofed.run, compare",
    "cli": "the command ecofed",
    "costs": "ledger, clock, forecast",
    "data": "sources, partitions",
    "devices": "the device's side",
    "flower": "apps of Flower",
    "methods": "one file a method",
    "models": "networks, cutting",
    "onnx": "graphs without PyTorch",
    "planning": "what a run will cost",
    "pretraining": "where fronts come from",
    "relearning": "again, from a kept buffer",
    "reports": "tables, plots, page",
    "runs": "run and compare",
    "runtimes": "how bytes travel",
    "wire": "messages, bytes",
}
WIDTH, BOX, HEIGHT, FLOOR = 980, 158, 46, 92
INK, LINE, PAPER, ROOM, SLAB = "#1d2b33", "#7d929d", "#ffffff", "#e6f2ec", "#eef1f3"

Graph = Mapping[str, frozenset[str]]


def imports_of_rooms() -> dict[str, frozenset[str]]:
    """Each room but the foundation, and the rooms that its files import; what only types need counts, too."""
    found: dict[str, set[str]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room in FOUNDATION or room in DOORS:
            continue
        found.setdefault(room, set())
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ecofed."):
                found[room].add(node.module.split(".")[1])
    return {room: frozenset((own & found.keys()) - {room}) for room, own in found.items()}


def floors_of(graph: Graph) -> dict[str, int]:
    """How high each room stands. Raises ``ValueError`` where rooms import each other in a circle."""
    known: dict[str, int] = {}

    def height(room: str, above: tuple[str, ...]) -> int:
        if room in above:
            raise ValueError(f"a circle of imports: {' -> '.join((*above, room))}")
        if room not in known:
            known[room] = 1 + max((height(other, (*above, room)) for other in sorted(graph[room])), default=-1)
        return known[room]

    for room in graph:
        height(room, ())
    return known


def needed_arrows(graph: Graph) -> list[tuple[str, str]]:
    """The arrows that no longer way implies."""

    def below(room: str) -> set[str]:
        return set(graph[room]).union(*(below(other) for other in graph[room])) if graph[room] else set()

    return [
        (room, other)
        for room in sorted(graph)
        for other in sorted(graph[room])
        if not any(other in below(between) for between in graph[room] - {other})
    ]


def house() -> str:
    """The picture, as SVG."""
    graph = imports_of_rooms()
    floors, arrows = floors_of(graph), needed_arrows(graph)
    top = max(floors.values())
    places: dict[str, tuple[float, float]] = {}
    for floor in range(top + 1):
        rooms = [room for room in sorted(graph) if floors[room] == floor]
        # As near as may be above what a room stands on.
        rooms.sort(key=lambda room: _mean([places[other][0] for one, other in arrows if one == room]))
        for number, room in enumerate(rooms, start=1):
            places[room] = (WIDTH * number / (len(rooms) + 1), 40 + FLOOR * (top - floor))
    ground = 40 + FLOOR * (top + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {ground + 90}" '
        f'font-family="Helvetica, Arial, sans-serif" role="img" aria-label="The rooms of EcoFed and their imports">',
        f'<rect width="{WIDTH}" height="{ground + 90}" fill="{PAPER}"/>',
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker></defs>',
    ]
    parts += [_arrow(places[one], places[other]) for one, other in arrows]
    parts += [_box(x - BOX / 2, y, BOX, ROOM, f"{room}/", HOLDS.get(room, "")) for room, (x, y) in places.items()]
    names = ", ".join(FOUNDATION)
    parts += [_box(30, ground, WIDTH - 60, SLAB, "the foundation, which all of them import", names), "</svg>"]
    return "\n".join(parts) + "\n"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = (start[0], start[1] + HEIGHT), end
    bend = min(60.0, (to_y - y) / 2)
    way = f"M{x:.0f} {y:.0f} C{x:.0f} {y + bend:.0f} {to_x:.0f} {to_y - bend:.0f} {to_x:.0f} {to_y - 2:.0f}"
    return f'<path d="{way}" fill="none" stroke="{LINE}" stroke-width="1.4" marker-end="url(#tip)"/>'


def _box(x: float, y: float, width: float, colour: str, name: str, holds: str) -> str:
    middle = x + width / 2
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{HEIGHT}" rx="6" fill="{colour}" stroke="{INK}"/>'
        f'<text x="{middle:.0f}" y="{y + 19:.0f}" text-anchor="middle" font-size="14" font-weight="bold" '
        f'fill="{INK}">{escape(name)}</text>'
        f'<text x="{middle:.0f}" y="{y + 36:.0f}" text-anchor="middle" font-size="11.5" fill="{INK}">'
        f"{escape(holds)}</text>"
    )


if __name__ == "__main__":
    PICTURE.write_text(house(), encoding="utf-8")
    print(PICTURE)
