"""``ecofed audit``: every step is written when it is finished, and not made twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch

from ecofed import __version__
from ecofed.auditing.eye import NAME as EYE
from ecofed.auditing.facts import facts_about, notes_about
from ecofed.auditing.finished import STEPS_FOLDER, FinishedSteps, key_of
from ecofed.auditing.membership import from_buffer, from_network
from ecofed.auditing.probing import Probed, probed
from ecofed.auditing.steps import ATTEMPTS, QUALITIES, SHOWN, WEIGHTS, Finished, Workbench, weights_name
from ecofed.auditing.summed import uploads_sums
from ecofed.auditing.sums_attack import from_sums
from ecofed.auditing.target import target_of
from ecofed.auditing.uploads import uploads_images
from ecofed.auditing.weights import BATCHES
from ecofed.config.methods import facts_of
from ecofed.config.privacy import labels_leave
from ecofed.errors import ConfigError, nearest
from ecofed.files.disk import holds_json, write_json
from ecofed.files.ownership import OWNER_FILE, owned
from ecofed.files.replacing import refuse_strange
from ecofed.reports.audits import GRID_FILE, PAGE_FILE, PLOT_FILE, write_audit_page
from ecofed.reports.files import AUDIT_FILE
from ecofed.results.audits import Audit, FromSums, Membership
from ecofed.runs.environment import describe_environment, git_commit

#: Images attacked, and images that a decoder is trained on, counting each time, where pictures have 32 pixels a side.
IMAGES, PASSES = 256, 8_000
#: At least so many of the latter where pictures are larger.
_FEWEST_PASSES = 1_200


def audit(
    source: str | Path | None,
    *,
    out: str | Path,
    sets: Iterable[str] = (),
    images: int = IMAGES,
    passes: int | None = None,
    attacks: Iterable[str] | None = None,
    unlike: str = "fractals",
    seed: int = 0,
    resume: bool = False,
    note: Callable[[str], None] = lambda _: None,
    command: str = "",
) -> Audit:
    """Attack what a configuration uploads; write ``audit.json``, ``report.html`` and the pictures.

    Args:
        source: a run's folder, a preset, a file of settings; ``None``: plain defaults.
        out: the folder; new or empty, or with ``resume`` one with an audit of the same.
        sets: ``key=value`` words.
        images: how many images are attacked.
        passes: images that a decoder is trained on; ``None``: 8,000, fewer where pictures are large.
        attacks: names of :data:`ecofed.auditing.steps.ATTEMPTS`, and ``weights``; ``None``: all.
            The control is always made.
        unlike: public pictures unlike the devices': ``fractals``, or a data set.
        seed: of the attacker.
        resume: keep the steps that are finished.
        note: is told what a user should know.
        command: recorded in the result.

    Raises:
        ConfigError: settings that are impossible, or a folder with something else in it.
    """
    chosen = _chosen(attacks)
    if images < SHOWN:
        raise ConfigError(f"--images {images}: at least {SHOWN}")
    began = time.monotonic()
    notes: list[str] = []

    def told(text: str) -> None:
        notes.append(text)
        note(text)

    folder = Path(out)
    with owned(folder):  # before the run is read: nothing is deleted from it while an audit is under way in its folder
        if not resume and any(entry.name != OWNER_FILE for entry in folder.iterdir()):
            raise ConfigError(f"{folder} is not empty; resume continues the audit there")
        refuse_strange(*(folder / name for name in (AUDIT_FILE, PAGE_FILE, GRID_FILE, PLOT_FILE)))
        target = target_of(source, sets, told)
        side = target.prepared.task.input_size
        passes = max(_FEWEST_PASSES, PASSES * 32 * 32 // (side * side)) if passes is None else passes
        torch.set_num_threads(target.config.threads)
        key = key_of(target, images=images, passes=passes, unlike=unlike, seed=seed)
        finished = FinishedSteps(folder / STEPS_FOLDER, key)
        bench = Workbench(target, images=images, passes=passes, unlike=unlike, seed=seed)
        originals = finished.step("originals", bench.as_they_are)  # first: devices may have fewer than were asked for
        if WEIGHTS in chosen and originals.row.images < min(BATCHES.values()):
            told(f"the attack on weights was not made: devices have {originals.row.images} images, too few for it")
        makers = _steps(bench, chosen, originals.row.images)
        steps = {name: finished.step(name, make) for name, make in makers.items()}
        rows = [each.row for each in steps.values()]
        read = finished.found("probe", Probed, partial(probed, bench))
        sums = None
        if uploads_sums(target.config.method):
            sums = finished.found("sums", FromSums, partial(from_sums, target, seed))
        found = Audit(
            ecofed_version=__version__,
            git_commit=git_commit(),
            command=command,
            seed=seed,
            method=target.config.method,
            configuration=target.configuration,
            config=target.config.to_dict(),
            data=target.prepared.dataset.title,
            front=target.front_name,
            bytes_per_image=next((row.bytes_per_image for row in rows if row.kind == "attack"), None),
            images=originals.row.images,
            rows=[row for row in rows if row.kind != "curve"],
            curve=[row for row in rows if row.kind == "curve"],
            recognised_originals=originals.row.recognised,
            membership=[
                finished.found("membership-network", Membership, partial(from_network, target, seed)),
                finished.found("membership-buffer", Membership, partial(from_buffer, target, seed)),
            ],
            labels_leave_device=labels_leave(target.config),
            sums=sums,
            probe=read.accuracy,
            device_told=read.device_told,
            device_guessed=read.device_guessed,
            facts=facts_about(target),
            notes=[*dict.fromkeys([*notes, *notes_about(target, rows, sums)])],
            accuracy=None if target.result is None else target.result.totals.final_test_accuracy,
            eye=EYE,
            seconds=sum(row.seconds for row in rows),
            environment=describe_environment(target.config.threads, "cpu"),
        )
        if not holds_json(folder / AUDIT_FILE, found.to_dict()):
            write_json(folder / AUDIT_FILE, found.to_dict())
            (folder / PAGE_FILE).unlink(missing_ok=True)
        strips = [(each.row.title, each.shown_NHWC) for each in steps.values() if each.row.kind != "curve"]
        write_audit_page(found, [("the image", originals.shown_NHWC), *strips], folder)
    note(f"audited in {time.monotonic() - began:.0f} s")
    return found


def _steps(bench: Workbench, chosen: list[str], images: int) -> dict[str, Callable[[], Finished]]:
    """By name, in the order of the table; of so many images."""
    method = bench.target.config.method
    made: dict[str, Callable[[], Finished]] = {}
    if facts_of(method).images_leave_device:
        made["as-it-arrives"] = bench.as_it_arrives
    elif uploads_images(method) or uploads_sums(method):
        made |= {each.name: partial(bench.attempt, each) for each in ATTEMPTS if each.name in chosen}
        made["jpeg-equal"] = bench.equal_jpeg
    if WEIGHTS in chosen:
        made |= {weights_name(batch): partial(bench.weights, batch) for batch in BATCHES if BATCHES[batch] <= images}
    made |= {"jpeg": bench.usual_jpeg, "class-means": bench.class_means}
    return made | {f"jpeg-{each}": partial(bench.curve, each) for each in QUALITIES}


def _chosen(names: Iterable[str] | None) -> list[str]:
    known = [*(each.name for each in ATTEMPTS), WEIGHTS]
    wanted = known if names is None else [*dict.fromkeys([*names, "control"])]
    for name in wanted:
        if name not in known:
            raise ConfigError(f"--attacks names '{name}'{nearest(name, known)}; choose from {', '.join(known)}")
    return wanted
