"""Join and drift: what devices have got since a run, and devices that came after it, added to its buffer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ecofed.config import Config
from ecofed.config.class_identity import positions
from ecofed.errors import ConfigError
from ecofed.files.naming import path_named
from ecofed.files.ownership import refuse_if_owned
from ecofed.files.tensor_files import unpack
from ecofed.methods import Context, Method, method_class
from ecofed.methods.transport import Transport
from ecofed.methods.updating import Before, updating
from ecofed.relearning.changes import changed, say_what_changes_nothing, settings_of
from ecofed.relearning.retraining import BUFFER_INPUT, check_learned, earlier_result, origin_of
from ecofed.results import RunResult
from ecofed.runs.again import Again
from ecofed.runs.experiment import run
from ecofed.runs.kept_buffer import KeptBuffer, open_buffer
from ecofed.runs.observing import Observer, checked
from ecofed.runs.preparation import Prepared, load_some, prepare
from ecofed.runs.run_folder import MODEL_FILE

Start = Literal["anew", "back"]
#: What may change besides how is trained: who is there, and what they have.
_WHO = (
    *("devices", "quorum", "deadline_seconds", "runtime", "delivery"),
    *("kept_per_device", "kept_per_class", "kept_samples"),
)
_WHO_SECTIONS = ("availability", "data")
START_INPUT = "start of the back"


def update(
    source: str | Path,
    *,
    out: str | Path,
    sets: Iterable[str] = (),
    start: Start = "anew",
    resume: bool = False,
    overwrite: bool = False,
    observer: Observer | None = None,
    command: str = "",
    report: bool = True,
    connect: Callable[[Prepared], Transport] | None = None,
    **keys: Any,
) -> RunResult:
    """Ask devices for what is new since a run, and train a back on that and on what the run kept.

    Args:
        source: the folder of the run; it is left as it is.
        out: a folder of its own; it keeps the old uploads and the new ones.
        sets: ``key=value`` words: who is there now, and all that :func:`ecofed.retrain` takes.
        start: ``anew``; or ``back``: from the run's network, as far as it fits.
        resume: continue from the folder's checkpoint; a finished update is returned as it is.
        overwrite: replace the run that is in the folder.
        observer: is told about progress.
        command: recorded in the result.
        report: write ``report.html`` and plots too.
        connect: as for :func:`ecofed.runs.experiment.run`.
        **keys: as for :func:`ecofed.run`.

    Raises:
        ConfigError: the run keeps no buffer, a key is set that the buffer has settled, or devices have other samples
            than those they uploaded. EcoFedError: as for a run.
    """
    source = path_named(source, "source")
    if path_named(out, "out").resolve() == source.resolve():
        raise ConfigError(f"{out} is the run that is continued; choose another folder with --out")
    refuse_if_owned(source)
    kept = open_buffer(source)
    settings = settings_of(kept.config, sets, keys).with_set(keep_buffer=True)
    config, observer = changed(kept.config, settings, also=(_WHO, _WHO_SECTIONS)), checked(observer)
    if config.seed != kept.config.seed:
        raise ConfigError(f"seed = {config.seed}: the buffer's samples are in the order of seed {kept.config.seed}")
    if config.ecofed.server == "fedavg":
        raise ConfigError("ecofed.server = 'fedavg' trains on the latest upload of a device only; update needs pooled")
    if config.privacy.labels == "counts":
        raise ConfigError(
            f"{source}: its devices tell counts of classes (privacy.labels = counts), and with new images counts would "
            "tell which class those are; train anew with 'ecofed run'"
        )
    say_what_changes_nothing(settings, observer.note)
    again = _going_on(kept, config, start, fleet=connect is not None)
    if resume:
        check_learned(out, {BUFFER_INPUT: again.origin["buffer"], START_INPUT: start})
    return run(
        config,
        out=out,
        resume=resume,
        overwrite=overwrite,
        observer=observer,
        command=command,
        report=report,
        connect=connect,
        again=again,
    )


def _going_on(kept: KeptBuffer, config: Config, start: Start, *, fleet: bool) -> Again:
    problems: list[str] = []
    digest, result = kept.digest(), earlier_result(kept.run, problems.append)
    origin = kept.origin
    class_of_K: list[np.ndarray] = []

    def prepared(config: Config, note: Callable[[str], None]) -> Prepared:
        for problem in problems:
            note(problem)
        found = prepare(config, note, origin.bundle, fleet=fleet)
        class_of_K[:] = [
            positions(
                origin.classes,
                found.dataset.classes,
                refusal=lambda name: f"the buffer has a class '{name}' that {found.dataset.title} does not",
                own="the buffer's",
                others="those of the data",
            )
        ]
        if not fleet:
            _check_same(kept, found, class_of_K[0])
        if start == "back":
            load_some(found.halves.back, _back_of(kept.run))
        return dataclasses.replace(found, inputs=found.inputs | {BUFFER_INPUT: digest, START_INPUT: start})

    def method(context: Context) -> Method:
        before = Before(
            buffer=kept.buffer,
            rounds=origin.rounds,
            sent=origin.sent,
            seen=origin.seen,
            forgotten=origin.forgotten,
            total_rounds=origin.before + kept.config.rounds,
            class_of_K=class_of_K[0],
        )
        return updating(method_class(config.method))(context, before)

    told = origin_of(kept, config, f"updated, {start}", digest, result)
    return Again(prepare=prepared, method=method, origin=told, check=kept.check_kept, result=result, seen=origin.seen)


def _check_same(kept: KeptBuffer, found: Prepared, class_of_K: np.ndarray) -> None:
    """Simulated devices must still begin with the samples that they uploaded, as far as labels tell that are true."""
    true = kept.config.privacy.label_epsilon is None
    labels_N = found.dataset.train.labels_N
    for device in kept.buffer.devices:
        own = found.parts[device] if device < len(found.parts) else np.zeros(0, np.int64)
        for view in kept.buffer.views_of(device).values():
            fewer = len(view) and int(view.sample_N.max()) >= len(own)
            if fewer or (true and not np.array_equal(labels_N[own[view.sample_N]], class_of_K[view.labels_N])):
                raise ConfigError(
                    f"device {device} has other samples now than those it uploaded: these settings deal the data anew; "
                    "new samples must come after the old ones, and new devices after the old ones"
                )


def _back_of(run_folder: Path) -> dict[str, np.ndarray]:
    """A run's trained network, by the names of its parts."""
    try:
        arrays = unpack(run_folder / MODEL_FILE).arrays
    except (OSError, ValueError) as error:
        raise ConfigError(f"{run_folder / MODEL_FILE}: cannot be started from ({error}); train anew instead") from error
    return {name.removeprefix("model."): array for name, array in arrays.items() if name.startswith("model.")}
