"""Search for settings on a kept buffer: every trial trains a back, and no device is asked.

A keyed share of every device's samples is held out; a trial is judged by its network on these, and no test image is
looked at. Trials are drawn in rounds of :data:`AT_ONCE`, whatever the number of cores: so the same seed gives the same
trials on every machine, and after an interruption.
"""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from ecofed.config import Config
from ecofed.config.methods import OURS
from ecofed.config.task import Task
from ecofed.errors import CheckpointError, ConfigError, DeviceError
from ecofed.files.disk import append_text, json_text, remove_unfinished, write_json, write_text
from ecofed.files.json_values import Count, parse, read_as
from ecofed.files.naming import path_named
from ecofed.files.ownership import owned, refuse_if_owned
from ecofed.files.reading import content_of
from ecofed.machine import cores
from ecofed.methods.refusals import DivergedError
from ecofed.models import build_model
from ecofed.models.registry import narrows
from ecofed.randomness import generator
from ecofed.relearning.changes import alone, changed, say_what_changes_nothing, settings_of
from ecofed.relearning.crew import crew
from ecofed.relearning.retraining import NoDevices, learning_from
from ecofed.reports.plots.importance import write_importance_plot
from ecofed.results.untrained import refuse_untrained
from ecofed.runs.comparing import check_all
from ecofed.runs.experiment import run_owned
from ecofed.runs.kept_buffer import open_buffer
from ecofed.runs.observing import SilentObserver
from ecofed.runs.run_folder import is_empty
from ecofed.runs.without_effect import no_effect_of

SCHEMA = "ecofed-tuning/1"
TRIALS_FILE, RESULT_FILE, PLOT_FILE = "trials.jsonl", "tuning.json", "importance.png"
#: Trials that are drawn from the same knowledge, and may run side by side.
AT_ONCE = 4
#: Drawn at random before anything is concluded from them.
FIRST_AT_RANDOM = 10
#: Of every device's samples, unless the run held out a share of its own.
HELD_OUT = 0.2


def search_space(config: Config) -> dict[str, BaseDistribution]:
    """What is searched, by key: nothing that a run of this configuration does not read."""
    space: dict[str, BaseDistribution] = {
        "learning_rate": FloatDistribution(3e-4, 0.1, log=True),
        f"{OURS}.weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
        f"{OURS}.schedule": CategoricalDistribution(("constant", "cosine")),
        f"{OURS}.ema": CategoricalDistribution((0.0, 0.9, 0.99, 0.998)),
        f"{OURS}.label_smoothing": CategoricalDistribution((0.0, 0.05, 0.1, 0.2)),
        f"{OURS}.mixup": CategoricalDistribution((0.0, 0.1, 0.2, 0.4)),
    }
    if config.model.name in _HEADS:
        width = config.model.head_width or max(1, round(_HEADS[config.model.name] * config.model.width))
        widths = sorted({max(16, width // 4), max(16, width // 2), width, 2 * width})
        space["model.head_width"] = CategoricalDistribution(tuple(widths))
    if narrows(config.model):
        own = config.model.back_width or config.model.width
        space["model.back_width"] = CategoricalDistribution(
            tuple(sorted({min(8.0, factor * own) for factor in _FACTORS}))
        )
    return {key: values for key, values in space.items() if not no_effect_of(key, config)}


#: On the back's width.
_FACTORS = (0.25, 0.5, 1.0, 2.0)
#: Networks with a hidden head after the cut, and its width in them.
_HEADS = {"vgg11": 4096, "alexnet": 4096}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting that was tried."""

    number: Count
    settings: dict[str, Any]
    accuracy: float | None
    """On the held-out samples, the mean of the last five evaluations; ``None``: training diverged."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a search found."""

    run: str
    buffer: str
    held_out: float
    seed: Count
    fixed: list[str]
    """``key=value`` words that every trial had."""
    trials: list[Trial] = field(default_factory=list)
    """The first has the run's own settings."""
    importance: dict[str, float] = field(default_factory=dict)
    command: str = ""
    """Trains with the best settings."""
    classic_bytes: Count = 0
    """What as many trials of classic federated learning would have moved, by arithmetic."""

    @property
    def best(self) -> Trial:
        """The most accurate one; of several the first."""
        return max(self.trials, key=lambda trial: (trial.accuracy or 0.0, -trial.number))

    def to_dict(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self), "best": asdict(self.best), "uplink_bytes": 0, "downlink_bytes": 0}


def tune(
    source: str | Path,
    *,
    out: str | Path,
    trials: int = 30,
    seed: int = 0,
    held_out: float | None = None,
    workers: int | None = None,
    sets: Iterable[str] = (),
    resume: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Tuning:
    """Search for settings on the buffer that a run kept.

    Args:
        source: the folder of that run.
        out: a new folder for ``tuning.json``, ``trials.jsonl`` and ``importance.png``.
        trials: how many settings are tried, the run's own among them.
        seed: of the search.
        held_out: the share of every device's samples that trials are judged by; default: the run's own, or 0.2.
        workers: processes; default: the cores there are. The result is the same.
        sets: ``key=value`` words for all trials; such a key is not searched.
        resume: continue the search that is in the folder, or add trials to it.
        say: is told about progress.

    Raises:
        ConfigError: no buffer, or impossible settings.
    """
    source, folder, fixed = path_named(source, "source"), path_named(out, "out"), list(sets)
    if not 1 <= trials <= 100_000:
        raise ConfigError(f"--trials {trials}: must be in 1..100000")
    refuse_if_owned(source)
    kept = open_buffer(source)
    share = held_out if held_out is not None else kept.config.validation.fraction or HELD_OUT
    if not 0 < share < 1:
        raise ConfigError(f"held out {share}: must be above 0 and below 1")
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers {workers}: must be at least 1")
    settings = settings_of(kept.config, fixed)
    config = changed(kept.config, settings)
    _check_judged(source, config, share)
    given = settings.keys_on_top(config.method)
    space = {key: values for key, values in search_space(config).items() if key not in given}
    start = Tuning(run=source.name, buffer=kept.digest(), held_out=share, seed=seed, fixed=fixed)
    say_what_changes_nothing(settings, lambda text: say(f"note: {text}"))
    with owned(folder):
        known = _begun(folder, start, resume=resume)
        job = _Job(source=str(source), buffer=start.buffer, fixed=tuple(fixed), held_out=share)
        with ExitStack() as stack:
            count = min(workers or cores(), AT_ONCE, trials)
            work = partial(map, _carry_out) if count == 1 else stack.enter_context(crew(count, _carry_out))
            for first in range(0, trials, AT_ONCE):
                asked = _asked(known, first, min(AT_ONCE, trials - first), space, seed)
                waiting = [(job, number, own) for number, own in asked.items() if number not in known]
                for number, accuracy in work(waiting):
                    known[number] = Trial(number=number, settings=asked[number], accuracy=accuracy)
                    append_text(folder / TRIALS_FILE, json_text(asdict(known[number])) + "\n")
                    best = max((trial.accuracy or 0.0) for trial in known.values())
                    say(f"trial {len(known)}/{trials}: {_shown(accuracy)} (best {best:.4f})")
        found = [known[number] for number in sorted(known)]
        if all(trial.accuracy is None for trial in found):
            raise DeviceError("training diverged with every setting that was tried; lower learning_rate with --set")
        made = replace(
            start,
            trials=found,
            importance=_importance(found, space),
            classic_bytes=len(found) * classic_bytes(config, kept.origin.task),
        )
        sets = [*fixed, *(f"{key}={value}" for key, value in made.best.settings.items())]
        words = [str(source), *(word for text in sets for word in ("--set", text))]
        made = replace(made, command=f"ecofed retrain {shlex.join(words)}")
        write_json(folder / RESULT_FILE, made.to_dict())
        if made.importance:
            write_importance_plot(made.importance, folder / PLOT_FILE)
    return made


def _check_judged(source: Path, config: Config, share: float) -> None:
    """Raise :class:`ConfigError` where samples of the buffer could not judge a trial."""
    own, rule = config.privacy, "try settings with 'ecofed retrain --set', which test images judge"
    if own.labels == "counts":
        raise ConfigError(f"{source}: its devices told no labels (privacy.labels = counts) to judge trials by; {rule}")
    if own.label_epsilon is not None:
        told = f"its labels are randomised (privacy.label_epsilon = {own.label_epsilon:g}), and trials would be"
        raise ConfigError(f"{source}: {told} judged by them; {rule}")
    check_all([_of_a_trial(config, share)])


def _of_a_trial(config: Config, share: float) -> Config:
    return alone(config).replace(evaluate_every=config.rounds, validation__fraction=share)


def classic_bytes(config: Config, task: Task) -> int:
    """The whole network in float32, down and up, for every sampled device and round of one training."""
    with torch.device("meta"):
        network = build_model(
            config.model, in_channels=task.in_channels, classes=task.classes, normalisation=config.normalisation
        )
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return 2 * 4 * parameters * config.sampled_devices * config.rounds


@dataclass(frozen=True)
class _Job:
    source: str
    buffer: str
    fixed: tuple[str, ...]
    held_out: float


def _carry_out(task: tuple[_Job, int, Mapping[str, Any]]) -> tuple[int, float | None]:
    """One trial, perhaps in a process of its own."""
    job, number, settings = task
    kept = open_buffer(job.source)
    words = [*job.fixed, *(f"{key}={value}" for key, value in settings.items())]
    config = _of_a_trial(changed(kept.config, settings_of(kept.config, words)), job.held_out)
    again = learning_from(kept, config, "all", tested=False)
    if again.origin["buffer"] != job.buffer:
        raise ConfigError(
            f"{job.source}: its buffer is another than when the search began (uploads were deleted?), and trials of "
            "both cannot be compared; search anew with another --out"
        )
    try:
        result = run_owned(
            config,
            None,
            resume=False,
            observer=SilentObserver(),
            command="",
            report=False,
            connect=lambda _: NoDevices(),
            again=again,
        )
    except DivergedError:
        return number, None
    assert result.total_bytes == 0
    refuse_untrained([result])
    return number, result.totals.final_test_accuracy


def _asked(
    known: Mapping[int, Trial], first: int, count: int, space: Mapping[str, BaseDistribution], seed: int
) -> dict[int, dict[str, Any]]:
    """The settings of trials ``first`` and following: a function of the seed and of all trials before ``first``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = _study([known[number] for number in range(first)], space)
        asked: dict[int, dict[str, Any]] = {}
        for number in range(first, first + count):
            if number == 0:
                asked[0] = {}  # the run's own
                continue
            drawn = int(generator(seed, "tuning", sample=number).integers(2**31))
            study.sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=FIRST_AT_RANDOM, multivariate=True)
            asked[number] = {key: _short(value) for key, value in study.ask(dict(space)).params.items()}
    return asked


def _short(value: Any) -> Any:
    """A number that can be typed: three digits decide."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _study(trials: Sequence[Trial], space: Mapping[str, BaseDistribution]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for trial in trials:
        if not trial.settings:  # the run's own, which need not lie in the space
            continue
        study.add_trial(
            create_trial(
                params={key: value for key, value in trial.settings.items() if key in space},
                distributions=dict(space),
                value=trial.accuracy,
                state=TrialState.FAIL if trial.accuracy is None else TrialState.COMPLETE,
            )
        )
    return study


def _importance(trials: Sequence[Trial], space: Mapping[str, BaseDistribution]) -> dict[str, float]:
    """How much of what makes trials good each key explains (PED-ANOVA; Watanabe et al., IJCAI 2023); adds up to 1."""
    if len({trial.accuracy for trial in trials if trial.settings and trial.accuracy is not None}) < 3:
        return {}
    # Brings scikit-learn, which takes longer than PyTorch.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_param_importances(_study(trials, space), evaluator=PedAnovaImportanceEvaluator())
    return {key: float(value) for key, value in found.items()}


def _begun(folder: Path, start: Tuning, *, resume: bool) -> dict[int, Trial]:
    """The trials of a search that goes on; its folder is marked as this search's."""
    mark = {**asdict(start), "schema": SCHEMA}
    mark = {key: mark[key] for key in ("schema", "run", "buffer", "held_out", "seed", "fixed")}
    remove_unfinished(folder)
    if is_empty(folder):
        write_json(folder / RESULT_FILE, mark)
        return {}
    if not resume:
        raise ConfigError(
            f"{folder} is not empty; add --resume to continue the search that is there, or choose another"
        )
    try:
        there = read_as(dict[str, Any], parse(content_of(folder / RESULT_FILE)))
        text = content_of(folder / TRIALS_FILE).decode("utf-8") if (folder / TRIALS_FILE).exists() else ""
        whole = text.split("\n")[:-1]  # a trial whose line has no end was being written when its process was killed
        write_text(folder / TRIALS_FILE, "".join(f"{line}\n" for line in whole))
        known: dict[int, Trial] = {trial.number: trial for trial in (read_as(Trial, parse(line)) for line in whole)}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: holds no search that could be continued ({error})") from error
    for key, value in mark.items():
        if there.get(key) != value:
            raise CheckpointError(
                f"{folder}: holds a search with other settings ({key} was {there.get(key)!r}); choose another --out"
            )
    return known


def _shown(accuracy: float | None) -> str:
    return "diverged" if accuracy is None else f"{accuracy:.4f}"
