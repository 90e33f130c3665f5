"""``audit.json`` and its page: what uploads give away, in a table, a plot and pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from ecofed.errors import EcoFedError
from ecofed.files.disk import write_bytes, write_text
from ecofed.files.json_values import read_as
from ecofed.reports.files import AUDIT_FILE, read_file
from ecofed.reports.html import REPORT_FILE
from ecofed.reports.page import framed
from ecofed.reports.plots.leakage import grid_figure, leakage_figure
from ecofed.reports.plots.style import drawing, png
from ecofed.reports.sections import pairs, scroll, section, toml
from ecofed.reports.units import human_bytes
from ecofed.results.audits import AUDIT_SCHEMA, Audit, FromSums, Leak, Membership

PAGE_FILE = REPORT_FILE
GRID_FILE, PLOT_FILE = "grid.png", "leakage.png"

#: One row of pictures: what they are, and uint8 (N, H, W, C).
Strip = tuple[str, np.ndarray]

COLUMNS = ("what", "public images", "an image", "SSIM", "PSNR", "distance", "told apart", "recognised")


def read_audit(path: str | Path) -> Audit:
    """Read an ``audit.json``, or the one in a folder.

    Raises:
        EcoFedError: it is missing, or malformed.
    """
    path = Path(path)
    file = path / AUDIT_FILE if path.is_dir() else path
    try:
        found: Audit = read_as(Audit, read_file(file, AUDIT_SCHEMA))
    except ValueError as error:
        raise EcoFedError(f"{file}: {error}") from error
    return found


def write_audit_page(audit: Audit, strips: Sequence[Strip], folder: Path) -> None:
    """Write the page, the grid of pictures and the plot.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with drawing("leakage", "the pictures of an audit"):
        grid, plot = png(grid_figure(strips)), png(leakage_figure(audit))
    write_bytes(folder / GRID_FILE, grid)
    write_bytes(folder / PLOT_FILE, plot)
    write_text(folder / PAGE_FILE, audit_html(audit, grid, plot))


def cells(row: Leak) -> tuple[str, ...]:
    """A row of the table, in the order of :data:`COLUMNS`."""
    title = row.title
    public = f"{row.pairs:,} of {row.public}" if row.pairs else "-"
    return (
        title,
        public,
        "-" if not row.bytes_per_image else human_bytes(row.bytes_per_image),
        _number(row.ssim, ".3f"),
        _number(row.psnr, ".1f"),
        _number(row.distance, ".2f"),
        _number(row.reidentified, ".1%"),
        _number(row.recognised, ".1%"),
    )


def headline(audit: Audit) -> str:
    """What was found, in a sentence."""
    worst = audit.worst
    if worst is None and any(row.kind == "control" for row in audit.rows):
        return f"{audit.method}: no attack on its uploads was asked for (--attacks), only the control"
    if worst is None or worst.ssim is None or worst.reidentified is None:
        return f"{audit.method}: no upload is about a single image"
    what = "an upload" if audit.sums is None else "the sum over a class with one image,"
    return (
        f"From {what} of {human_bytes(worst.bytes_per_image or 0)} the strongest attack makes an image of SSIM "
        f"{worst.ssim:.2f}, and tells which of {audit.images} images it is in {worst.reidentified:.0%} of cases"
    )


def audit_html(audit: Audit, grid_png: bytes, plot_png: bytes) -> str:
    """The page as text."""
    sections = [
        section("Worth knowing", _list(audit.notes), "warning") if audit.notes else "",
        section("What was reconstructed", _figure(grid_png, "originals and reconstructions", GRID)),
        section("All attacks", scroll(_table(audit)) + f"<p class='note'>{escape(legend(audit))}</p>"),
        section("Leakage against bytes", _figure(plot_png, "leakage against bytes", PLOT)),
        section("What needs no attack", _list(audit.facts)),
        section("Who took part", _list([membership_sentence(each) for each in audit.membership]))
        if audit.membership
        else "",
        section("What sums tell", _list(sums_sentences(audit.sums))) if audit.sums is not None else "",
        section("Reproduce this", _reproduction(audit)),
    ]
    return framed(
        title=headline(audit),
        kicker=f"EcoFed audit · {audit.data} · {audit.method} · {audit.configuration}",
        lead=LEAD,
        sections=sections,
        footer=f"ecofed {escape(audit.ecofed_version)}",
    )


LEAD = (
    "Fewer bits and fewer bytes are no protection by themselves: this page says what an attacker recovers, who knows "
    "more and more. A stronger attack may recover more than these; none recovers less."
)
GRID = (
    "First the images as the network saw them, then what each attack made of their uploads, and what other uploads "
    "would show. Nothing was chosen: they are the first images that were attacked."
)
PLOT = (
    "Higher is more like the image. The line is the image itself as JPEG of several qualities; the control's uploads "
    "say nothing about the image."
)


def legend(audit: Audit) -> str:
    """How the columns are to be read."""
    known = (
        f"Recognised: a classifier taught on public images tells its class; on the images themselves "
        f"{audit.recognised_originals:.1%}. "
        if audit.recognised_originals is not None
        else ""
    )
    probed = ""
    if audit.probe is not None:
        probed = f" What the uploads are good for: a linear classifier on them is right in {audit.probe:.1%} of cases."
    if audit.device_told is not None:
        probed += (
            f" It tells which device an upload is from in {audit.device_told:.1%} of cases; who always says the most "
            f"frequent is right in {audit.device_guessed or 0:.1%}."
        )
    return (
        "SSIM: 1 is the image itself. PSNR in dB. Distance: in the features of "
        f"{audit.eye}, made like LPIPS and not LPIPS; 0 is the image itself. Told apart: which of {audit.images} "
        f"images it is, chance {audit.chance:.1%}. {known}Means over {audit.images} images.{probed}"
    )


def membership_sentence(found: Membership) -> str:
    """Whether it can be told who took part."""
    if not found.available or found.auc is None or found.tpr_at_1_percent_fpr is None:
        return f"From the {found.of}: not attacked, {found.why_not}."
    among = ""
    if found.picked is not None:
        among = f"among {found.candidates} images {found.picked:.1%} are picked (chance {1 / found.candidates:.1%}). "
    return (
        f"From the {found.of}: images that took part are told from others with an AUC of {found.auc:.3f} (chance 0.5); "
        f"with at most one false alarm in a hundred {found.tpr_at_1_percent_fpr:.1%} of them are found (chance "
        f"{found.chance_of_found:.1%}). {among}"
        f"{found.members:,} images that took part, {found.others:,} that did not."
    )


def sums_sentences(found: FromSums) -> list[str]:
    """What sums over a device's images tell of them."""
    lines = [membership_sentence(each) for each in found.took_part]
    lines.append(f"Control, which must be at chance. {membership_sentence(found.control)}")
    lines.append(
        f"Who knows all other images of a device decides rightly which of two images is the last in "
        f"{found.pair_right:.1%} of {found.pairs} cases (chance 50 %; at most {found.pair_at_most:.1%} is possible)."
    )
    lines.append(
        f"How many images of each class a device has is told exactly in {found.counts_exact:.1%} of {found.counts} "
        f"cases, and {found.count_error:.1f} images beside the truth in the mean (guessing alike for all classes: "
        f"{found.count_guess_error:.1f})."
    )
    return lines


def _number(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)


def _table(audit: Audit) -> str:
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in COLUMNS)
    body = ""
    for row in audit.rows:
        first, *rest = cells(row)
        kind = "hero" if row == audit.worst else "" if row.kind == "attack" else "floor"
        inner = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        body += f"<tr class='{kind}'><th scope='row'>{escape(first)}<small>{escape(row.how)}</small></th>{inner}</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _figure(png_bytes: bytes, what: str, caption: str) -> str:
    data = base64.b64encode(png_bytes).decode("ascii")
    image = f"<img alt='{escape(what)}' src='data:image/png;base64,{data}' style='max-width:100%'>"
    return f"<figure>{scroll(image)}<figcaption>{escape(caption)}</figcaption></figure>"


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _reproduction(audit: Audit) -> str:
    facts = {
        "command": audit.command,
        "seed": str(audit.seed),
        "commit": audit.git_commit or "unknown",
        "front": audit.front,
        **audit.environment,
    }
    settings = f"<pre>{escape(toml(audit.config))}</pre>"
    return f"{pairs(facts)}<details><summary>complete configuration</summary>{settings}</details>"
