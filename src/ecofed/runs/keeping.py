"""At a run's end: its replay buffer is kept, where the configuration says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ecofed.methods import Method
from ecofed.results import RoundRecord
from ecofed.runs.bounding import bounded
from ecofed.runs.kept_buffer import KEPT_FOLDER, Origin, new_buffer
from ecofed.runs.preparation import Prepared


def keep(
    method: Method,
    prepared: Prepared,
    records: Sequence[RoundRecord],
    folder: Path,
    note: Callable[[str], None],
    *,
    fleet: bool,
) -> None:
    """Write the buffer into the run's folder, and say how large it is.

    Args:
        method: which has run; one without a buffer keeps nothing.
        prepared: what it ran on.
        records: of its rounds.
        folder: the run's.
        note: is told.
        fleet: whether devices are real, whose uploads are dear.
    """
    wanted, keeping = prepared.task.config.keep_buffer, method.keeping()
    if keeping is None or not (fleet if wanted is None else wanted):
        return
    buffer, kept_devices = keeping.buffer, set(keeping.buffer.devices)
    origin = Origin(
        task=prepared.task,
        classes=list(prepared.dataset.classes),
        front_id=keeping.front_id,
        bundle=keeping.bundle,
        rounds={
            (device, number): came[number] if number < len(came := keeping.uploads[device].rounds) else 0
            for device in kept_devices
            for number in buffer.views_of(device)
        },
        sent={device: (past.views, past.bytes) for device, past in keeping.uploads.items()},
        seen=keeping.seen,
        forgotten=keeping.forgotten,
        before=keeping.before,
        idle=[record.round for record in records if record.train_loss is None],
        empty=sorted(
            {round_ for device, past in keeping.uploads.items() if device not in kept_devices for round_ in past.rounds}
        ),
        inputs=prepared.inputs,
    )
    kept = new_buffer(folder, origin, bounded(buffer, prepared.task.config))
    note(
        f"the buffer is kept in {folder / KEPT_FOLDER}: {len(kept.buffer):,} samples of {len(kept.buffer.devices)} "
        f"devices, {kept.bytes / 1e6:,.2f} MB; 'ecofed buffer {folder}' lists it"
    )
