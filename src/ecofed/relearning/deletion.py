"""Devices' uploads, deleted from a run's folder so that no byte of them is left in it.

``forgetting.json`` is written first and removed last. While it is there nothing else opens the buffer, and whatever of
the deletion is not done is done by whoever comes next: so a process that is killed leaves the folder untouched, or one
whose deletion will be completed. Rows go by writing the files of uploads anew, without them, and removing the old ones;
then every file in the folder is read, and searched for what is to be gone.
"""

from __future__ import annotations

import dataclasses
import getpass
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ecofed.activations import View
from ecofed.config.held_out import taking_part
from ecofed.errors import ConfigError, EcoFedError, StorageError
from ecofed.files.disk import flush_folder, remove_unfinished, write_json
from ecofed.files.json_values import Count, parse, read_as
from ecofed.files.ownership import refuse_if_owned
from ecofed.relearning import traces
from ecofed.relearning.traces import rows_of, views_of
from ecofed.reports.files import AUDIT_FILE, AUDIT_FOLDER, read_result, write_result
from ecofed.reports.html import REPORT_FILE
from ecofed.runs.kept_buffer import (
    DELETION_FILE,
    FORGOTTEN_FILE,
    KEPT_FOLDER,
    KeptBuffer,
    open_buffer,
)
from ecofed.runs.run_folder import MODEL_FILE, tidy

SCHEMA = "ecofed-forgotten/1"
#: Endings of the plots that a report writes.
_PLOTS = (".png", ".svg", ".pdf")

#: Of each device the samples to delete, by their numbers on it; none named: everything that it sent.
Selection = Mapping[int, Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One deletion: who had it done, when, what, and what the buffer was before and after."""

    by: str
    when: str
    what: list[tuple[Count, list[Count]]]
    samples: Count
    before: str
    """The buffer's fingerprint (:meth:`~ecofed.runs.kept_buffer.KeptBuffer.digest`)."""
    network: str | None
    """SHA-256 of the trained network that was removed, because it had learned from them."""
    after: str | None = None
    """The buffer's fingerprint; ``None`` while the deletion is under way."""
    searched: Count = 0
    """Rows whose bytes were searched for in every file of the folder, and not found."""
    remains: list[str] = dataclasses.field(default_factory=list)
    """What no deletion here can undo."""


def delete(run: Path, selection: Selection, *, by: str | None = None) -> Record | None:
    """Delete from a run's folder, which the caller owns. Completes a deletion that was interrupted there, first.

    Args:
        run: the folder of a finished run that keeps its buffer.
        selection: what; what is deleted already is left out.
        by: for the record; default: the name of this process's user.

    Returns:
        The record, also in ``forgotten.json``; ``None`` where nothing of it was left to delete.

    Raises:
        ConfigError: no buffer, or nothing of such a device in it; an audit is under way there. EcoFedError: bytes were
            found that should be gone.
    """
    for audit in _audits(run):
        refuse_if_owned(audit)
    complete(run)
    kept = open_buffer(run)
    what = _left(kept, selection)
    if not what:
        return None
    network = run / MODEL_FILE
    write_json(
        run / DELETION_FILE,
        dataclasses.asdict(
            Record(
                by=by or _user(),
                when=datetime.now(UTC).isoformat(timespec="seconds"),
                what=sorted(what.items()),
                samples=sum(len(rows_of(view, own)) for device, own in what.items() for view in views_of(kept, device)),
                before=kept.digest(),
                network=sha256(network.read_bytes()).hexdigest() if network.is_file() else None,
                remains=_remains(kept),
            )
        )
        | {"schema": SCHEMA, "probes": traces.written(traces.probes_of(kept, what), kept)},
    )
    return complete(run)


def complete(run: Path) -> Record | None:
    """Carry out the deletion that is under way in a run's folder, if there is one; errors as for :func:`delete`."""
    if not (run / DELETION_FILE).is_file():
        return None
    record, written = _read(run / DELETION_FILE)
    what = dict(record.what)
    (run / MODEL_FILE).unlink(missing_ok=True)  # it has learned from them
    _remove_audits(run)
    tidy(run)  # a checkpoint and a buffer that a killed run left
    for left in (run, run / KEPT_FOLDER):
        remove_unfinished(left)
    kept = open_buffer(run, deleting=True)
    probes = _probes(kept, what, written)
    _take_out(kept, what)
    remains = [*record.remains, *_clean_result(run, kept)]
    searched = traces.search(run, probes)
    record = dataclasses.replace(record, after=kept.digest(), searched=searched, remains=remains)
    done = [other for other in records(run) if (other.when, other.what) != (record.when, record.what)]
    write_json(run / FORGOTTEN_FILE, {"schema": SCHEMA, "deletions": [dataclasses.asdict(r) for r in [*done, record]]})
    (run / DELETION_FILE).unlink()
    flush_folder(run)
    return record


def records(run: Path) -> list[Record]:
    """The deletions that were carried out in a run's folder, oldest first.

    Raises:
        EcoFedError: their file is damaged.
    """
    path = run / FORGOTTEN_FILE
    if not path.is_file():
        return []
    try:
        values = read_as(dict[str, Any], parse(path.read_bytes()))
        return read_as(list[Record], values["deletions"])  # type: ignore[no-any-return]
    except (OSError, ValueError, KeyError) as error:
        raise EcoFedError(f"{path}: damaged ({error})") from error


def _read(path: Path) -> tuple[Record, list[str] | None]:
    """A deletion that is under way, and what to search for afterwards, which earlier versions did not write."""
    try:
        values = read_as(dict[str, Any], parse(path.read_bytes()))
        probes = read_as(list[str], values["probes"], "probes") if "probes" in values else None
        record = read_as(Record, {key: value for key, value in values.items() if key not in ("schema", "probes")})
    except (OSError, ValueError) as error:
        raise EcoFedError(f"{path}: damaged ({error}); it says which deletion is under way") from error
    return record, probes


def _probes(kept: KeptBuffer, what: Selection, written: Sequence[str] | None) -> list[bytes]:
    if written is None:
        return traces.probes_of(kept, what)
    try:
        return traces.read(written, kept)
    except ValueError as error:
        path = kept.run / DELETION_FILE
        raise EcoFedError(f"{path}: damaged ({error}); it says which deletion is under way") from error


def _left(kept: KeptBuffer, selection: Selection) -> dict[int, list[int]]:
    """What of a selection is still there."""
    what: dict[int, list[int]] = {}
    for device, asked in selection.items():
        gone = kept.origin.forgotten.get(device)
        present = {int(sample) for view in views_of(kept, device) for sample in view.sample_N}
        if not present and gone is None:
            raise ConfigError(
                f"device {device} has nothing in the buffer of {kept.run}; 'ecofed buffer {kept.run}' lists it"
            )
        samples = _uploaded_as(kept, device, asked, present.union(gone or ())) if gone != [] else asked
        if not samples and gone != []:
            what[device] = []
        elif own := sorted(set(samples) & present):
            what[device] = own
    return what


def _uploaded_as(kept: KeptBuffer, device: int, asked: Sequence[int], known: Collection[int]) -> Sequence[int]:
    """Numbers in the buffer of samples with these numbers on their device; ``known``: there, or deleted from there.

    Raises:
        ConfigError: one never came, or nobody knows which it is.
    """
    if not asked:
        return asked
    config, last = kept.config, max(known, default=0)
    if config.privacy.labels == "counts":
        raise ConfigError(
            f"{kept.run}: its devices tell counts of classes (privacy.labels = counts), so nobody knows which upload "
            f"is of which sample, and of which class; forget device {device} as a whole (--device {device})"
        )
    count = last + 1
    while len(own_N := taking_part(config, device, count)) <= last:  # the device held some out, which it did not number
        count *= 2
    numbers = {int(number): at for at, number in enumerate(own_N)}
    unknown = sorted(sample for sample in asked if numbers.get(sample) not in known)
    if unknown:
        held = "; what it held out (validation.on_devices) never came" * config.validation.on_devices
        raise ConfigError(f"device {device} has no sample {unknown[0]} in the buffer of {kept.run}{held}")
    return [numbers[sample] for sample in asked]


def _take_out(kept: KeptBuffer, what: Selection) -> None:
    """Write the buffer without them; the old files are gone at the end."""
    buffer, origin = kept.buffer, kept.origin
    buffer.save()  # files of an attempt that was killed before its index was there
    for device, samples in what.items():
        for number, view in list(buffer.views_of(device).items()):
            rest = np.setdiff1d(np.arange(len(view)), rows_of(view, samples))
            if len(rest) == len(view):
                continue
            if len(rest):
                buffer.put(device, number, _rows(view, rest), origin.front_id)
            else:
                buffer.remove(device, number)
    gone = {device: [] if not own else _together(origin.forgotten.get(device), own) for device, own in what.items()}
    kept.origin = dataclasses.replace(
        origin,
        rounds={key: round_ for key, round_ in origin.rounds.items() if what.get(key[0]) != []},
        sent={device: sent for device, sent in origin.sent.items() if what.get(device) != []},
        seen={device: count for device, count in origin.seen.items() if what.get(device) != []},
        forgotten={**origin.forgotten, **gone},
    )
    kept.write_index()
    buffer.save()  # the old files, which the index on disk names no more
    flush_folder(kept.run / KEPT_FOLDER)


def _audits(run: Path) -> list[Path]:
    """Folders of audits: attacked images of devices, and what was made of their uploads, as pictures."""
    usual = run / AUDIT_FOLDER
    others = {file.parent for file in run.rglob(AUDIT_FILE)} - {run, usual}
    return [*([usual] if usual.is_dir() or usual.is_symlink() else []), *sorted(others)]


def _remove_audits(run: Path) -> None:
    """Whose images an audit shows does not stand in it: all of them go.

    Raises:
        StorageError: one cannot be removed. ConfigError: one is under way.
    """
    for audit in _audits(run):
        refuse_if_owned(audit)
        try:
            if audit.is_symlink():
                audit.unlink()
            elif audit.is_dir():  # and not gone with one that it lay in
                shutil.rmtree(audit)
        except OSError as error:
            raise StorageError(f"{audit}: cannot be removed, and shows images of devices ({error})") from error


def _clean_result(run: Path, kept: KeptBuffer) -> list[str]:
    """Results say how many of which label each device held, and how many of its samples a network got right: those of
    the deleted go, and the plots that show them.

    Returns what could not be done, for the record.
    """
    (run / REPORT_FILE).unlink(missing_ok=True)
    for plot in (run / "plots").glob("*"):
        if plot.suffix in _PLOTS:
            plot.unlink()
    try:
        result = read_result(run)
    except EcoFedError as error:
        return [f"result.json may say how many of which label they had: {error}"]
    counts = [list(row) for row in result.data.label_counts]
    for device in kept.origin.forgotten:
        there = device in kept.buffer.devices
        if device < len(counts):
            counts[device] = kept.label_counts(device).tolist() if there else [0] * len(kept.origin.classes)
    note = "uploads were deleted, and the network that had learned from them (forgotten.json)"
    notes = [*(text for text in result.notes if text != note), note]
    data = dataclasses.replace(result.data, label_counts=counts)
    scores = result.scores.without(kept.origin.forgotten)
    write_result(dataclasses.replace(result, data=data, scores=scores, notes=notes), run)
    return []


def _rows(view: View, rows: np.ndarray) -> View:
    return View(
        rows=np.asarray(view.rows[rows]),
        scale_N=view.scale_N[rows] if len(view.scale_N) else view.scale_N,
        sample_N=view.sample_N[rows],
        labels_N=view.labels_N[rows],
    )


def _together(before: Sequence[int] | None, now: Sequence[int]) -> list[int]:
    """Samples of a device that are forgotten; of one that is forgotten as a whole, none are named."""
    return [] if before is not None and not before else sorted({*(before or ()), *now})


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


def _remains(kept: KeptBuffer) -> list[str]:
    """What is out of reach, said plainly."""
    learned = "; and the network that was delivered to them after training, which did learn from these"
    return [
        f"devices hold the front, which learned nothing from any device{learned * (kept.config.delivery != 'none')}",
        "networks and copies that left this folder (retrain, tune, update, export, backups), audits that were written "
        "elsewhere, which show images of devices, and the report of a comparison that the run is in are not reached "
        "from here",
        "how many bytes these devices sent in which round stays in result.json and metrics.jsonl",
        "deleted files' blocks may stay on the storage medium until it reuses them",
    ]
