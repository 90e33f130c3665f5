"""A device's uploads are deleted, and the network is that of a run that never had them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from again import kept_config
from safetensors.numpy import load_file

from ecofed.activations import View
from ecofed.config.held_out import taking_part
from ecofed.errors import ConfigError, EcoFedError
from ecofed.files.ownership import owned
from ecofed.relearning import deletion, traces
from ecofed.relearning.deletion import complete, delete, records
from ecofed.relearning.forgetting import forget, read_samples
from ecofed.relearning.retraining import retrain
from ecofed.relearning.updating import update
from ecofed.reports.files import read_result, write_result
from ecofed.results import RoundRecord
from ecofed.results.scores import RunScores, Tally
from ecofed.runs.experiment import run
from ecofed.runs.kept_buffer import KEPT_FOLDER, holds_buffer, new_buffer, open_buffer
from ecofed.runs.observing import SilentObserver
from killing import Killed, killed_at
from stopping import StopAfter

GONE = 2


def assert_same_network(one: Path, other: Path) -> None:
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def without(folder: Path, device: int, **changes: Any) -> Path:
    """The folder of a run in which a device was never there."""
    trace = folder.with_suffix(".csv")
    trace.write_text(f"device,first_round,last_round\n{device},1000,1000\n", encoding="utf-8")
    run(kept_config(availability__trace=str(trace), **changes), out=folder, report=False)
    return folder


@pytest.mark.parametrize(
    "changes",
    [{}, {"ecofed__views": 2, "ecofed__refresh": "spread", "ecofed__server": "fedavg", "ecofed__buffer": "disk"}],
    ids=["defaults", "averaged backs, two views, on disk"],
)
def test_the_same_as_if_the_device_had_never_uploaded(changes: dict[str, Any], tmp_path: Path) -> None:
    never = without(tmp_path / "never", GONE, **changes)
    run(kept_config(**changes), out=tmp_path / "run", report=False)
    assert open_buffer(tmp_path / "run").digest() != open_buffer(never).digest()
    result = forget(tmp_path / "run", [GONE], out=tmp_path / "new", report=False)
    assert result is not None
    assert result.total_bytes == 0
    assert open_buffer(tmp_path / "run").digest() == open_buffer(never).digest()
    assert_same_network(tmp_path / "new", never)
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        assert_same_network(tmp_path / "new", retrained(tmp_path, never))


def retrained(tmp_path: Path, source: Path) -> Path:
    """Another network from the same buffer, to see that the comparison can tell two apart."""
    retrain(source, out=tmp_path / "other", rounds=1, report=False)
    return tmp_path / "other"


def test_samples_are_gone_as_if_the_buffer_had_never_held_them(
    collected: Path, copied: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, what = copied("run"), {1: [0, 5], 3: [7]}
    kept = open_buffer(collected)

    def rest(device: int, view: View) -> View:
        rows = np.flatnonzero(~np.isin(view.sample_N, what.get(device, [])))
        return dataclasses.replace(
            view, rows=view.rows[rows], sample_N=view.sample_N[rows], labels_N=view.labels_N[rows]
        )

    views = [(device, 0, rest(device, kept.buffer.latest(device))) for device in kept.buffer.devices]
    never = new_buffer(tmp_path / "never", dataclasses.replace(kept.origin, seen={}), views)
    result = forget(folder, samples=what, out=tmp_path / "new", report=False)
    assert result is not None
    assert open_buffer(folder).digest() == never.digest()
    retrain(tmp_path / "never", out=tmp_path / "again", order="as-uploaded", report=False)
    assert_same_network(tmp_path / "new", tmp_path / "again")
    assert open_buffer(folder).origin.forgotten == what
    assert result.data.label_counts == json.loads((folder / "result.json").read_text("utf-8"))["data"]["label_counts"]


def rows_of(folder: Path, device: int) -> list[bytes]:
    return [row.tobytes() for row in open_buffer(folder).buffer.latest(device).rows[np.arange(12)]]


def assert_gone(folder: Path, rows: list[bytes]) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [row for row in rows if row in content], path
            assert not path.name.startswith(f"{GONE}-"), path


def test_no_byte_is_left_in_the_folder_and_a_record_is(copied: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied("run")
    rows, before = rows_of(folder, GONE), open_buffer(folder).digest()
    # What a run that was killed leaves, and an attempt to write.
    (folder / "buffer").mkdir()
    (folder / "buffer" / "x.view").write_bytes(rows[0])
    (folder / "checkpoint.safetensors").write_bytes(rows[1])
    (folder / KEPT_FOLDER / f".x.{'0' * 16}.tmp").write_bytes(rows[2])
    said = StopAfter()
    forget(folder, [GONE], out=tmp_path / "new", by="A. Clerk", observer=said, report=False)
    assert_gone(folder, rows)
    assert_gone(tmp_path / "new", rows)
    assert not (folder / "model.safetensors").exists()
    result = json.loads((folder / "result.json").read_text("utf-8"))
    assert sum(result["data"]["label_counts"][GONE]) == 0
    assert sum(map(sum, result["data"]["label_counts"])) == 36
    (record,) = records(folder)
    assert (record.by, record.what, record.samples, record.before) == ("A. Clerk", [(GONE, [])], 12, before)
    assert record.after == open_buffer(folder).digest()
    assert record.searched > 0
    assert any("devices hold the front" in line for line in record.remains)
    assert any("deleted: device 2; 12 samples" in line for line in said.notes)
    # Twice is no error, and deletes nothing more.
    again = forget(folder, [GONE], out=tmp_path / "new", resume=True, report=False)
    assert again is not None
    assert records(folder) == [record]


def test_audits_and_plots_of_any_kind_go_with_the_images_that_they_show(copied: Callable[[str], Path]) -> None:
    folder = copied("run")
    gone = [
        "audit/steps/originals.safetensors",
        "audit/grid.png",
        "again/audit.json",
        "again/grid.png",
        "plots/labels.png",
        "plots/labels.svg",
        "plots/labels.pdf",
    ]
    for name in (*gone, "notes/mine.txt", "plots/mine.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"{}")
    with owned(folder / "audit"), pytest.raises(ConfigError, match="audit"):
        delete(folder, {GONE: []})
    assert GONE in open_buffer(folder).buffer.devices  # untouched
    record = delete(folder, {GONE: []})
    assert [name for name in gone if (folder / name).exists()] == []
    assert not (folder / "audit").exists()
    assert (folder / "notes" / "mine.txt").exists()
    assert (folder / "plots" / "mine.csv").exists()
    assert record is not None
    assert any("audits that were written elsewhere" in line for line in record.remains)


@pytest.mark.parametrize("devices", [[GONE, 3], [GONE]])
def test_results_on_a_devices_own_samples_go(devices: list[int], copied: Callable[[str], Path]) -> None:
    folder = copied("run")
    tally = Tally(10)
    for device in devices:
        tally.add(np.arange(device), np.arange(device), np.ones(device), np.full(device, device))
    judged, result = tally.scores(), read_result(folder)
    write_result(dataclasses.replace(result, scores=RunScores(held_out=judged, on_devices=judged)), folder)
    delete(folder, {GONE: []})
    found = read_result(folder).scores
    assert found.held_out == found.on_devices
    assert found.held_out is not None
    assert found.held_out.samples == judged.samples  # of all together
    if len(devices) == 1:
        assert found.held_out.devices is None
    else:
        assert found.held_out.devices is not None
        assert (found.held_out.devices.devices, found.held_out.devices.samples) == ([3], [3])
        assert len(found.held_out.devices.low) == 1


def test_an_audit_that_cannot_be_removed_leaves_the_deletion_to_be_completed(
    copied: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = copied("run"), tmp_path / "elsewhere"
    (elsewhere / "steps").mkdir(parents=True)
    (folder / "audit").mkdir()

    def refused(path: Path) -> None:
        raise PermissionError(13, "not allowed", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(deletion.shutil, "rmtree", refused)
        with pytest.raises(EcoFedError, match=r"audit: cannot be removed, and shows images of devices"):
            delete(folder, {GONE: []})
    assert (folder / "forgetting.json").is_file()
    (folder / "audit").rmdir()
    (folder / "audit").symlink_to(elsewhere)
    complete(folder)
    assert not (folder / "audit").is_symlink()
    assert (elsewhere / "steps").is_dir()  # what lies elsewhere is not reached, and is said to remain


def test_a_copy_that_somebody_made_there_is_found(copied: Callable[[str], Path]) -> None:
    folder = copied("run")
    (folder / "notes").mkdir()
    (folder / "notes" / "copy.bin").write_bytes(b"..." + rows_of(folder, GONE)[3])
    with pytest.raises(EcoFedError, match=r"copy\.bin: holds bytes of what was to be deleted; remove it, and repeat"):
        delete(folder, {GONE: []})
    with pytest.raises(ConfigError, match=r"a deletion was interrupted; 'ecofed forget .*--resume' completes it"):
        open_buffer(folder)
    for again in (lambda: complete(folder), lambda: delete(folder, {GONE: []})):  # the buffer does not hold it any more
        with pytest.raises(EcoFedError, match=r"copy\.bin: holds bytes of what was to be deleted"):
            again()
    (folder / "notes" / "copy.bin").unlink()
    record = complete(folder)
    assert record is not None
    assert record.searched > 0
    assert open_buffer(folder).buffer.devices == [0, 1, 3]
    assert "probes" not in (folder / "forgotten.json").read_text("utf-8")


def test_what_is_searched_for_lies_encrypted_where_the_buffer_does(
    copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = open_buffer(copied("run"))
    probes = traces.probes_of(kept, {GONE: []})
    assert traces.read(traces.written(probes, kept), kept) == probes
    monkeypatch.setenv("ECOFED_BUFFER_KEY", "0f" * 32)
    sealed = dataclasses.replace(kept.config, encrypt_buffer=True)
    kept.origin = dataclasses.replace(kept.origin, task=dataclasses.replace(kept.origin.task, config=sealed))
    written = traces.written(probes, kept)
    assert not [text for text in written for probe in probes if probe.hex() in text]
    assert traces.read(written, kept) == probes


@pytest.mark.parametrize("probes", [["xyz"], [1], "00"])
def test_a_deletion_whose_probes_are_damaged_is_not_completed(copied: Callable[[str], Path], probes: object) -> None:
    folder = copied("run")
    (folder / "notes").write_bytes(rows_of(folder, GONE)[0])
    with pytest.raises(EcoFedError, match="holds bytes of what was to be deleted"):
        delete(folder, {GONE: []})
    values = json.loads((folder / "forgetting.json").read_text("utf-8"))
    (folder / "forgetting.json").write_text(json.dumps(values | {"probes": probes}), encoding="utf-8")
    with pytest.raises(EcoFedError, match=r"forgetting\.json: damaged .*; it says which deletion is under way"):
        complete(folder)


def test_an_interrupted_deletion_is_completed_without_a_folder_for_a_network(copied: Callable[[str], Path]) -> None:
    folder = copied("run")
    delete(folder, {0: [], 1: []})
    assert forget(folder, [GONE, 3], resume=True, report=False) is None
    delete(copied("other"), {GONE: []})
    assert forget(folder.with_name("other"), [GONE], resume=True, report=False) is not None


def test_a_result_that_cannot_be_read_is_in_the_record(copied: Callable[[str], Path]) -> None:
    folder = copied("run")
    (folder / "result.json").write_text("{", encoding="utf-8")
    record = delete(folder, {GONE: []})
    assert record is not None
    assert record.remains[-1].startswith("result.json may say how many of which label they had: ")
    assert records(folder) == [record]
    assert GONE not in open_buffer(folder).buffer.devices


def test_a_network_that_had_learned_from_them_is_not_taken_for_the_new_one(
    copied: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copied("run")
    retrain(folder, out=tmp_path / "new", order="as-uploaded", report=False)
    with pytest.raises(ConfigError, match=r"has changed since: kept buffer \("):
        forget(folder, [GONE], out=tmp_path / "new", resume=True, report=False)
    assert open_buffer(folder).buffer.devices == [0, 1, 3]
    assert forget(folder, [GONE], out=tmp_path / "newer", resume=True, report=False) is not None


def test_what_cannot_be_forgotten(copied: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied("run")
    with pytest.raises(ConfigError, match="device 9 has nothing in the buffer"):
        forget(folder, [9], out=tmp_path / "new")
    with pytest.raises(ConfigError, match="device 1 has no sample 12 in the buffer"):
        forget(folder, samples={1: [12]}, out=tmp_path / "new")
    with pytest.raises(ConfigError, match="nothing to forget"):
        forget(folder, out=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert records(folder) == []
    assert (folder / "model.safetensors").exists()


@pytest.mark.usefixtures("often_saved")
@pytest.mark.parametrize("buffer", ["memory", "disk"])
def test_a_run_that_has_not_finished_is_left_as_it_is(buffer: str, tmp_path: Path) -> None:
    config, folder = kept_config(ecofed__buffer=buffer), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(config, out=folder, observer=StopAfter(3), report=False)

    def content() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = content()
    assert "checkpoint.safetensors" in before
    for resume in (False, True):
        with pytest.raises(ConfigError, match=r"has not finished, and nothing was deleted.*continue it with --resume"):
            forget(folder, [GONE], out=tmp_path / "new", resume=resume)
    assert content() == before
    assert not (tmp_path / "new").exists()
    run(config, out=folder, resume=True, report=False)
    forget(folder, [GONE], out=tmp_path / "new", report=False)
    never = without(tmp_path / "never", GONE, ecofed__buffer=buffer)
    assert open_buffer(folder).digest() == open_buffer(never).digest()
    assert_same_network(tmp_path / "new", never)


def test_everything_may_go(copied: Callable[[str], Path]) -> None:
    folder = copied("run")
    assert forget(folder, range(4)) is None
    assert len(open_buffer(folder).buffer) == 0
    with pytest.raises(EcoFedError, match="nothing to learn from"):
        retrain(folder)


@pytest.mark.ci
def test_samples_are_named_by_their_numbers_on_the_device(tmp_path: Path) -> None:
    """It does not number those that it holds out, for the server."""
    changes: dict[str, Any] = {"validation__fraction": 0.4, "validation__on_devices": True, "delivery": "int8"}
    config = kept_config(**changes, sampled_devices=4, rounds=1)
    run(config, out=tmp_path / "run", report=False)
    own_N = taking_part(config, 1, 12)
    held = next(number for number in range(12) if number not in own_N)
    assert held < own_N[-1]
    for number in (held, 12):
        with pytest.raises(ConfigError, match=f"device 1 has no sample {number} in .*; what it held out"):
            forget(tmp_path / "run", samples={1: [number]}, out=tmp_path / "new", report=False)
    before = open_buffer(tmp_path / "run").buffer.latest(1)
    forget(tmp_path / "run", samples={1: [int(own_N[-1])]}, out=tmp_path / "new", report=False)
    after = open_buffer(tmp_path / "run").buffer.latest(1)
    assert set(before.sample_N) - set(after.sample_N) == {len(own_N) - 1}


def test_of_devices_that_tell_counts_no_single_sample_is_known(tmp_path: Path) -> None:
    run(kept_config(privacy__labels="counts", rounds=1), out=tmp_path / "run", report=False)
    device = open_buffer(tmp_path / "run").buffer.devices[0]
    with pytest.raises(ConfigError, match="nobody knows which upload is of which sample"):
        forget(tmp_path / "run", samples={device: [3]}, out=tmp_path / "new", report=False)
    assert forget(tmp_path / "run", [device], out=tmp_path / "new", report=False) is not None


def test_lists_of_samples(tmp_path: Path) -> None:
    path = tmp_path / "samples.txt"
    path.write_text("7:1\n\n 7:12\n9:0\n", encoding="utf-8")
    assert read_samples(path) == {7: [1, 12], 9: [0]}
    path.write_text("7:1\n7-2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2 must be DEVICE:SAMPLE"):
        read_samples(path)


@pytest.mark.ci
def test_killed_at_any_moment_it_is_untouched_or_completed(
    copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    selection: dict[int, list[int]] = {GONE: [], 3: [1, 4]}
    monkeypatch.setattr(deletion, "_user", lambda: "somebody")
    whole = copied("whole")
    before = open_buffer(whole).digest()
    gone = [
        view.rows[np.array([row])].tobytes()
        for device, samples in selection.items()
        for view in [open_buffer(whole).buffer.latest(device)]
        for row in range(12)
        if not samples or view.sample_N[row] in samples
    ]
    with killed_at(1000, monkeypatch) as done:
        delete(whole, selection)
    steps, after = len(done), open_buffer(whole).digest()
    assert steps > 15
    ends = set()
    for step in range(steps):
        folder = copied(f"killed-{step}")
        with killed_at(step, monkeypatch), pytest.raises(Killed):
            delete(folder, selection)
        if (folder / "forgetting.json").exists():
            with pytest.raises(ConfigError, match="a deletion was interrupted"):
                open_buffer(folder)
            complete(folder)
            ends.add("completed")
        elif records(folder):
            ends.add("done")
        else:
            assert open_buffer(folder).digest() == before
            assert (folder / "model.safetensors").exists()
            ends.add("untouched")
            continue
        assert open_buffer(folder).digest() == after
        assert len(records(folder)) == 1
        for path in folder.rglob("*"):
            assert path.is_dir() or not [row for row in gone if row in path.read_bytes()], path
        assert not (folder / "model.safetensors").exists()
        assert holds_buffer(folder)
    assert ends >= {"untouched", "completed"}


@pytest.mark.parametrize("learn", [retrain, update])
def test_who_learns_meanwhile_from_what_is_deleted_ends_without_a_result(
    learn: Callable[..., object], collected: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "run", tmp_path / "other"
    shutil.copytree(collected, folder)

    class Deletes(SilentObserver):
        def round_finished(self, record: RoundRecord, total_rounds: int) -> None:  # noqa: ARG002
            if record.round == 1:
                delete(folder, {GONE: []})

    with pytest.raises(EcoFedError, match=r"uploads were deleted from it .* no result is written; delete the folder"):
        learn(folder, out=out, observer=Deletes(), report=False)
    assert not [name for name in ("model.safetensors", "result.json", KEPT_FOLDER) if (out / name).exists()]
    learn(folder, out=tmp_path / "anew", report=False)


def test_a_run_that_is_moved_while_it_is_learned_from_is_none_that_was_deleted_from(
    collected: Path, tmp_path: Path
) -> None:
    shutil.copytree(collected, tmp_path / "run")
    kept = open_buffer(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    kept.check_kept()
    assert open_buffer(tmp_path / "elsewhere").digest() == open_buffer(collected).digest()
