"""How much an attacker recovers, against the bytes of an upload; and the pictures that he recovers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ecofed.reports import theme
from ecofed.reports.plots.names import short
from ecofed.reports.units import human_bytes
from ecofed.results.audits import Audit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAME_LIMIT = 40
_MARKERS = ("v", "X", "o", "P", "D", "s")


def leakage_figure(audit: Audit) -> Figure:
    """SSIM of reconstructions against bytes of an upload, beside JPEGs."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    curve = sorted((row.bytes_per_image or 1, row.ssim or 0.0) for row in audit.curve)
    if curve:
        axes.plot(
            [size for size, _ in curve],
            [value for _, value in curve],
            color=theme.MUTED,
            linewidth=1.2,
            marker=".",
            label="the image as JPEG, qualities " + ", ".join(row.name.removeprefix("jpeg-") for row in audit.curve),
        )
    drawn = [row for row in audit.rows if row.kind in ("attack", "control") and row.ssim is not None]
    for row, marker in zip(drawn, _MARKERS * len(drawn), strict=False):
        colour = theme.MUTED if row.kind == "control" else theme.colour_of(audit.method) or theme.INK
        axes.plot(
            row.bytes_per_image or 1,
            row.ssim or 0.0,
            marker=marker,
            markersize=8,
            linestyle="none",
            color=colour,
            fillstyle="none" if row.kind == "control" else "full",
            label=short(row.title, _NAME_LIMIT),
        )
    means = next((row for row in audit.rows if row.name == "class-means"), None)
    if means is not None and means.ssim is not None:
        axes.axhline(means.ssim, color=theme.MUTED, linestyle=":", linewidth=1, label=means.title)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: human_bytes(size)))
    axes.set_ylim(-0.05, 1.02)
    axes.set_xlabel("bytes of an upload, an image (log scale)")
    axes.set_ylabel("SSIM of the reconstruction")
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return figure


def grid_figure(strips: Sequence[tuple[str, np.ndarray]]) -> Figure:
    """Rows of pictures, uint8 (N, H, W, C), each with what it is."""
    from matplotlib.figure import Figure

    filled = [(title, pictures) for title, pictures in strips if len(pictures)]
    across = max(len(pictures) for _, pictures in filled)
    figure = Figure(figsize=(0.62 * across + 2.6, 0.66 * len(filled) + 0.1))
    left = 2.5 / (0.62 * across + 2.6)
    height = 1 / len(filled)
    for number, (title, pictures) in enumerate(filled):
        axes = figure.add_axes((left, 1 - (number + 1) * height, 1 - left, height * 0.96))
        strip = np.concatenate(list(_framed(pictures)), axis=1)
        axes.imshow(strip[..., 0] if strip.shape[2] == 1 else strip, cmap="gray", vmin=0, vmax=255, aspect="equal")
        axes.set_anchor("W")
        axes.axis("off")
        figure.text(
            left - 0.01,
            1 - (number + 0.5) * height,
            "\n".join(_folded(short(title, 60))),
            ha="right",
            va="center",
            fontsize=8,
            color=theme.INK,
        )
    return figure


def _framed(pictures_NHWC: np.ndarray) -> np.ndarray:
    """With a white line to the right."""
    line = max(1, pictures_NHWC.shape[2] // 32)
    return np.pad(pictures_NHWC, ((0, 0), (0, 0), (0, line), (0, 0)), constant_values=255)


def _folded(text: str) -> list[str]:
    """In lines of at most 28 letters, between words."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) > 28:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
