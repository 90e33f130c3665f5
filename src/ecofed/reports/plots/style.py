"""How every plot looks, and a figure as PNG.

Figures are made without pyplot: no global state, no window, safe in any thread. What a user has set for matplotlib's
own windows and looks (``MPLBACKEND`` of a notebook, a ``matplotlibrc``) does not matter.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecofed.errors import MissingExtraError
from ecofed.reports import theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

PNG_DPI = 200
#: For papers; text stays text in both.
PAPER_FORMATS = ("svg", "pdf")


@contextmanager
def drawing(salt: str, purpose: str = "drawing plots") -> Iterator[None]:
    """Inside, figures are drawn by our settings alone.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    _import_matplotlib(purpose)
    from matplotlib import style

    with style.context(["default", settings(salt)]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _import_matplotlib(purpose: str) -> None:
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "train", purpose)
    if "matplotlib" in sys.modules:
        return
    # It would not start with settings that it cannot follow, such as a backend that only the notebook's kernel has.
    with _settings_as_shipped():
        import matplotlib
    with contextlib.suppress(Exception):  # the user's own plots, later in this process, are drawn as the user set
        theirs = dict(matplotlib.rc_params().items())
        # To set a backend imports pyplot, a second of work: only where somebody wants one.
        backend = os.environ.get("MPLBACKEND") or theirs["backend"]
        del theirs["backend"]
        matplotlib.rcParams.update(theirs)
        if isinstance(backend, str):
            matplotlib.rcParams["backend"] = backend


@contextmanager
def _settings_as_shipped() -> Iterator[None]:
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    before = {name: os.environ.pop(name, None) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
    os.environ["MATPLOTLIBRC"] = str(Path(spec.origin).parent / "mpl-data" / "matplotlibrc")
    try:
        yield
    finally:
        del os.environ["MATPLOTLIBRC"]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def settings(salt: str) -> dict[str, Any]:
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
        "pdf.fonttype": 42,  # whole outlines: publishers refuse Type 3
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "text.color": theme.INK,
        "text.parse_math": False,  # class names come from users' folders and are no formulas
        "xtick.color": theme.MUTED,
        "ytick.color": theme.MUTED,
    }


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    with _inked(figure, PNG_DPI, theme.PAPER):
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": "ecofed"})  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def svg(figure: Figure) -> str:
    """The figure as SVG, without background."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    with _inked(figure, 72, "none", *(axes.patch for axes in figure.axes)):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()


@contextmanager
def _inked(figure: Figure, dpi: float, background: str, *others: Patch) -> Iterator[None]:
    """What ``savefig`` arranges for a drawing. It would draw twice, the first time without ink, for the layout: ours
    is done by then, and that costs a tenth of a report's time."""
    before = [(patch, patch.get_facecolor(), patch.get_edgecolor()) for patch in (figure.patch, *others)]
    resolution = figure.dpi
    figure.set_dpi(dpi)
    for patch, _, edge in before:
        patch.set(facecolor=background, edgecolor=edge if background != "none" else "none")
    try:
        yield
    finally:
        figure.set_dpi(resolution)
        for patch, face, edge in before:
            patch.set(facecolor=face, edgecolor=edge)


def vector(figure: Figure, ending: str) -> bytes:
    """The figure as a file of one of :data:`PAPER_FORMATS`, the same bytes each time."""
    buffer = io.BytesIO()
    told = {"svg": {"Date": None, "Creator": "ecofed"}, "pdf": {"CreationDate": None, "Creator": "ecofed"}}[ending]
    figure.savefig(buffer, format=ending, transparent=True, metadata=told)
    return buffer.getvalue()
