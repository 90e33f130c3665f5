"""Numbers as people read them. Bytes are decimal: 1 MB is 10^6 bytes."""

from __future__ import annotations

_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def human_bytes(count: float) -> str:
    """Three significant digits and a decimal unit: ``275528000`` is ``276 MB``, ``4096`` is ``4.10 kB``."""
    if count < 1000:
        return f"{count:.0f} B" if round(count) < 1000 else "1.00 kB"
    value, unit = float(count), 0
    # 999.5 would print as "1000": it belongs to the next unit.
    while value >= 999.5 and unit < len(_BYTE_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{three_digits(value)} {_BYTE_UNITS[unit]}"


def rough(accuracy: float) -> str:
    """An accuracy with two decimals; with three where it is small, as among hundreds of classes: 0.005 is half of 0.01,
    and no 0.01 itself."""
    return f"{accuracy:.2f}" if accuracy >= 0.05 or not accuracy else f"{accuracy:.3f}"


def human_seconds(seconds: float) -> str:
    """``0.21 s``, ``48 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for size, name, small_size, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            large, rest = divmod(whole, size)
            small = rest // small_size
            return f"{large:,} {name} {small} {small_name}" if small else f"{large:,} {name}"
    raise AssertionError("whole >= 60 always meets a unit")


def three_digits(value: float) -> str:
    """Three significant digits without an exponent: ``1.23``, ``34.5``, ``134``, ``112,000``."""
    if value >= 999.5:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def times(ratio: float) -> str:
    """A factor in words' reach: ``1.3x``, ``34x``, ``112,000x``."""
    return f"{three_digits(ratio)}x" if ratio >= 99.95 else f"{ratio:.1f}x" if ratio < 9.95 else f"{ratio:.0f}x"


def fewer_or_more(ratio: float) -> str:
    """How a byte count compares with a reference that is ``ratio`` times as large: ``34x fewer``, ``1.3x more``."""
    if 0.995 <= ratio <= 1.005:
        return "as many"
    return f"{times(ratio)} fewer" if ratio > 1 else f"{times(1 / ratio)} more"


def accuracy(fraction: float) -> str:
    """Three decimals, a fraction 0-1."""
    return f"{fraction:.3f}"
