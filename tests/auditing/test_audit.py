"""A whole audit, small: it finds what is there, nothing where nothing is, and makes no step twice."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attacked import WORDS, small_config

from ecofed.auditing import audit as audit_module
from ecofed.auditing import eye, through_front, weights
from ecofed.auditing.audit import audit
from ecofed.auditing.facts import facts_about, notes_about
from ecofed.auditing.finished import key_of
from ecofed.auditing.steps import Workbench
from ecofed.auditing.target import target_of
from ecofed.cli import main
from ecofed.errors import CheckpointError, ConfigError, EcoFedError, InUseError
from ecofed.files.ownership import owned, refuse_if_owned
from ecofed.relearning.deletion import delete
from ecofed.reports.audits import GRID_FILE, PAGE_FILE, PLOT_FILE, headline, read_audit
from ecofed.reports.files import AUDIT_FILE, AUDIT_FOLDER, read_result, write_result
from ecofed.reports.plots import style
from ecofed.reports.tables import LEAKAGE, table_texts
from ecofed.results.audits import Audit, Leak
from ecofed.runs.experiment import run
from ecofed.runs.kept_buffer import open_buffer
from ecofed.runs.run_folder import clear
from slowly import quick as quick_of

pytestmark = pytest.mark.ci

ATTACKS = ("black-box-128", "white-box", "weights")


def made(folder: Path, **changes: Any) -> Audit:
    folder.mkdir(exist_ok=True)
    settings: dict[str, Any] = {"sets": WORDS, "images": 32, "passes": 0, "attacks": ATTACKS}
    return audit(None, out=folder, **settings | changes)


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    """Pictures are looked at as they are, and through the front only briefly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eye, "LEAST_SIDE", 32)
        patch.setattr(through_front, "STEPS", 8)
        patch.setattr(weights, "STEPS", 5)
        patch.setattr(audit_module, "QUALITIES", (10, 90))
        patch.setattr(style, "PNG_DPI", 50)
        yield


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished audit; not to be changed."""
    folder = tmp_path_factory.mktemp("audited") / "audit"
    made(folder)
    return folder


def test_an_early_activation_gives_the_image_away_and_a_shuffled_one_does_not(audited: Path) -> None:
    found = read_audit(audited)
    rows = {row.name: row for row in found.rows}
    assert [row.kind for row in found.rows] == [
        "attack",
        "attack",
        "control",
        "reference",
        *["weights"] * 3,
        *["reference"] * 2,
    ]
    for name in ATTACKS[:2]:
        assert rows[name].ssim is not None
        assert rows[name].ssim > 0.6, name
        assert rows[name].reidentified == 1, name
    assert rows["control"].reidentified is not None
    assert rows["control"].reidentified <= 6 / 32  # two ways, one hit in 32 each by chance
    assert rows["control"].ssim < 0.4  # type: ignore[operator]
    assert rows["jpeg"].ssim > 0.95  # type: ignore[operator]
    assert found.worst in found.attacks
    assert found.labels_leave_device
    assert found.probe is not None
    assert 0.5 < found.probe < 1
    assert not found.notes
    assert "the label read off it in 4 of 4 cases" in rows["weights"].how
    assert [(each.of, each.available) for each in found.membership] == [("network", False), ("buffer", False)]
    assert [row.name for row in found.curve] == ["jpeg-10", "jpeg-90"]
    assert found.curve[0].ssim < found.curve[1].ssim  # type: ignore[operator]


def test_the_page_needs_nothing_else(audited: Path) -> None:
    page = (audited / PAGE_FILE).read_text(encoding="utf-8")
    assert page.count("src='data:image/png;base64,") == 2
    assert "not LPIPS" in page
    assert all((audited / name).stat().st_size > 1000 for name in (GRID_FILE, PLOT_FILE))


def test_no_step_is_made_twice(audited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a kill: one step is missing, and that one is made again, to the same figures."""
    folder = Path(shutil.copytree(audited, tmp_path / "audit"))
    before = json.loads((folder / AUDIT_FILE).read_text())
    (folder / "steps" / "control.safetensors").unlink()
    (folder / AUDIT_FILE).unlink()
    attempted = []
    attempt = Workbench.attempt
    monkeypatch.setattr(Workbench, "attempt", lambda self, one: (attempted.append(one.name), attempt(self, one))[1])
    made(folder, resume=True)
    assert attempted == ["control"]
    after = json.loads((folder / AUDIT_FILE).read_text())
    for values in (before, after):
        values.pop("seconds")
        for row in values["rows"]:
            row.pop("seconds")
    assert after == before


def test_a_folder_of_another_audit_or_a_damaged_step_is_refused(audited: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not empty"):
        made(audited)
    with pytest.raises(CheckpointError, match="of an audit with other settings"):
        made(audited, resume=True, seed=1)
    folder = Path(shutil.copytree(audited, tmp_path / "audit"))
    step = folder / "steps" / "jpeg.safetensors"
    content = bytearray(step.read_bytes())
    content[-1] ^= 1
    step.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"jpeg\.safetensors: damaged"):
        made(folder, resume=True)


def test_a_run_that_was_changed_meanwhile_is_another(tmp_path: Path) -> None:
    run(small_config(rounds=1, keep_buffer=True), out=tmp_path / "run", report=False)
    target = target_of(tmp_path / "run", (), lambda _: None)
    key = key_of(target, seed=0)
    assert key_of(target_of(tmp_path / "run", (), lambda _: None), seed=0) == key
    delete(tmp_path / "run", {open_buffer(tmp_path / "run").buffer.devices[0]: []})
    assert key_of(target_of(tmp_path / "run", (), lambda _: None), seed=0) != key


def test_an_audit_without_an_attack_says_so(audited: Path) -> None:
    found = read_audit(audited)
    control = dataclasses.replace(found, rows=[row for row in found.rows if row.kind != "attack"])
    assert headline(control) == "ecofed: no attack on its uploads was asked for (--attacks), only the control"
    nothing = dataclasses.replace(found, rows=[row for row in control.rows if row.kind != "control"])
    assert headline(nothing) == "ecofed: no upload is about a single image"


@pytest.mark.parametrize("name", [AUDIT_FILE, PAGE_FILE])
def test_a_file_of_the_users_own_is_not_replaced(name: str, audited: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(audited, tmp_path / "audit"))
    (folder / name).write_text("mine")
    with pytest.raises(ConfigError, match=rf"{name} is not a file that ecofed wrote; move it"):
        made(folder, resume=True)
    assert (folder / name).read_text() == "mine"


def test_an_edited_file_is_refused(audited: Path, tmp_path: Path) -> None:
    values = json.loads((audited / AUDIT_FILE).read_text())
    values["rows"][0]["ssim"] = 7
    (tmp_path / AUDIT_FILE).write_text(json.dumps(values))
    with pytest.raises(EcoFedError, match=r"'rows\[0\]\.ssim'"):
        read_audit(tmp_path)


def test_a_control_that_succeeds_is_told() -> None:
    target: Any = SimpleNamespace(config=small_config(), prepared=SimpleNamespace(early=(None,)))
    control = Leak(name="control", title="control", kind="control", reidentified=0.5, images=32)
    assert "not to be trusted" in notes_about(target, [control])[0]
    assert not notes_about(target, [dataclasses.replace(control, reidentified=2 / 32)])


def test_what_is_said_of_labels_is_what_the_devices_send() -> None:
    prepared = SimpleNamespace(parts=[range(24)], early=(None,))
    plain: Any = SimpleNamespace(config=small_config(), prepared=prepared)
    assert facts_about(plain)[0].startswith("Labels leave the device, one for each image")
    noisy: Any = SimpleNamespace(config=small_config(privacy__label_epsilon=2.0), prepared=prepared)
    assert facts_about(noisy)[0].startswith("Labels leave the device randomised (privacy.label_epsilon=2)")
    assert any(line.startswith("privacy: epsilon 2 for each label") for line in facts_about(noisy))


def test_sums_over_one_image_are_attacked_as_that_image(tmp_path: Path) -> None:
    found = made(tmp_path / "audit", sets=[*WORDS, "method=closed-form"], images=12, attacks=("white-box",))
    assert [row.name for row in found.attacks] == ["white-box"]
    assert found.attacks[0].reidentified == 1
    assert found.sums is not None
    assert found.sums.took_part[0].auc == 1
    assert found.probe is None
    assert "of which a device has one image" in found.notes[0]
    page = (tmp_path / "audit" / PAGE_FILE).read_text(encoding="utf-8")
    assert "Control, which must be at chance" in page
    assert read_audit(tmp_path / "audit") == found


def test_devices_with_few_images_are_attacked_as_far_as_they_go(tmp_path: Path) -> None:
    few = [*WORDS, "devices=2", "data.samples_per_device={}", "data.partition=iid"]
    two, ten = (
        made(tmp_path / str(count), sets=[word.format(count) for word in few], images=32, attacks=("weights",))
        for count in (1, 5)
    )
    assert (two.images, ten.images) == (2, 10)
    assert [row.name for row in two.rows if row.kind == "weights"] == []
    assert two.notes == ["the attack on weights was not made: devices have 2 images, too few for it"]
    assert [row.name for row in ten.rows if row.kind == "weights"] == ["weights", "weights-4"]


@pytest.mark.parametrize("method", quick_of(["send-images", "classic-fl"], "send-images"))
def test_methods_whose_uploads_need_no_decoder(method: str, tmp_path: Path) -> None:
    found = made(tmp_path / "audit", sets=[*WORDS, f"method={method}"], images=12)
    attacks = [row.name for row in found.attacks]
    if method == "send-images":
        assert attacks == ["as-it-arrives"]
        assert found.attacks[0].ssim > 0.9  # type: ignore[operator]
        assert found.labels_leave_device
    else:
        assert attacks == []
        assert "not inverted image by image" in found.notes[0]
        assert not found.labels_leave_device


def test_tables_of_runs_show_what_an_audit_found(audited: Path, tmp_path: Path) -> None:
    whole = run(small_config(rounds=1), report=False)
    write_result(whole, tmp_path)
    assert LEAKAGE not in table_texts(read_result(tmp_path))[0]
    shutil.copytree(audited, tmp_path / AUDIT_FOLDER)
    found = read_result(tmp_path)
    worst = read_audit(audited).worst
    assert worst is not None
    assert found.leakage is not None
    assert found.leakage.ssim == worst.ssim
    header, body, _ = table_texts(found)
    assert body[0][header.index(LEAKAGE)] == f"{worst.ssim:.2f}"
    assert found == whole
    assert "leakage" not in found.to_dict()
    clear(tmp_path)
    assert not (tmp_path / AUDIT_FOLDER).exists()


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Runs ``ecofed audit WORDS...``, which must end with ``code``; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def command(*words: object, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["ecofed", "audit", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        assert stop.value.code == code, captured.err
        return captured.out if code == 0 else captured.err

    return command


def test_the_command_shows_a_finished_audit(cli: Callable[..., str], audited: Path) -> None:
    words = [word for each in WORDS for word in ("--set", each)]
    words += ["--images", "32", "--passes", "0", "--attacks", ",".join(ATTACKS), "--out", str(audited), "--resume"]
    shown = cli(*words)
    assert "control: uploads of other images" in shown
    assert "Labels leave the device" in shown
    assert json.loads(cli(*words, "--json"))["rows"][0]["name"] == "black-box-128"


def test_what_cannot_be_audited(cli: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "several").mkdir()
    (tmp_path / "several" / "summary.json").write_text("{}")
    assert "is a comparison" in cli("several", "--out", "new", code=2)
    assert "--attacks names 'x'" in cli("--attacks", "x", "--out", "other", code=2)


def test_an_audit_has_its_folder_before_it_reads_the_run_that_uploads_may_be_deleted_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    run(small_config(), out=folder, report=False)

    def read(*_: object) -> None:
        refuse_if_owned(folder / AUDIT_FOLDER)

    with owned(folder), pytest.raises(InUseError, match="run is in use"):
        audit(folder, out=folder / AUDIT_FOLDER)
    monkeypatch.setattr(audit_module, "target_of", read)
    with pytest.raises(InUseError, match="audit is in use"):
        audit(folder, out=folder / AUDIT_FOLDER)
