"""Another back from a kept buffer: no device is asked, and the ledger says so."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from ecofed.config import Config
from ecofed.errors import ConfigError, EcoFedError
from ecofed.files.ownership import refuse_if_owned
from ecofed.methods import Context, Method, method_class
from ecofed.methods.from_kept import Order, from_kept
from ecofed.methods.transport import Answer
from ecofed.relearning.changes import alone, changed, differences, say_what_changes_nothing, settings_of
from ecofed.reports.files import RESULT_FILE, read_result
from ecofed.results import RunResult
from ecofed.runs.again import Again
from ecofed.runs.experiment import run
from ecofed.runs.inputs import other_tests, refuse_changes, without_devices
from ecofed.runs.kept_buffer import KeptBuffer, open_buffer
from ecofed.runs.observing import Observer, checked
from ecofed.runs.preparation import Prepared, prepare

#: In the fingerprints of what a run read: the buffer, and when each upload counts.
BUFFER_INPUT, ORDER_INPUT = "kept buffer", "order of uploads"
#: Of these the draws of a run depend on who was sampled when.
_SAMPLING = ("seed", "sampled_devices", "devices")


def retrain(
    source: str | Path,
    *,
    out: str | Path | None = None,
    sets: Iterable[str] = (),
    order: Order = "all",
    resume: bool = False,
    overwrite: bool = False,
    observer: Observer | None = None,
    command: str = "",
    report: bool = True,
    **keys: Any,
) -> RunResult:
    """Train another back from the buffer that a run kept.

    Args:
        source: the folder of that run.
        out: as for :func:`ecofed.run`; a folder of its own.
        sets: ``key=value`` words: what comes after the cut, and how it is trained.
        order: ``all``: the whole buffer is there from the first round. ``as-uploaded``: each upload counts from the
            round in which it came, so that the same settings give the same network as the run's, bit for bit.
        resume: continue from the folder's checkpoint; a finished run is returned as it is.
        overwrite: replace the run that is in the folder.
        observer: is told about progress.
        command: recorded in the result.
        report: write ``report.html`` and plots too.
        **keys: as for :func:`ecofed.run`.

    Raises:
        ConfigError: the run keeps no buffer, or a key is set that the buffer has settled. EcoFedError: as for a run.
    """
    source = Path(source)
    if out is not None and Path(out).resolve() == source.resolve():
        raise ConfigError(f"{out} is the run that is learned from; choose another folder with --out")
    refuse_if_owned(source)
    kept = open_buffer(source)
    if not len(kept.buffer):
        raise ConfigError(f"{source}: its buffer is empty, there is nothing to learn from")
    settings, observer = settings_of(kept.config, sets, keys), checked(observer)
    config = alone(changed(kept.config, settings))
    if order == "as-uploaded":
        check_replayable(kept, config)
    say_what_changes_nothing(settings, observer.note)
    again = learning_from(kept, config, order)
    if resume:
        check_learned(out, {BUFFER_INPUT: again.origin["buffer"], ORDER_INPUT: order})
    return run(
        config,
        out=out,
        resume=resume,
        overwrite=overwrite,
        observer=observer,
        command=command,
        report=report,
        connect=lambda _: NoDevices(),
        again=again,
    )


def learning_from(kept: KeptBuffer, config: Config, order: Order, *, tested: bool = True) -> Again:
    """What the engine needs to train ``config`` from a buffer; without ``tested`` no test image is looked at."""
    problems: list[str] = []
    digest, result = kept.digest(), earlier_result(kept.run, problems.append)

    def prepared(config: Config, note: Callable[[str], None]) -> Prepared:
        for problem in problems:
            note(problem)
        found = _prepared(kept, config, note, {BUFFER_INPUT: digest, ORDER_INPUT: order}, result)
        if not tested:
            return dataclasses.replace(found, dataset=dataclasses.replace(found.dataset, test=None))
        if other_tests(kept.origin.inputs, found.inputs):
            note(
                f"{found.dataset.title}: its test pictures are not those of {kept.run} any more: accuracies cannot be "
                "compared with that run's, and some may be among the pictures that devices uploaded"
            )
        return found

    def method(context: Context) -> Method:
        cls = from_kept(method_class(config.method))
        return cls(context, kept.buffer, kept.origin.rounds, kept.origin.idle, order, kept.origin.empty)

    return Again(
        prepare=prepared,
        method=method,
        origin=origin_of(kept, config, order, digest, result),
        check=kept.check_kept,
        result=result,
    )


def check_learned(out: str | Path | None, now: Mapping[str, str]) -> None:
    """Have a finished run in the folder stand only for this buffer: uploads may have been deleted since.

    Raises:
        ConfigError: it learned from another one.
    """
    finished = None if out is None else earlier_result(Path(out), lambda _: None)  # who goes on there tells
    if out is not None and finished is not None:
        refuse_changes({name: finished.inputs.get(name, "none") for name in now}, now, Path(out))


def replayable(kept: KeptBuffer) -> str:
    """Why the run that collected a buffer cannot be repeated upload by upload; empty: it can."""
    views = {device: len(kept.buffer.views_of(device)) for device in kept.buffer.devices}
    replaced = [device for device, (sent, _) in kept.origin.sent.items() if views.get(device, 0) not in (0, sent)]
    if replaced:
        return f"uploads were replaced by later ones (device {replaced[0]}), and are not kept"
    present = set(kept.buffer.devices)
    for device, seen in kept.origin.seen.items():
        gone = len(kept.origin.forgotten.get(device, ()))
        held = int(kept.label_counts(device).sum()) if device in present else 0
        if held + gone < seen:
            return f"the buffer is bounded, and does not hold all that device {device} uploaded"
    if kept.origin.before:
        return "it was collected in several runs"
    if any(round_ == 0 for round_ in kept.origin.rounds.values()):
        return "it does not say in which rounds its uploads came"
    return ""


def check_replayable(kept: KeptBuffer, config: Config) -> None:
    """Raise :class:`ConfigError` unless ``config`` can learn from the buffer's uploads in the order of their rounds."""
    reason = replayable(kept)
    if not reason and config.rounds < (last := max(kept.origin.rounds.values(), default=1)):
        reason = f"its last upload came in round {last}, and rounds = {config.rounds}"
    reason = reason or next(
        (f"{key} decides who is sampled" for key in _SAMPLING if getattr(config, key) != getattr(kept.config, key)), ""
    )
    if reason:
        raise ConfigError(f"{kept.run}: its uploads cannot count in the order in which they came: {reason}; use all")


class NoDevices:
    """A transport of nobody: a run from a kept buffer asks no device."""

    exchanges_at_once: ClassVar[bool] = False

    def exchange(self, device: int, requests: Sequence[bytes], deadline: float | None) -> NoReturn:  # noqa: ARG002
        raise EcoFedError(f"device {device} was asked by a run that learns from a kept buffer")

    def exchange_all(
        self, requests: Iterable[tuple[int, Sequence[bytes]]], deadline: float | None
    ) -> Iterator[tuple[int, Answer]]:
        for device, own in requests:
            self.exchange(device, own, deadline)
        yield from ()

    def drop(self, device: int) -> None:
        """Nobody is there."""

    def close(self) -> None:
        """Nothing is open."""


def earlier_result(run_folder: Path, note: Callable[[str], None]) -> RunResult | None:
    """Of the run that collected a buffer, if its folder has it still; one that cannot be read is told, and no more is
    lost than what it says."""
    try:
        return read_result(run_folder)
    except EcoFedError as error:
        if os.path.lexists(run_folder / RESULT_FILE):
            note(f"{error}; so nothing is compared with that run, and nothing of it is taken over but its buffer")
        return None


def _prepared(
    kept: KeptBuffer,
    config: Config,
    note: Callable[[str], None],
    inputs: dict[str, str],
    source: RunResult | None,
) -> Prepared:
    """The very front of the run, and of the data what lies in the buffer: who holds how many of which label."""
    prepared = prepare(config, note, kept.origin.bundle, fleet=True)  # uploads are there: nothing need be dealt out
    if list(prepared.dataset.classes) != kept.origin.classes:
        raise ConfigError(
            f"data.name = {config.data.name!r} has other classes now than when the buffer was collected: "
            f"{len(prepared.dataset.classes)}, not {len(kept.origin.classes)}, or of other names"
        )
    counts = [
        kept.label_counts(device).tolist() if device in kept.buffer.devices else [0] * len(kept.origin.classes)
        for device in range(config.devices)
    ]
    summary = dataclasses.replace(prepared.summary, label_counts=counts, train_samples=sum(map(sum, counts)))
    if source is not None and source.data.brought:
        summary = dataclasses.replace(summary, brought=source.data.brought, floors=source.data.floors)
    own = without_devices(prepared.inputs)
    front = {name: kept.origin.inputs[name] for name in ("front",) if name in kept.origin.inputs}
    return dataclasses.replace(prepared, summary=summary, early=(None,), inputs=own | front | inputs)


def origin_of(kept: KeptBuffer, config: Config, order: str, digest: str, result: RunResult | None) -> dict[str, Any]:
    """For a result: what was learned from."""
    known = None if result is None else result.totals
    return {
        "run": kept.run.name,
        "order": order,
        "buffer": digest,
        "front_id": kept.origin.front_id,
        "devices": len(kept.buffer.devices),
        "samples": len(kept.buffer),
        "uplink_bytes": None if known is None else known.uplink_bytes,
        "downlink_bytes": None if known is None else known.downlink_bytes,
        "final_test_accuracy": None if known is None else known.final_test_accuracy,
        "command": None if result is None else result.command,
        "changed": differences(kept.config, config),
        "forgotten": {str(device): len(samples) or "all" for device, samples in kept.origin.forgotten.items()},
    }
