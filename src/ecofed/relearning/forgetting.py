"""Forget: devices' uploads are deleted, and a back is trained as if they had never come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ecofed.errors import ConfigError
from ecofed.files.disk import read_text
from ecofed.files.naming import path_named
from ecofed.files.ownership import owned
from ecofed.methods.from_kept import Order
from ecofed.relearning.deletion import Record, Selection, complete, delete
from ecofed.relearning.retraining import replayable, retrain
from ecofed.reports.files import RESULT_FILE
from ecofed.reports.unfinished import UNFINISHED_FILE
from ecofed.results import RunResult
from ecofed.runs.kept_buffer import check_there, open_buffer
from ecofed.runs.observing import Observer, checked


def forget(
    source: str | Path,
    devices: Iterable[int] = (),
    *,
    samples: Selection | None = None,
    out: str | Path | None = None,
    by: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    observer: Observer | None = None,
    command: str = "",
    report: bool = True,
) -> RunResult | None:
    """Delete what devices uploaded from a run's folder, and train its back anew from the rest.

    Args:
        source: the folder of a finished run that keeps its buffer; one that has not finished is refused. Its network is
            removed: it has learned from them.
        devices: everything of these.
        samples: of these devices, only some samples, by their numbers on the device.
        out: as for :func:`ecofed.retrain`: for the new network.
        by: who has it done, for the record; default: this process's user.
        resume: complete what was interrupted; what is deleted already is no error.
        overwrite: as for :func:`ecofed.retrain`.
        observer: is told about progress.
        command: recorded in the result.
        report: write ``report.html`` and plots too.

    Returns:
        The new run; ``None`` where nothing is left to learn from.

    Raises:
        ConfigError: no buffer, or nothing of such a device in it. EcoFedError: bytes were found that should be gone.
    """
    source, observer = path_named(source, "source"), checked(observer)
    if out is not None and Path(out).resolve() == source.resolve():
        raise ConfigError(f"{out} is the run that is deleted from; choose another folder with --out")
    selection: dict[int, Sequence[int]] = {**dict(samples or {}), **dict.fromkeys(_numbers(devices), ())}
    if (source / UNFINISHED_FILE).is_file() and not (source / RESULT_FILE).is_file():
        raise ConfigError(
            f"{source} has not finished, and nothing was deleted: its checkpoint learned from all that came; continue "
            "it with --resume and forget then (it must keep its buffer: keep_buffer=true), or delete its folder, and "
            "run anew without the device (availability.trace)"
        )
    check_there(source)  # to own a folder makes one
    with owned(source):
        done = complete(source)
        if not selection and not resume and done is None:
            raise ConfigError("nothing to forget: name devices (--device) or samples (--samples)")
        done = delete(source, selection, by=by) or done
    if done is not None:
        observer.note(said(done))
    kept = open_buffer(source)
    if not len(kept.buffer):
        observer.note(f"{source}: nothing is left in the buffer, so nothing is trained")
        return None
    reason = replayable(kept)
    order: Order = "all" if reason else "as-uploaded"
    observer.note(
        f"trained from everything at once: {reason}" if reason else "trained as if the deleted uploads had never come"
    )
    return retrain(
        source,
        out=out,
        order=order,
        resume=resume and out is not None,  # without a folder it was the deletion alone that was to be completed
        overwrite=overwrite,
        observer=observer,
        command=command,
        report=report,
    )


def _numbers(devices: object) -> list[int]:
    if not isinstance(devices, Iterable) or isinstance(devices, str | bytes):
        raise ConfigError(f"devices: must be the numbers of devices, as [3], not {type(devices).__name__}")
    return list(devices)


def said(record: Record) -> str:
    """A deletion in a line."""
    names = [f"device {device}" + (f" ({len(own)} samples)" if own else "") for device, own in record.what]
    return (
        f"deleted: {', '.join(names)}; {record.samples:,} samples; buffer {record.before[:12]} is now "
        f"{(record.after or '')[:12]}; {record.searched} of their rows were searched for in every file and not found; "
        f"what stays: {'; '.join(record.remains)}"
    )


def read_samples(path: Path) -> dict[int, list[int]]:
    """A file with a line ``DEVICE:SAMPLE`` each.

    Raises:
        ConfigError: it cannot be read, or has another line.
    """
    found: dict[int, list[int]] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        device, colon, sample = line.strip().partition(":")
        if not (colon and device.isascii() and device.isdecimal() and sample.isascii() and sample.isdecimal()):
            raise ConfigError(f"{path}: line {number} must be DEVICE:SAMPLE, such as 7:12")
        found.setdefault(int(device), []).append(int(sample))
    return found
