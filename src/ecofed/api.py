"""The Python API as one types it: a preset's name, keyword settings, a module, arrays.

Everything here becomes :class:`~ecofed.config.settings.Settings`, which the engine takes as the command line gives
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ecofed.config import Config, Settings
from ecofed.config.fields import flatten
from ecofed.config.schema import PLUGINS, path_of
from ecofed.data import Dataset
from ecofed.data.given import give_arrays, give_dataset
from ecofed.errors import ConfigError, DataError
from ecofed.files.naming import path_named
from ecofed.methods.from_kept import Order
from ecofed.models.given import give_module, given_cut, was_trained
from ecofed.planning import planner
from ecofed.planning.answer import Plan
from ecofed.relearning import retraining
from ecofed.reports.joining import changed_inputs
from ecofed.results import Comparison, RunResult
from ecofed.runs import experiment, saved_model
from ecofed.runs.comparing import runs_of
from ecofed.runs.evaluating import Evaluation
from ecofed.runs.evaluating import evaluate as evaluated
from ecofed.runs.natural import settled
from ecofed.runs.observing import Observer, ProgressLines, checked
from ecofed.runs.saved_model import TrainedNetwork
from ecofed.runs.without_effect import without_effect

#: ``((images, labels), (test_images, test_labels))``: uint8 (N, H, W, C) and whole numbers (N,).
Arrays = tuple[tuple[Any, Any], tuple[Any, Any]]
Source = Config | Settings | str | Path | None


def run(
    settings: Source = None,
    *,
    model: nn.Module | str | None = None,
    data: Arrays | Dataset | str | Path | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    observer: Observer | None = None,
    command: str = "",
    report: bool = True,
    **keys: Any,
) -> RunResult:
    """Train one method: ``ecofed.run("quickstart", rounds=5, data__name="digits")``.

    Args:
        settings: the name of a preset, a TOML file, ``Settings`` or a ``Config``; default: plain defaults.
        model: a network of your own, whose layers are used and whose weights are drawn from the seed; or a name.
        data: arrays ``((images, labels), (test_images, test_labels))``, images uint8 (N, H, W, C) and labels whole
            numbers (N,); a ``Dataset``; or a name or path. Modules and arrays are known to this process alone.
        out: folder for ``result.json``, ``metrics.jsonl``, ``model.safetensors``, ``report.html`` and the checkpoint;
            ``None`` writes nothing. It must be new or empty, and is this process's alone until the run has ended.
        resume: continue from the folder's checkpoint; a finished run is returned as it is.
        overwrite: replace the run that is in the folder.
        observer: is told about progress; default: a line every few seconds, and notes as warnings.
        command: recorded in the result.
        report: write ``report.html`` and plots too.
        **keys: any key of the configuration (``docs/reference/configuration.md``), with ``__`` for the dot:
            ``method="classic-fl"``, ``codec__bits=8``.

    Raises:
        EcoFedError: a setting, the data or a device is at fault; see the tree in :mod:`ecofed.errors`.
    """
    asked = as_settings(settings, model, data, keys)
    observer = checked(observer, ProgressLines)
    _say_what_plays_no_role(asked, [asked.method], model, keys, observer)
    return experiment.run(
        asked.for_method(asked.method),
        out=out,
        resume=resume,
        overwrite=overwrite,
        observer=observer,
        command=command,
        report=report,
    )


def retrain(
    source: str | Path,
    *,
    out: str | Path | None = None,
    order: Order = "all",
    resume: bool = False,
    overwrite: bool = False,
    observer: Observer | None = None,
    command: str = "",
    report: bool = True,
    **keys: Any,
) -> RunResult:
    """Train another back from the buffer that a run kept; no device is asked.

    Args:
        source: the folder of that run (``keep_buffer=True``).
        out: as for :func:`run`; a folder of its own.
        order: ``all``: the whole buffer is there from the first round. ``as-uploaded``: each upload counts from the
            round in which it came: the same settings then give the same network as the run's, bit for bit.
        resume: as for :func:`run`, like the others.
        overwrite: as for :func:`run`.
        observer: as for :func:`run`.
        command: as for :func:`run`.
        report: as for :func:`run`.
        **keys: what comes after the cut and how it is trained: ``learning_rate=0.003``, ``ecofed__ema=0.998``.

    Raises:
        ConfigError: the run keeps no buffer, or a key is set that the buffer has settled. EcoFedError: as for a run.
    """
    return retraining.retrain(
        path_named(source, "source"),
        out=out,
        order=order,
        resume=resume,
        overwrite=overwrite,
        observer=checked(observer, ProgressLines),
        command=command,
        report=report,
        **keys,
    )


def compare(
    settings: Source = None,
    methods: str | Sequence[str] | None = None,
    *,
    model: nn.Module | str | None = None,
    data: Arrays | Dataset | str | Path | None = None,
    out: str | Path | None = None,
    seeds: Sequence[int] = (),
    resume: bool = False,
    overwrite: bool = False,
    observer: Observer | None = None,
    command: str = "",
    jobs: int = 1,
    **keys: Any,
) -> Comparison:
    """Run several methods on the same devices, data, model and seed; write one report.

    Without ``methods`` those that the preset or file names run, otherwise the paper's. Each method runs in
    ``out/<method>``; with several ``seeds`` (default: the one that the settings name) once with each, in
    ``out/<method>-seed=<seed>``, and tables have means. With ``resume`` finished runs are not run again, with
    ``overwrite`` those that are there are replaced; otherwise the folder must be new or empty. ``jobs`` runs are
    trained at a time, each in a process of its own, where there is an ``out``. Without ``out`` nothing is written. The
    other arguments, and errors, are those of :func:`run`.
    """
    asked = as_settings(settings, model, data, keys)
    methods = _names(methods, asked)
    observer = checked(observer, ProgressLines)
    _say_what_plays_no_role(asked, methods, model, keys, observer)
    if out is not None:
        return experiment.compare(
            asked,
            methods,
            out=out,
            seeds=seeds,
            resume=resume,
            overwrite=overwrite,
            observer=observer,
            command=command,
            jobs=jobs,
        )
    if resume or overwrite or jobs != 1:
        raise ConfigError("resume, overwrite and jobs: say which folder with out")
    configs = runs_of(asked, methods, seeds)
    results = [experiment.run(config, observer=observer, command=command) for config in configs]
    return Comparison(results=results, command=command, notes=changed_inputs(results))


def plan(
    settings: Source = None,
    methods: str | Sequence[str] | None = None,
    *,
    model: nn.Module | str | None = None,
    data: Arrays | Dataset | str | Path | None = None,
    every_layer: bool = False,
    **keys: Any,
) -> Plan:
    """What these methods will cost, without training: bytes, time and memory, and settings to start from.

    Args:
        settings: as for :func:`run`, with ``model``, ``data`` and ``keys``.
        methods: which; default: those that the settings compare.
        model: as for :func:`run`.
        data: as for :func:`run`.
        every_layer: plan cuts inside blocks too.
        **keys: as for :func:`run`.

    Raises:
        ConfigError: an unknown profile or method, or settings that do not fit each other.
        ModelError: the network cannot be cut where the configuration says.
    """
    asked = as_settings(settings, model, data, keys)
    return planner.plan(asked, _names(methods, asked), every_layer=every_layer)


def _names(methods: str | Sequence[str] | None, settings: Settings) -> list[str]:
    names: Any = [methods] if isinstance(methods, str) else settings.compared if methods is None else methods
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"methods = {names!r}: must be a method's name, or a list of them")
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"methods names '{name}' twice")
    return list(names)


def evaluate(
    model: str | Path,
    data: Arrays | Dataset | str | Path | None = None,
    *,
    network: nn.Module | None = None,
) -> Evaluation:
    """Accuracy of a trained network on the whole test split of a data set.

    Args:
        model: a ``model.safetensors``, or a run's folder.
        data: as for :func:`run`; default: what it was trained on. Classes are matched by name.
        network: the module that was given as ``model`` when it was trained, if that was in another process.

    Raises:
        ModelError: not a trained network. DataError: no such data set, or one of other channels or classes.
    """
    if network is not None:
        give_module(network)
    path = path_named(model, "model")
    return evaluated(path, None if data is None else _data_name(data))


def load_model(path: str | Path, *, network: nn.Module | None = None) -> TrainedNetwork:
    """Read a ``model.safetensors``, or the one in a run's folder.

    Args:
        path: the file or folder.
        network: the module that was given as ``model`` when it was trained, if that was in another process.

    Raises:
        ModelError: it is missing, or not a network that this program wrote.
    """
    if network is not None:
        give_module(network)
    return saved_model.load_model(path_named(path, "path"))


def as_settings(settings: Source, model: nn.Module | str | None, data: Any, keys: dict[str, Any]) -> Settings:
    """What a caller asked for.

    Raises:
        ConfigError: no such preset or key, an impossible value. DataError: arrays that are no data set.
    """
    if isinstance(settings, Config):
        values = {key: value for key, value in settings.to_dict().items() if key != PLUGINS}
        pairs = tuple(flatten(values, ()))
        settings = Settings(pairs, settings.method, len(pairs))
    elif not isinstance(settings, Settings):
        _check_source(settings)
        settings = Settings.load(settings)
    given: dict[str, Any] = {}
    if isinstance(model, nn.Module):
        name = give_module(model)
        # The factors are of the built-in networks; a cut that a preset names is of its own network.
        given |= {"model__name": name, "model__width": 1.0, "model__head_width": None}
        if ("model", "cut") not in map(path_of, keys):
            given["model__cut"] = given_cut(name)
    elif model is not None:
        given["model__name"] = str(model)
    if data is not None:
        given["data__name"] = _data_name(data)
    for name, value in (("model", model), ("data", data)):
        if value is not None and (name, "name") in map(path_of, keys):
            raise ConfigError(f"{name}= and {name}__name= both name what is meant; give one of them")
    # What a caller says of a module's widths counts more than what follows from the module.
    asked = settings.with_set(**{**given, **keys})
    here = [name for name, value in (("model", model), ("data", data)) if not isinstance(value, str | Path | None)]
    if here and asked.for_method(asked.method).runtime == "processes":
        raise ConfigError(
            f"runtime = 'processes': devices in other processes do not know what was given as {' and '.join(here)}; "
            "use runtime=in-process, or a network and a data set that have a name"
        )
    return settled(asked)


def _check_source(settings: object) -> None:
    if not isinstance(settings, str | Path | None):
        found = type(settings).__name__
        raise ConfigError(f"settings: must be a preset's name, a TOML file, Settings or a Config, not {found}")


def _data_name(data: Any) -> str:
    if isinstance(data, str | Path):
        return str(data)
    if isinstance(data, Dataset):
        return give_dataset(data)
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise DataError("data must be ((images, labels), (test_images, test_labels)), a Dataset, a name or a path")
    return give_arrays(*data)


def _say_what_plays_no_role(
    settings: Settings, methods: Sequence[str], model: object, keys: dict[str, Any], observer: Observer
) -> None:
    if isinstance(model, nn.Module) and was_trained(model):
        observer.note(
            f"model: the layers of {type(model).__name__} are used; its weights are drawn anew, from the seed"
        )
    for text in without_effect(settings, methods, one=len(methods) == 1) if keys else ():
        observer.note(text)
