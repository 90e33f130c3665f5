"""Whether anything is left of what was deleted: some of its rows, searched for in every file of a run's folder.

They are taken before the first of them goes, and lie in ``forgetting.json`` until the search has found none: whoever
completes a deletion that was interrupted, or that found a copy, searches for the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np

from ecofed.activations import View
from ecofed.errors import EcoFedError, StorageError
from ecofed.files.sealing import seal_if
from ecofed.runs.kept_buffer import KeptBuffer

#: Rows that are searched for in every file afterwards. One that has few different bytes may stand there by chance.
PROBES, FEWEST_BYTES, FEWEST_VALUES = 64, 16, 8
_ABOUT = b"rows that are searched for"


def probes_of(kept: KeptBuffer, what: Mapping[int, Sequence[int]]) -> list[bytes]:
    """Rows to search for afterwards: of the deleted, and no other's."""
    staying = {
        _hash(row)
        for device in kept.buffer.devices
        for view in views_of(kept, device)
        for row in view.rows[np.setdiff1d(np.arange(len(view)), rows_of(view, what.get(device)))]
    }
    found = [
        row.tobytes()
        for device, samples in what.items()
        for view in views_of(kept, device)
        for row in view.rows[rows_of(view, samples)]
        if row.nbytes >= FEWEST_BYTES and len(np.unique(row)) >= FEWEST_VALUES and _hash(row) not in staying
    ]
    return found[:: max(1, -(-len(found) // PROBES))]


def written(probes: Sequence[bytes], kept: KeptBuffer) -> list[str]:
    """Probes as text for a file; encrypted where the buffer that they are from is."""
    seal = seal_if(kept.config.encrypt_buffer)
    return [(probe if seal is None else seal.seal(probe, _ABOUT)).hex() for probe in probes]


def read(texts: Sequence[str], kept: KeptBuffer) -> list[bytes]:
    """Inverse of :func:`written`.

    Raises:
        ConfigError: the key is another one. ValueError: they are no such texts.
    """
    seal = seal_if(kept.config.encrypt_buffer)
    found = map(bytes.fromhex, texts)
    return [probe if seal is None else seal.open(probe, _ABOUT, subject=f"{kept.run}") for probe in found]


def search(run: Path, probes: Sequence[bytes]) -> int:
    """Read the whole folder. Returns how many rows were searched for.

    Raises:
        EcoFedError: one of them is there.
    """
    for path in _files(run):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StorageError(f"{path}: cannot be read to see that it holds nothing deleted ({error})") from error
        if any(probe in content for probe in probes):
            raise EcoFedError(f"{path}: holds bytes of what was to be deleted; remove it, and repeat the command")
    return len(probes)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def views_of(kept: KeptBuffer, device: int) -> Sequence[View]:
    return list(kept.buffer.views_of(device).values())


def rows_of(view: View, samples: Sequence[int] | None) -> np.ndarray:
    """Which rows of a view are of these samples; ``[]``: all are; ``None``: none."""
    if samples is None:
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.isin(view.sample_N, samples)) if samples else np.arange(len(view))


def _hash(row: np.ndarray) -> bytes:
    return blake2b(row.tobytes(), digest_size=16).digest()
