"""Run and compare: the engine behind the command line and the Python API."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ecofed.config import Config, Settings
from ecofed.config.methods import PAPER_METHODS
from ecofed.config.privacy import promise
from ecofed.errors import ConfigError, EcoFedError
from ecofed.errors.foreign_text import clean
from ecofed.machine import Heap
from ecofed.methods import train
from ecofed.methods.transport import Transport
from ecofed.methods.unsaid import unsaid
from ecofed.onnx import require_runtime
from ecofed.reports.files import read_summary, write_result, write_summary
from ecofed.reports.html import REPORT_FILE, write_report
from ecofed.reports.joining import differences
from ecofed.reports.unfinished import write_unfinished
from ecofed.results import Comparison, RunResult
from ecofed.results.scores import RunScores
from ecofed.results.untrained import all_untrained, refuse_untrained, untrained_note
from ecofed.runs.again import Again
from ecofed.runs.at_once import networks_at_once
from ecofed.runs.comparing import places_of, runs_of, told_what_is_kept
from ecofed.runs.exporting import deliver
from ecofed.runs.going import Going, start
from ecofed.runs.inputs import without_devices
from ecofed.runs.interruption import deferred
from ecofed.runs.judging import Judges
from ecofed.runs.keeping import keep
from ecofed.runs.natural import settled
from ecofed.runs.observing import Observer, checked
from ecofed.runs.preparation import Prepared, prepare
from ecofed.runs.run_folder import (
    append_metrics,
    begun,
    check_finished,
    claimed,
    claimed_part,
    clear,
    finished,
    is_tidy,
    tidy,
    write_metrics,
)
from ecofed.runs.saved_model import MODEL_FILE, save_model
from ecofed.runs.side_by_side import run_side_by_side
from ecofed.runtimes import open_transport

#: A checkpoint after a round, unless the last one is younger than this,
CHECKPOINT_SECONDS = 20.0
#: or than so many times what it took to write: small runs are saved after every round.
CHECKPOINT_SHARE = 20.0


def run(
    config: Config | Settings | str | Path,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    observer: Observer | None = None,
    command: str = "",
    report: bool = True,
    connect: Callable[[Prepared], Transport] | None = None,
    again: Again | None = None,
) -> RunResult:
    """Train one method.

    Args:
        config: what to run; of settings, the method that they name; or the name of a preset, or a TOML file.
        out: folder for ``result.json``, ``metrics.jsonl``, ``model.safetensors``, ``report.html`` and the checkpoint;
            ``None`` writes nothing. It must be new or empty, and is this process's alone until the run has ended.
        resume: continue from the folder's checkpoint; a finished run is returned as it is.
        overwrite: replace the run that is in the folder.
        observer: is told about progress.
        command: recorded in the result.
        report: write ``report.html`` and plots too.
        connect: opens the way to devices that are there already (Flower's); default: the configured runtime's own.
        again: what an earlier run left, to learn from.

    Raises:
        EcoFedError: a setting, the data or a device is at fault; see the tree in :mod:`ecofed.errors`. Or no round has
            trained anything; what is known of the run is in its folder.
    """
    if isinstance(config, str | Path):
        config = Settings.load(config)
    if isinstance(config, Settings):
        config = settled(config)
        config = config.for_method(config.method)
    observer = checked(observer)
    if out is None and (resume or overwrite):
        raise ConfigError("resume and overwrite are about a folder: say which with out")
    folder = None if out is None else Path(out)
    with ExitStack() as stack:
        if folder is not None:
            if resume and (folder / REPORT_FILE).exists() and is_tidy(folder):  # to show what is there needs no owner
                done = finished(folder, config)
                if done is not None:
                    check_finished({folder: config}, observer.note)
                    observer.finished(done)
                    refuse_untrained([done], folder)
                    return done
            stack.enter_context(claimed(folder, "run", resume=resume, overwrite=overwrite))
            if resume:
                check_finished({folder: config}, observer.note)
        result = run_owned(
            config,
            folder,
            resume=resume,
            observer=observer,
            command=command,
            report=report,
            connect=connect,
            again=again,
        )
    refuse_untrained([result], folder)
    return result


def run_owned(
    config: Config,
    folder: Path | None,
    *,
    resume: bool,
    observer: Observer,
    command: str,
    report: bool,
    connect: Callable[[Prepared], Transport] | None = None,
    again: Again | None = None,
) -> RunResult:
    """As :func:`run`, in a folder that the caller has claimed; a run that trained nothing is the caller's to refuse."""
    if folder is not None and resume and (done := finished(folder, config)) is not None:
        return _shown_again(done, folder, again, observer, report=report)
    notes: list[str] = []

    def note(text: str) -> None:
        text = clean(text)  # it may quote a device, a file or the hub
        notes.append(text)
        observer.note(text)

    prepared = _prepared(config, note, connect, again)
    checkpoint = begun(folder, config, prepared.inputs, note) if folder is not None and resume else None
    if folder is not None and not resume:  # what another run left there would be mistaken for this one's
        clear(folder)
    transport = connect(prepared) if connect is not None else _own_transport(prepared)
    try:
        going = start(prepared, transport, folder, checkpoint, again, command, notes, fleet=connect is not None)
        if going.method.asks_devices:  # what was kept of another run bears what that one promised
            most = None if going.own_data else max(map(len, prepared.parts)) or None
            for text in promise(config, most, simulated=connect is None):
                note(text)
        observer.started(config, going.records)
        if folder is not None:
            write_unfinished(going.nothing_yet(), folder)
            write_metrics(folder, going.records)
        judges = Judges(going.method, prepared)
        _train(going, judges, folder, observer)
        if text := untrained_note(going.records):
            note(text)
        result = going.result(_judged(going, judges, note))
        if again is not None:
            again.check()
            result = dataclasses.replace(result, origin=again.origin)
        if folder is not None:
            if going.method.has_network and not all_untrained(going.records):  # the start is nobody's trained network
                save_model(folder / MODEL_FILE, going.method, prepared)
            keep(going.method, prepared, going.records, folder, observer.note, fleet=connect is not None)
            write_result(result, folder)
            tidy(folder)
            if report:
                report_or_note(_beside(again, result), folder, observer.note)
    finally:
        transport.close()
    observer.finished(result)
    return result


def _own_transport(made: Prepared) -> Transport:
    return open_transport(made.task, made.worker, str(made.torch_device), at_once=networks_at_once(made))


def _shown_again(done: RunResult, folder: Path, again: Again | None, observer: Observer, *, report: bool) -> RunResult:
    """A run that came to its end before."""
    if report and not (folder / REPORT_FILE).exists():  # killed between the result and the report
        report_or_note(_beside(again, done), folder, observer.note)
    with contextlib.suppress(OSError):  # to show what is there, nothing need be written
        tidy(folder)
    observer.finished(done)
    return done


def _prepared(
    config: Config,
    note: Callable[[str], None],
    connect: Callable[[Prepared], Transport] | None,
    again: Again | None,
) -> Prepared:
    if config.validation.on_devices and connect is None:
        require_runtime("validation.on_devices")
    if config.quorum > max(1, config.sampled_devices) and again is None:
        most = config.sampled_devices
        note(f"quorum = {config.quorum:g}: a round asks {most} devices (sampled_devices), and needs no more than those")
    prepared = prepare(config, note, fleet=connect is not None) if again is None else again.prepare(config, note)
    if connect is None:
        return prepared
    # Devices that are there already bring what they have.
    return dataclasses.replace(prepared, inputs=without_devices(prepared.inputs))


def _train(going: Going, judges: Judges, folder: Path | None, observer: Observer) -> None:
    """The rounds that are left, each told and recorded when it ends; a checkpoint now and then, and before a stop."""
    total = going.config.rounds
    clock = None if going.clock is None else going.clock.round
    rounds = train(going.method, judges.each_round, first_round=len(going.records) + 1, clock=clock)
    next_checkpoint, heap = 0.0, Heap()
    with deferred(observer.note) as stop_asked:
        for record in rounds:
            going.records.append(record)
            observer.round_finished(record, total)
            stopping = stop_asked() and record.round < total
            if folder is not None:
                append_metrics(folder, record)
                now = time.perf_counter()
                if (stopping or now >= next_checkpoint) and record.round < total:
                    for text in unsaid(going.method) if not next_checkpoint else []:
                        going.notes.append(text)
                        observer.note(text)
                    going.checkpoint().write(folder)
                    took = time.perf_counter() - now
                    next_checkpoint = now + took + min(CHECKPOINT_SECONDS, CHECKPOINT_SHARE * took)
            if stopping:
                raise KeyboardInterrupt
            heap.round_finished()


def _judged(going: Going, judges: Judges, note: Callable[[str], None]) -> RunScores:
    """How good the network is; devices get it first, where they are to have it."""
    counted: Mapping[int, tuple[np.ndarray, np.ndarray]] = {}
    if going.config.delivery != "none" and going.method.has_network and not all_untrained(going.records):
        counted, going.delivery_seconds = deliver(going.channel, going.method, going.prepared, note, going.clock)
    scores = judges.scores(counted)
    if going.config.validation.on_devices and scores.on_devices is None:
        unknown = "" if scores.test else "; it was not judged at all, and its accuracy stands as 0"
        note(f"no device has said how good the network is{unknown}")
    return scores


def compare(
    settings: Settings | str | Path,
    methods: str | Sequence[str] = PAPER_METHODS,
    *,
    out: str | Path,
    seeds: Sequence[int] = (),
    resume: bool = False,
    overwrite: bool = False,
    observer: Observer | None = None,
    command: str = "",
    jobs: int = 1,
) -> Comparison:
    """Run several methods on the same devices, data, model and seed; write one report.

    ``settings`` may be the name of a preset or a TOML file. Each method runs in ``out/<method>``; with several
    ``seeds`` (default: the one that the settings name) once with each, in ``out/<method>-seed=<seed>``, and tables have
    means. ``jobs`` of them are trained at a time, each in a process of its own. With ``resume`` finished runs are not
    run again, with ``overwrite`` those that are there are replaced; otherwise the folder must be new or empty. It is
    this process's alone until the comparison has ended.
    """
    settings = settled(settings if isinstance(settings, Settings) else Settings.load(settings))
    methods = [methods] if isinstance(methods, str) else methods
    configs = runs_of(settings, methods, seeds)  # every error before the first minute is spent
    folder, observer = Path(out), checked(observer)
    places = places_of(folder, configs, resume=resume)
    if resume and (folder / REPORT_FILE).exists() and all(map(is_tidy, places)):
        done = [finished(place, config) for place, config in zip(places, configs, strict=True)]
        known = _summarised(folder)
        if known is not None and known.results == done:  # nothing is left to do, and nothing need be written
            check_finished(dict(zip(places, configs, strict=True)), observer.note)
            for result in known.results:
                observer.finished(result)
            refuse_untrained(known.results, folder)
            return known
    with claimed(folder, "compare", resume=resume, overwrite=overwrite), ExitStack() as stack:
        for place in places:  # before the first minute is spent
            stack.enter_context(claimed_part(place, resume=resume))
        if resume:
            check_finished(dict(zip(places, configs, strict=True)), observer.note)
        with told_what_is_kept(folder, places, observer.note):
            results = run_several(configs, places, jobs=jobs, resume=resume, observer=observer, command=command)
        comparison = Comparison(results=results, command=command, notes=differences(results))
        known = _summarised(folder) if resume else None
        if known is not None and known.results == results:
            comparison = known
        else:
            write_summary(comparison, folder, [place.name for place in places])
            (folder / REPORT_FILE).unlink(missing_ok=True)  # of other runs, should the new one not come about
        if not (folder / REPORT_FILE).exists():
            report_or_note(comparison, folder, observer.note)
    refuse_untrained(results, folder)
    return comparison


def run_several(
    configs: Sequence[Config], places: Sequence[Path], *, jobs: int, resume: bool, observer: Observer, command: str
) -> list[RunResult]:
    """Each configuration in its folder, which the caller has claimed: one after the other, or ``jobs`` at a time."""
    if jobs < 1:
        raise ConfigError(f"jobs = {jobs}: must be at least 1")
    if jobs > 1 and len(configs) > 1:
        return run_side_by_side(configs, places, jobs=jobs, resume=resume, observer=observer, command=command)
    return [
        run_owned(config, place, resume=resume, observer=observer, command=command, report=False)
        for config, place in zip(configs, places, strict=True)
    ]


def report_or_note(result: RunResult | Comparison, folder: Path, note: Callable[[str], None]) -> None:
    """Write the report. One that fails is said and no more: what was computed is on the disk."""
    try:
        write_report(result, folder)
    except Exception as error:  # a library that draws fails in many ways
        reason = " ".join(str(error).split()) or type(error).__name__
        note(f"the report was not written ({reason}); the results are complete: ecofed report {folder} tries again")


def _summarised(folder: Path) -> Comparison | None:
    """The comparison that a folder holds, if it holds a whole one."""
    try:
        return read_summary(folder)
    except EcoFedError:
        return None


def _beside(again: Again | None, result: RunResult) -> RunResult | Comparison:
    """What a report shows: beside a run that learned from another one, that one."""
    return result if again is None or again.result is None else Comparison(results=[again.result, result])
