"""How results look in a notebook: the reports, which stand above the results, say it here when they are imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecofed.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas

_makers: list[Callable[[Any], str]] = []


def draw_with(maker: Callable[[Any], str]) -> None:
    """Have results shown as the HTML that ``maker`` makes of one."""
    _makers[:] = [maker]


class Shown:
    """Base of what notebooks show as a table and a curve."""

    def _repr_html_(self) -> str | None:
        """For notebooks; ``None`` (the plain ``repr``) where :mod:`ecofed.reports` is not in use."""
        return _makers[0](self) if _makers else None


def frame(rows: list[dict[str, Any]], purpose: str) -> pandas.DataFrame:
    """A table with a row for each of ``rows``.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise MissingExtraError("pandas", "pandas", purpose) from None
    return pandas.DataFrame(rows)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over several seeds. With one seed all three are equal."""

    mean: float
    low: float
    high: float
