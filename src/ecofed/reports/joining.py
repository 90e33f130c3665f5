"""Results of several folders as one comparison, and what of them does not compare."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ecofed.config.schema import all_methods
from ecofed.errors import EcoFedError
from ecofed.files.disk import json_text
from ecofed.files.naming import path_named
from ecofed.reports import notebook  # noqa: F401 - results that are loaded, or come from Python, can be shown
from ecofed.reports.files import RESULT_FILE, SUMMARY_FILE, read_result, read_summary
from ecofed.reports.frontiers import holds_frontier, read_frontier
from ecofed.reports.unfinished import is_unfinished, is_untested, read_unfinished, unfinished_notes
from ecofed.results import Comparison, RunResult, flatten, short_digest

#: Settings that say which images lie on which device; runs that differ in one were not put to the same task.
_TASK = ("devices", "sampled_devices", "rounds", "test_part", "test_samples")


def load(folder: str | Path) -> Comparison | RunResult:
    """Whatever a folder holds: a comparison, a run, a run that is not finished, a sweep, or sub-folders with runs.

    Raises:
        EcoFedError: it holds none of these, or holds it malformed.
    """
    path = path_named(folder, "folder")
    if os.path.isfile(path):
        return read_summary(path) if path.name == SUMMARY_FILE else read_result(path)
    if os.path.isfile(path / SUMMARY_FILE):
        return read_summary(path)
    if os.path.isfile(path / RESULT_FILE):
        return read_result(path)
    if is_unfinished(path):
        return read_unfinished(path)
    if holds_frontier(path):
        return read_frontier(path)[1]
    inside = _runs_inside(path)
    waiting = [entry.name for entry in inside if is_untested(entry)]
    if len(waiting) < len(inside):
        found = joined([entry for entry in inside if entry.name not in waiting])
        late = [f"no round of {', '.join(waiting)} has been tested yet"] if waiting else []
        return replace(found, notes=[*late, *found.notes])
    if inside:
        raise EcoFedError(f"{path}: no round of its runs has been tested yet; there is nothing to report on")
    raise EcoFedError(
        f"{path}: holds neither {SUMMARY_FILE} nor {RESULT_FILE}; "
        "give the folder that 'ecofed run' or 'ecofed compare' wrote with --out"
    )


def run_folders(folder: str | Path) -> list[Path]:
    """The folders of the runs that :func:`load` finds in one, in the order of its results."""
    path = Path(folder)
    if os.path.isfile(path):
        path = path.parent
    if os.path.isfile(path / SUMMARY_FILE):
        return [path / name for name in read_summary(path).folders()]
    if os.path.isfile(path / RESULT_FILE) or is_unfinished(path):
        return [path]
    if holds_frontier(path):
        return [(path / point.result).parent for point in read_frontier(path)[0].points]
    return [entry for entry in _runs_inside(path) if not is_untested(entry)]


def joined(folders: Sequence[str | Path]) -> Comparison:
    """The runs of several folders as one comparison. Its notes say where they differ in more than what is compared.

    Raises:
        EcoFedError: as :func:`load`.
    """
    results: list[RunResult] = []
    notes: list[str] = []
    names: list[str] = []
    for folder in folders:
        found = load(folder)
        several = found.results if isinstance(found, Comparison) else [found]
        results += several
        names += found.names if isinstance(found, Comparison) and found.names else [""] * len(several)
        notes += (
            found.notes
            if isinstance(found, Comparison)
            else [f"{found.method}: {text}" for text in unfinished_notes(found)]
        )
    return Comparison(results=results, notes=[*dict.fromkeys([*differences(results), *notes])], names=names)


def differences(results: Sequence[RunResult]) -> list[str]:
    """What keeps the runs from being compared as they stand, one line each; nothing for one data set and one deal."""
    lines = []
    told = {
        "data": [result.data.name for result in results],
        "test images": [f"{result.data.test_samples:,}" for result in results],
        "classes": [", ".join(result.data.classes) for result in results],
        "version of ecofed": [result.ecofed_version for result in results],
    }
    for name, values in told.items():
        lines += _different(name, values, results)
    settings = [flatten(result.config) for result in results]
    keys = [key for key in dict.fromkeys(key for one in settings for key in one) if _is_of_the_task(key)]
    for key in keys:
        lines += _different(key, [str(one.get(key, "-")) for one in settings], results)
    lines += changed_inputs(results)
    seeds: dict[str, set[int]] = {}
    for result in results:
        seeds.setdefault(result.method, set()).add(result.seed)
    if len(set(map(frozenset, seeds.values()))) > 1:
        each = "; ".join(f"{method} {', '.join(map(str, sorted(found)))}" for method, found in seeds.items())
        lines.append(f"the runs differ in their seeds, which deal out data and devices: {each}")
    dealt: dict[int, list[list[int]]] = {}
    if not lines and any(dealt.setdefault(r.seed, r.data.label_counts) != r.data.label_counts for r in results):
        lines.append("the runs have the same settings for data and devices, yet the devices held other images")
    return lines


def changed_inputs(results: Sequence[RunResult]) -> list[str]:
    """Where runs that were told to read the same read something else, by their fingerprints; one line each."""
    told = [result for result in results if result.inputs]
    lines = []
    for key in dict.fromkeys(key for result in told for key in result.inputs):
        alike: dict[str, list[RunResult]] = {}
        for result in told:
            if key in result.inputs:
                alike.setdefault(_asked(key, result), []).append(result)
        for group in alike.values():
            lines += _different(key, [short_digest(result.inputs[key]) for result in group], group)
    if 0 < len(told) < len(results):
        few = (
            f"what {len(results) - len(told)} of the {len(results)} runs read was not recorded (by an earlier version)"
        )
        lines.append(f"{few}; whether it was the same is not known")
    return list(dict.fromkeys(lines))


def _asked(key: str, result: RunResult) -> str:
    """Runs for which this is equal were told to read the same there."""
    settings = flatten(result.config)
    if " profile " in key or key.startswith(("availability trace", "plug-in")):
        return ""  # its name is in the key
    if key == "division of the data":
        return json_text([settings.get("seed"), [(name, settings[name]) for name in settings if _is_of_the_task(name)]])
    if key in ("front", "pre-trained back"):
        return json_text({name: settings[name] for name in settings if name not in ("seed", "rounds")})
    return json_text([settings.get("data.name"), settings.get("data.fallback")])


def _is_of_the_task(key: str) -> bool:
    return key in _TASK or key.startswith("data.")


def _different(name: str, values: Sequence[str], results: Sequence[RunResult]) -> list[str]:
    if len(set(values)) == 1:
        return []
    who: dict[str, list[str]] = {}
    for value, result in zip(values, results, strict=True):
        who.setdefault(value, []).append(result.method)
    each = "; ".join(f"{value} ({', '.join(dict.fromkeys(methods))})" for value, methods in who.items())
    return [f"the runs differ in {name}: {each}"]


def _runs_inside(folder: Path) -> list[Path]:
    """Sub-folders that hold a run, those of methods in their usual order."""
    try:
        entries = [entry for entry in sorted(folder.iterdir()) if entry.is_dir()] if folder.is_dir() else []
    except OSError as error:
        raise EcoFedError(f"{folder}: cannot be read ({error.strerror or error})") from error
    runs = [entry for entry in entries if (entry / RESULT_FILE).is_file() or is_unfinished(entry)]
    order = {name: number for number, name in enumerate(all_methods())}
    return sorted(runs, key=lambda entry: order.get(entry.name.partition("-seed=")[0], len(order)))
