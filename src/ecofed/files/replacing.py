"""What may be replaced: one rule for every command that writes where something may be already.

- A file that EcoFed did not write is never replaced, whatever was said. Its content tells, not its name.
- One that EcoFed wrote is replaced where the user says so (``--overwrite``, ``overwrite=True``).
- Pages and plots are drawn anew from results without being asked: nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecofed.errors import ConfigError
from ecofed.files.json_values import parse

#: No file of ours that is asked about here is longer, but for networks, whose first bytes tell.
_MOST_BYTES = 256 << 20
_RECORD = {"round", "devices", "uplink_bytes"}
#: How the first of them begins.
_FIRST = b'{"round": 1, '
_CARD = {"id", "card", "file_sha256"}
#: Files that tell that the plots beside or below them are ours, too: those of earlier versions are not marked.
_RESULTS = ("result.json", "summary.json", "unfinished.json", "frontier.json", "report.html")


def refuse_strange(*paths: Path, option: str = "--out") -> None:
    """Raise :class:`ConfigError` where there is a file that EcoFed did not write."""
    for path in paths:
        if path.exists() and not is_ours(path):
            raise ConfigError(f"{path} is not a file that ecofed wrote; move it, or choose another place with {option}")


def refuse_existing(*paths: Path, overwrite: bool, option: str = "--out") -> None:
    """Raise :class:`ConfigError` where there is a file, unless EcoFed wrote it and it is to be replaced."""
    refuse_strange(*paths, option=option)
    there = next((path for path in paths if path.exists()), None)
    if there is not None and not overwrite:
        raise ConfigError(f"{there} is there already; add --overwrite to replace it, or choose another with {option}")


def is_ours(path: Path) -> bool:
    """Whether EcoFed wrote a file, as far as its content tells."""
    from ecofed.files.tensor_files import is_described  # brings numpy

    try:
        if not path.is_file():
            return False
        if path.suffix == ".safetensors":
            return is_described(path)
        if path.stat().st_size > _MOST_BYTES:
            return False
        known = _KINDS.get(path.suffix)
        return known is not None and known(path)
    except OSError:
        return False


def _json(path: Path) -> bool:
    values = _parsed(path.read_bytes())
    return isinstance(values, dict) and (str(values.get("schema")).startswith("ecofed-") or values.keys() >= _CARD)


def _records(path: Path) -> bool:
    first, ended, _ = path.read_bytes().partition(b"\n")
    if not ended:  # its writer was killed; or the power went, and what had not reached the disk is missing, or zeros
        there = first.rstrip(b"\0")
        return there[: len(_FIRST)] == _FIRST[: len(there)]
    values = _parsed(first)
    return not first or (isinstance(values, dict) and values.keys() >= _RECORD)


def _parsed(content: bytes) -> Any:
    try:
        return parse(content)
    except ValueError:
        return None


def _page(path: Path) -> bool:
    content = path.read_bytes()
    return any(b"<p class='kicker'>EcoFed " + kind in content for kind in (b"report", b"audit"))


def _plot(path: Path) -> bool:
    folder = path.parent.parent if path.parent.name == "plots" else path.parent
    return b"tEXtSoftware\0ecofed" in path.read_bytes()[:4096] or any(is_ours(folder / name) for name in _RESULTS)


_KINDS: dict[str, Callable[[Path], bool]] = {
    ".json": _json,
    ".jsonl": _records,
    ".html": _page,
    ".png": _plot,
    # Both name who made them in their metadata.
    ".svg": lambda path: b"<dc:title>ecofed</dc:title>" in path.read_bytes()[:8192],
    ".pdf": lambda path: b"/Creator (ecofed)" in path.read_bytes(),
    ".toml": lambda path: b"measured by 'ecofed profile'" in path.read_bytes(),
    # Format and producer stand first.
    ".onnx": lambda path: b"\x12\x06ecofed" in path.read_bytes()[:16],
}
