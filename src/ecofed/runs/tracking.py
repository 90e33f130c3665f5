"""Experiment trackers: a run's curves in TensorBoard, MLflow, Weights & Biases or trackio, beside its own files.

A tracker is an extra (``ecofed[tensorboard]`` and so on) and is switched on by name: ``ecofed run ... --track mlflow``,
or ``observer=ecofed.tracked("mlflow")`` from Python. For anything else write an :class:`~ecofed.Observer`.

All are told the same. After each round, with its number as step: ``test_accuracy``, ``test_loss`` and ``train_loss``
where the round has them, and sums since the run began: ``uplink_bytes``, ``downlink_bytes``, ``total_bytes``,
``simulated_seconds``. At the end: ``final_test_accuracy``, ``best_test_accuracy``, ``wall_seconds``. Every
configuration key is a parameter. A run that is resumed goes on in its entry.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

from ecofed.config.schema import Config
from ecofed.errors import ConfigError, MissingExtraError, nearest
from ecofed.errors.foreign_text import clean
from ecofed.files.disk import json_text, write_json
from ecofed.files.json_values import parse, read_as
from ecofed.files.reading import content_of
from ecofed.results import RoundRecord, RunResult
from ecofed.runs.observing import Observer, ProgressLines

#: In a folder of results: which entries its runs have in trackers, so that a resumed run finds its own.
ENTRIES_FILE = "trackers.json"
PROJECT = __name__.partition(".")[0]


class Tracker(Protocol):
    """One run's entry in a tracker. Whatever it raises ends the tracking, not the run."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of a round."""
        ...

    def finish(self, values: Mapping[str, float]) -> None:
        """The run has ended with these."""
        ...


class TensorBoard:
    """Event files in ``WHERE/NAME``, WHERE is ``runs/tensorboard`` unless said otherwise."""

    def __init__(self, where: str, name: str, entry: str, parameters: Mapping[str, Any], first: int) -> None:
        writer = import_module("torch.utils.tensorboard").SummaryWriter
        place = Path(where or "runs/tensorboard") / f"{name.replace('/', '-')}-{entry}"
        # What a process wrote that was killed after its checkpoint is measured again.
        self._writer: Any = writer(str(place), purge_step=first)
        if first == 1:
            text = "\n".join(f"    {key} = {value}" for key, value in parameters.items())
            self._writer.add_text("configuration", text, 0)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def finish(self, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            self._writer.add_scalar(f"result/{key}", value, 0)
        self._writer.close()


class MLflow:
    """A run of an MLflow experiment; WHERE is its name. The server is that of ``MLFLOW_TRACKING_URI``."""

    def __init__(self, where: str, name: str, entry: str, parameters: Mapping[str, Any], first: int) -> None:  # noqa: ARG002
        self._client: Any = import_module("mlflow").MlflowClient()
        place = where or PROJECT
        found = self._client.get_experiment_by_name(place)
        experiment = found.experiment_id if found is not None else self._client.create_experiment(place)
        before = self._client.search_runs([experiment], f"tags.`ecofed.entry` = '{entry}'", max_results=1)
        if before:
            self._run = before[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            return
        run = self._client.create_run(experiment, run_name=name, tags={"ecofed.entry": entry})
        self._run = run.info.run_id
        for key, value in parameters.items():
            self._client.log_param(self._run, key, value)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for key, value in values.items():
            self._client.log_metric(self._run, key, value, step=step)

    def finish(self, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            self._client.log_metric(self._run, key, value)
        self._client.set_terminated(self._run)


class WandB:
    """A run of Weights & Biases; WHERE is the project. ``WANDB_MODE=offline`` keeps it on this machine."""

    _module = "wandb"
    _options: Mapping[str, Any] = {"reinit": "create_new"}  # runs side by side

    def __init__(self, where: str, name: str, entry: str, parameters: Mapping[str, Any], first: int) -> None:  # noqa: ARG002
        self._run: Any = import_module(self._module).init(
            project=where or PROJECT,
            name=name,
            config=dict(parameters),
            resume="allow",
            **{"id": entry, **self._options},
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def finish(self, values: Mapping[str, float]) -> None:
        self._run.summary.update(dict(values))
        self._run.finish()


class Trackio:
    """A run of trackio, a local tracker with W&B's interface; WHERE is the project. ``trackio show`` shows it."""

    def __init__(self, where: str, name: str, entry: str, parameters: Mapping[str, Any], first: int) -> None:
        # It knows a run by its name alone.
        self._run: Any = import_module("trackio").init(
            project=where or PROJECT, name=f"{name}-{entry}", config=dict(parameters), resume="allow"
        )
        self._last = first

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)
        self._last = step

    def finish(self, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=self._last)
        self._run.finish()


_Kind = Callable[[str, str, str, Mapping[str, Any], int], Tracker]
#: By name, which is also that of the package that has to be there, and of the extra that brings it.
TRACKERS: dict[str, _Kind] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB, "trackio": Trackio}


class Tracked:
    """An observer that tells another one, and trackers.

    A tracker that fails (a server that is gone, a key that is missing) is given up with a note; the run goes on.
    """

    def __init__(self, observer: Observer, trackers: Sequence[str], folder: str | Path | None = None) -> None:
        """``trackers``: names, or ``NAME:WHERE``. ``folder``: where the run's or the comparison's results go.

        Raises:
            ConfigError: a name that is unknown. MissingExtraError: its package is missing; both name what to do.
        """
        self._observer = observer
        self._chosen = [chosen(tracker) for tracker in trackers]
        self._folder = None if folder is None else Path(folder)
        self._entries: list[tuple[str, Tracker]] = []
        self._sums = dict[str, float]()

    def beside(self) -> Tracked:
        """For a run among others: its own entry."""
        other = Tracked(_beside(self._observer), [])
        other._chosen, other._folder = self._chosen, self._folder
        return other

    def started(self, config: Config, records: Sequence[RoundRecord]) -> None:
        self._observer.started(config, records)
        folder = "run" if self._folder is None else self._folder.resolve().name
        name = f"{folder}/{config.method}" if config.method not in folder else folder
        name += f"/seed{config.seed}"
        entry = _entry(self._folder, config, again=bool(records))
        self._sums = dict.fromkeys(("uplink_bytes", "downlink_bytes", "total_bytes"), 0.0)
        for record in records:
            self._add(record)
        parameters = dict(_flat(config.to_dict()))
        self._entries = []
        for kind, where in self._chosen:
            with self._given_up_if_it_fails(kind):
                tracker = TRACKERS[kind](where, name, entry, parameters, len(records) + 1)
                self._entries.append((kind, tracker))

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:
        self._observer.round_finished(record, total_rounds)
        self._add(record)
        measured = {key: getattr(record, key) for key in ("test_accuracy", "test_loss", "train_loss")}
        values = {key: value for key, value in measured.items() if value is not None} | self._sums
        for kind, tracker in list(self._entries):
            with self._given_up_if_it_fails(kind):
                tracker.log(values, record.round)

    def note(self, text: str) -> None:
        self._observer.note(text)

    def finished(self, result: RunResult) -> None:
        totals = result.totals
        values = {key: getattr(totals, key) for key in ("final_test_accuracy", "best_test_accuracy", "wall_seconds")}
        for kind, tracker in list(self._entries):
            with self._given_up_if_it_fails(kind):
                tracker.finish(values)
        self._entries = []
        self._observer.finished(result)

    def _add(self, record: RoundRecord) -> None:
        moved = {"uplink_bytes": record.uplink_bytes, "downlink_bytes": record.downlink_bytes}
        moved["total_bytes"] = record.uplink_bytes + record.downlink_bytes
        for key, value in moved.items():
            self._sums[key] += value
        if record.simulated_seconds is not None:
            self._sums["simulated_seconds"] = self._sums.get("simulated_seconds", 0.0) + record.simulated_seconds

    @contextlib.contextmanager
    def _given_up_if_it_fails(self, kind: str) -> Any:
        try:
            yield
        except Exception as error:  # another library's, of any kind
            self._entries = [(name, tracker) for name, tracker in self._entries if name != kind]
            said = clean(f"{error}".strip() or type(error).__name__).splitlines()[0]
            self._observer.note(f"{kind} is told nothing more about this run, which goes on: {said}")


def tracked(*trackers: str, observer: Observer | None = None, folder: str | Path | None = None) -> Tracked:
    """An observer that also tells experiment trackers: ``ecofed.run("quickstart", observer=ecofed.tracked("mlflow"))``.

    Args:
        trackers: ``tensorboard``, ``mlflow``, ``wandb`` or ``trackio``; with ``:WHERE`` the folder, the experiment or
            the project.
        observer: is told, too; default: the one that a run has otherwise.
        folder: of the results, where the entries are noted, so that a resumed run finds its own.

    Raises:
        ConfigError: an unknown name. MissingExtraError: the package is missing.
    """
    if wrong := [type(each).__name__ for each in trackers if not isinstance(each, str)]:
        raise ConfigError(f"trackers: must be names, as 'mlflow', not {wrong[0]}")
    return Tracked(observer or ProgressLines(), trackers, folder)


def chosen(tracker: str) -> tuple[str, str]:
    """Name and place of ``NAME:WHERE``.

    Raises:
        ConfigError: an unknown name. MissingExtraError: its package is missing.
    """
    name, _, where = tracker.partition(":")
    if name not in TRACKERS:
        raise ConfigError(f"no tracker is named '{clean(name)}'{nearest(name, TRACKERS)}; known: {', '.join(TRACKERS)}")
    if find_spec(name) is None:
        raise MissingExtraError(name, name, f"--track {name}")
    return name, where


def _beside(observer: Observer) -> Observer:
    beside = getattr(observer, "beside", None)
    return observer if beside is None else cast(Observer, beside())


def _entry(folder: Path | None, config: Config, *, again: bool) -> str:
    """The name of a run's entries: a new one, or for a resumed run the one that its folder has noted."""
    new = secrets.token_hex(4)
    if folder is None or not folder.is_dir():
        return new
    values = {**config.to_dict(), "rounds": 0}  # more rounds may be asked for when a run is resumed
    key, noted = hashlib.sha256(json_text(values).encode()).hexdigest()[:16], dict[str, str]()
    with contextlib.suppress(OSError, ValueError):  # a note that is missing or damaged: another entry
        noted = read_as(dict[str, str], parse(content_of(folder / ENTRIES_FILE)), ENTRIES_FILE)
    if again and key in noted and noted[key].isalnum():
        return noted[key]
    write_json(folder / ENTRIES_FILE, {**noted, key: new})
    return new


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Keys as they are set: ``ecofed.views``."""
    pairs = list[tuple[str, Any]]()
    for key, value in values.items():
        pairs += _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else [(f"{before}{key}", value)]
    return pairs
