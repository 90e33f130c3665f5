"""Checkpoints: what ``--resume`` continues from. One file, replaced atomically."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from ecofed.config.registry import require_plugins
from ecofed.config.schema import PLUGINS, Config
from ecofed.errors import CheckpointError, ConfigError, PluginError
from ecofed.files.disk import json_text, remove_unfinished, write_bytes
from ecofed.files.json_values import Amount, Count, parse, read_as
from ecofed.files.sealing import opened_arrays, seal_if, sealed_arrays
from ecofed.files.tensor_files import pack, unpack
from ecofed.results import DIRECTIONS, LEDGER_KINDS, RoundRecord, flatten

CHECKPOINT_FILE = "checkpoint.safetensors"
_MOST_KEYS = 8


@dataclass(frozen=True, kw_only=True)
class _LedgerState:
    bytes: dict[str, dict[str, Count]]
    retransmitted: dict[str, Count]

    def __post_init__(self) -> None:
        rows = (*self.bytes.values(), self.retransmitted)
        if set(self.bytes) - set(LEDGER_KINDS) or any(set(row) != set(DIRECTIONS) for row in rows):
            raise ValueError("'ledger' has another kind or direction than a ledger has")


@dataclass(frozen=True, kw_only=True)
class _Description:
    """The JSON in the file."""

    config: dict[str, Any]
    records: list[RoundRecord]
    ledger: _LedgerState
    values: dict[str, Any]
    wall_seconds: Amount
    inputs: dict[str, str] = field(default_factory=dict)


def differing_keys(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """``differs in learning_rate, codec.bits``; empty where two configurations are the same."""
    new, old = flatten(wanted), flatten(there)
    keys = [key for key in {**new, **old} if key not in old or key not in new or new[key] != old[key]]
    more = f" and {len(keys) - _MOST_KEYS} more" if len(keys) > _MOST_KEYS else ""
    return f"differs in {', '.join(keys[:_MOST_KEYS])}{more}" if keys else ""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state after a round."""

    config: dict[str, Any]
    records: list[RoundRecord]
    ledger: dict[str, Any]
    values: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    wall_seconds: float
    inputs: Mapping[str, str]
    """Fingerprints of what the run read; empty in checkpoints of earlier versions."""

    def write(self, folder: Path) -> None:
        """Write the checkpoint; a crash at any moment leaves the old one or the new one, whole."""
        description = {
            "config": self.config,
            "records": [record.to_dict() for record in self.records],
            "ledger": self.ledger,
            "values": dict(self.values),
            "wall_seconds": self.wall_seconds,
            "inputs": dict(self.inputs),
        }
        seal = seal_if(bool(self.config.get("encrypt_buffer")))
        arrays = self.arrays if seal is None else sealed_arrays(self.arrays, seal, CHECKPOINT_FILE)
        write_bytes(folder / CHECKPOINT_FILE, pack(arrays, json_text(description)))

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
            packed = unpack(path)
            if not packed.has_checksum:
                raise ValueError("it has no checksum")
            kept: _Description = read_as(_Description, parse(packed.description), "")
            require_plugins(kept.config.get(PLUGINS, []))
            if [record.round for record in kept.records] != [*range(1, len(kept.records) + 1)]:
                raise ValueError("its rounds do not count from 1")
            settings = Config.from_dict(kept.config)
            if len(kept.records) >= settings.rounds:
                raise ValueError("it has as many rounds as the whole run")
        except PluginError:
            raise
        except (OSError, ValueError, ConfigError) as error:
            raise CheckpointError(f"{path}: damaged ({error}); delete it to start this run again") from error
        arrays = packed.arrays
        if settings.encrypt_buffer:
            try:
                arrays = opened_arrays(arrays, CHECKPOINT_FILE, f"{path}")
            except (ValueError, SafetensorError) as error:
                raise CheckpointError(f"{path}: damaged ({error}); delete it to start this run again") from error
        checkpoint = cls(
            config=settings.to_dict(),  # keys that are newer than the run have their defaults
            records=kept.records,
            ledger=dataclasses.asdict(kept.ledger),
            values=kept.values,
            arrays=arrays,
            wall_seconds=kept.wall_seconds,
            inputs=kept.inputs,
        )
        if differing := differing_keys(config, checkpoint.config):
            raise CheckpointError(
                f"{path}: belongs to a run with another configuration ({differing}); "
                "resume with the same settings, or choose another --out"
            )
        return checkpoint
