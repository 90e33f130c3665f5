"""The frontier of bytes against accuracy: ``ecofed`` at many settings, beside its baselines and the floors.

Each point is a run in a folder of its own, so that a sweep can be stopped and continued.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ecofed.config import Config, Settings
from ecofed.config.methods import facts_of
from ecofed.errors import ConfigError
from ecofed.files.disk import holds_json, write_json
from ecofed.models import default_cut
from ecofed.pretraining.resolve import resolve_front
from ecofed.reports.frontiers import FRONTIER_FILE, PLOT_FILE, Frontier, Point, plot_frontier
from ecofed.reports.joining import changed_inputs
from ecofed.results import RunResult
from ecofed.results.untrained import refuse_untrained
from ecofed.runs.comparing import check_all
from ecofed.runs.experiment import run_owned, run_several
from ecofed.runs.observing import Observer, checked
from ecofed.runs.run_folder import check_finished, claimed, claimed_part
from ecofed.runs.sweep import planned


def frontier(
    settings: Settings,
    *,
    out: str | Path,
    bits: Sequence[int],
    views: Sequence[int],
    fronts: Sequence[str],
    baselines: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    observer: Observer | None = None,
    command: str = "",
    jobs: int = 1,
) -> Frontier:
    """Run every combination that the fronts allow, then the baselines; write ``frontier.json`` and ``frontier.png``.

    Args:
        settings: everything else.
        out: the folder, new or empty; each point becomes a folder below it. It is this process's alone until the end.
        bits: of a code.
        views: uploads in a device's life; 0 is unbounded.
        fronts: as ``front.name`` names them.
        baselines: methods, and ``paper`` for the paper's EcoFed settings.
        resume: finished points are taken as they are, an interrupted one is continued.
        overwrite: replace the sweep that is in the folder.
        observer: is told about progress.
        command: recorded in the results.
        jobs: how many runs are trained at a time.

    Raises:
        ConfigError: no combination is possible, or a baseline is not; nothing was trained. EcoFedError: a run failed.
    """
    observer, folder, notes = checked(observer), Path(out), list[str]()
    asked = planned(settings, bits=bits, views=views, fronts=fronts, baselines=baselines)
    check_all(one.config for one in asked)
    runs: list[tuple[str, Config]] = []
    for one in asked:
        if one.front is not None and (missing := _missing_limits(one.config)):
            notes.append(f"{one.front}: {missing}")
        else:
            runs.append((one.label, one.config))
    if len(runs) == len(baselines):
        raise ConfigError(f"no point of the sweep is possible ({'; '.join(dict.fromkeys(notes)) or 'nothing asked'})")
    with claimed(folder, "frontier", resume=resume, overwrite=overwrite), ExitStack() as stack:
        places = [folder / _folder_name(label) for label, _ in runs]
        for place in places:  # before the first minute is spent
            stack.enter_context(claimed_part(place, resume=resume))
        if resume:
            check_finished({place: config for place, (_, config) in zip(places, runs, strict=True)}, observer.note)
        configs = [config for _, config in runs]
        if jobs > 1:
            results = run_several(configs, places, jobs=jobs, resume=resume, observer=observer, command=command)
        else:
            results = []
            for (label, config), place in zip(runs, places, strict=True):
                observer.note(label)
                results.append(
                    run_owned(config, place, resume=resume, observer=observer, command=command, report=False)
                )
        made = Frontier(
            points=_points([label for label, _ in runs], results),
            raw_image_bytes_per_device=results[0].data.floors.raw_bytes / runs[0][1].devices,
            compressed_image_bytes_per_device=_per_device(results[0].data.floors.compressed_bytes, runs[0][1].devices),
            notes=list(dict.fromkeys([*notes, *changed_inputs(results)])),
        )
        _write(made, folder, resume=resume, observer=observer)
    refuse_untrained(results, folder)
    return made


def _write(made: Frontier, folder: Path, *, resume: bool, observer: Observer) -> None:
    """``frontier.json``, unless it says this already, and the plot."""
    if not (resume and holds_json(folder / FRONTIER_FILE, made.to_dict())):
        write_json(folder / FRONTIER_FILE, made.to_dict())
        (folder / PLOT_FILE).unlink(missing_ok=True)  # of other points, should the new one not come about
    try:
        if not (folder / PLOT_FILE).exists():
            plot_frontier(made, folder)
    except Exception as error:  # a library that draws fails in many ways
        reason = " ".join(str(error).split()) or type(error).__name__
        observer.note(f"frontier.png was not drawn ({reason}); {FRONTIER_FILE} is complete")


def _missing_limits(config: Config) -> str | None:
    """Why this front cannot be coded with these bits, or ``None``."""
    cut = config.model.cut or default_cut(config.model.name)
    bundle = resolve_front(config, cut, _channels(config), lambda _: None)
    bits = config.codec.limit_bits
    if bits is None or bits in bundle.upper:
        return None
    return f"has quantiser limits for {', '.join(map(str, sorted(bundle.upper)))} bits only"


def _channels(config: Config) -> int:
    from ecofed.data import load_dataset
    from ecofed.data.reading import reading_of
    from ecofed.models.registry import image_size

    # What lies there and is not taken: each run tells.
    return load_dataset(
        config.data.name,
        fallback=config.data.fallback,
        how=reading_of(config.data, image_size(config.model)),
        note=lambda _: None,
    ).channels


def _points(labels: Sequence[str], results: Sequence[RunResult]) -> list[Point]:
    figures = [(result.total_bytes, result.totals.final_test_accuracy) for result in results]
    return [
        Point(
            label=label,
            method=result.method,
            final_test_accuracy=result.totals.final_test_accuracy,
            total_bytes=result.total_bytes,
            bytes_per_device=result.total_bytes / result.config["devices"],
            uplink_bytes_per_device=result.totals.uplink_bytes / result.config["devices"],
            images_leave_device=facts_of(result.method).images_leave_device,
            efficient=not any(_beats(other, (own_bytes, own_accuracy)) for other in figures),
            result=f"{_folder_name(label)}/result.json",
        )
        for label, result, (own_bytes, own_accuracy) in zip(labels, results, figures, strict=True)
    ]


def _beats(one: tuple[int, float], other: tuple[int, float]) -> bool:
    """As few bytes and as accurate, and better in one of them. A point is its bytes and its accuracy."""
    return one != other and one[0] <= other[0] and one[1] >= other[1]


def _per_device(total: int | None, devices: int) -> float | None:
    return None if total is None else total / devices


def _folder_name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9=._-]+", "-", label)
