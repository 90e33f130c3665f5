"""Checkpoints: what ``--resume`` continues from. One file, replaced atomically."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ecofed.errors import CheckpointError
from ecofed.files import json_text, remove_unfinished, write_bytes
from ecofed.results import RoundRecord

CHECKPOINT_FILE = "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state after a round."""

    config: dict[str, Any]
    records: list[RoundRecord]
    ledger: dict[str, Any]
    values: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    wall_seconds: float

    def write(self, folder: Path) -> None:
        """Write the checkpoint; a crash at any moment leaves the old one or the new one, whole."""
        description = {
            "config": self.config,
            "records": [record.to_dict() for record in self.records],
            "ledger": self.ledger,
            "values": dict(self.values),
            "wall_seconds": self.wall_seconds,
        }
        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}
        text = json_text(description)
        content = save(arrays, metadata={"ecofed": text, "checksum": str(_checksum(text, arrays))})
        write_bytes(folder / CHECKPOINT_FILE, content)

    @classmethod
    def read(cls, folder: Path, config: dict[str, Any]) -> Checkpoint | None:
        """The folder's checkpoint, or ``None`` without one.

        Raises:
            CheckpointError: it is damaged, or belongs to another configuration.
        """
        remove_unfinished(folder)
        path = folder / CHECKPOINT_FILE
        if not path.exists():
            return None
        try:
            with safe_open(path, "numpy") as file:
                metadata = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            if int(metadata["checksum"]) != _checksum(metadata["ecofed"], arrays):
                raise ValueError("its checksum is wrong")
            description = json.loads(metadata["ecofed"])
            records = [RoundRecord(**record) for record in description["records"]]
            checkpoint = cls(**{**description, "records": records, "arrays": arrays})
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{path}: damaged ({reason}); delete it to start this run again") from error
        differing = [key for key in config if config[key] != checkpoint.config.get(key)]
        if differing:
            raise CheckpointError(
                f"{path}: belongs to a run with another configuration (differs in {', '.join(differing)}); "
                "resume with the same settings, or choose another --out"
            )
        return checkpoint


def _checksum(text: str, arrays: Mapping[str, np.ndarray]) -> int:
    """Of everything that a run continues from; safetensors itself would not notice a flipped bit."""
    checksum = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        checksum = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), checksum)
        checksum = zlib.crc32(array.reshape(-1).view(np.uint8).data, checksum)
    return checksum
