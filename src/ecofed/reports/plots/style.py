"""How every plot looks, and a figure as PNG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from ecofed.reports import theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_DPI = 200


def settings(salt: str) -> Any:
    """matplotlib's settings; ``salt`` makes the names inside an SVG its own."""
    return {
        "axes.edgecolor": theme.MUTED,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.labelcolor": theme.MUTED,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": theme.INK,
        "axes.titlelocation": "left",
        "axes.titlesize": 12,
        "axes.titleweight": "bold",
        "axes.unicode_minus": False,
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "grid.color": theme.GRID,
        "grid.linewidth": 0.8,
        "lines.solid_capstyle": "round",
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "text.color": theme.INK,
        "text.parse_math": False,
        "xtick.color": theme.MUTED,
        "ytick.color": theme.MUTED,
    }


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PNG_DPI, facecolor=theme.PAPER, metadata={"Software": None})
    return buffer.getvalue()
