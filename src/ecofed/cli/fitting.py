"""Tables on a terminal of any width: cells wrap between words; what does not fit beside each other stands below."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

#: A cell this short is one thing, spaces or not: ``12.3 MB``, ``1 min 9 s``.
WHOLE = 12
#: Spaces between two columns.
GAP = 2


def column_groups(table: Sequence[Sequence[str]], width: int, keys: int) -> list[list[int]]:
    """Which columns stand together so that each group fits; the first ``keys`` columns begin every group.

    Args:
        table: header and rows.
        width: of the terminal.
        keys: columns that say what a row is about.
    """
    least = least_widths(table, width)
    every = list(range(len(least)))
    groups: list[list[int]] = []
    current = every[:keys]
    for column in every[keys:]:
        if len(current) > keys and _taken([least[index] for index in [*current, column]]) > width:
            groups.append(current)
            current = every[:keys]
        current = [*current, column]
    return [*groups, current]


def column_widths(table: Sequence[Sequence[str]], width: int) -> list[int]:
    """A width for each column: what its cells take, or as much of it as there is room for, by need."""
    widths = least_widths(table, width)
    wanted = [max(map(cell_len, cells)) for cells in zip(*table, strict=True)]
    for _ in range(width - _taken(widths)):
        missing = [want - have for want, have in zip(wanted, widths, strict=True)]
        if max(missing) <= 0:
            break
        widths[missing.index(max(missing))] += 1
    return widths


def least_widths(table: Sequence[Sequence[str]], width: int) -> list[int]:
    """The widths below which words would break; a word of more than half a line does break."""
    return [
        min(max(WHOLE, width // 2), max(_longest_piece(cell, row == 0) for row, cell in enumerate(cells)))
        for cells in zip(*table, strict=True)
    ]


def _longest_piece(cell: str, heading: bool) -> int:
    if cell_len(cell) <= WHOLE and not heading:
        return cell_len(cell)
    return max(map(cell_len, cell.split()), default=0)


def _taken(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)
