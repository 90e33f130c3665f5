"""Test images in a page: only where they were asked for, with what the networks really say."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ecofed
from ecofed.cli import main
from ecofed.config import Settings
from ecofed.data import load_dataset, mixed_order, require_test
from ecofed.errors import DataError
from ecofed.files.disk import write_json
from ecofed.reports.files import write_result
from ecofed.reports.frontiers import Frontier, Point
from ecofed.reports.html import report_html
from ecofed.reports.joining import load, run_folders
from ecofed.reports.photographs import Answer, Photograph, gallery
from ecofed.results import Comparison, RunResult
from ecofed.runs.photographs import photographs
from ecofed.runs.saved_model import load_model

TINY = [
    *("data.name=digits", "data.samples_per_device=20", "model.name=lenet", "model.width=0.5", "devices=4"),
    *("sampled_devices=2", "batch_size=8", "rounds=1", "test_samples=60", "front.name=random"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods, trained a round."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for method in ("classic-fl", "ecofed"):
            ecofed.run(Settings.load(None, TINY).for_method(method), out=folder / method, report=False)
    return folder


def test_answers_are_those_of_the_trained_networks(runs: Path) -> None:
    shown = photographs([(name, runs / name) for name in ("classic-fl", "ecofed")], 9)
    test = require_test(load_dataset("digits"))
    first = mixed_order(len(test))[:9]
    assert [one.truth for one in shown] == [str(label) for label in test.labels_N[first]]
    with Image.open(io.BytesIO(shown[3].png)) as picture:
        assert (np.asarray(picture)[:8, :8] == np.asarray(test.images_NHWC[first[3]])[:8, :8, 0]).all()
    logits_NK = load_model(runs / "ecofed").logits(np.asarray(test.images_NHWC[mixed_order(len(test))[:100]]))
    said = [answer for one in shown for answer in one.answers if answer.label == "ecofed"]
    assert [answer.said for answer in said] == [str(int(at)) for at in logits_NK[:9].argmax(dim=1)]
    assert [answer.right for answer in said] == [
        answer.said == one.truth for answer, one in zip(said, shown, strict=True)
    ]
    assert said[0].probability == pytest.approx(float(logits_NK[0].softmax(dim=0).max()), abs=1e-5)


def test_the_page_has_them_where_they_were_asked_for(runs: Path) -> None:
    result = load(runs)
    assert run_folders(runs) == [runs / "classic-fl", runs / "ecofed"]
    shown = photographs([("ecofed", runs / "ecofed")], 3)
    page = report_html(result, [], shown=shown)
    assert len(re.findall(r"<img src='data:image/png;base64,[\w+/=]+' alt='a test image of class \d'>", page)) == 3
    assert "<img" not in report_html(result, [])


def test_each_answer_is_of_the_run_that_it_names(runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a sweep, too, whose points have an order of their own."""
    asked: list[list[tuple[str, Path]]] = []
    monkeypatch.setattr("ecofed.runs.photographs.photographs", lambda networks, _: asked.append(networks) or [])
    both = load(runs)
    points = [
        Point(
            label=name,
            method=name,
            final_test_accuracy=0.5,
            total_bytes=10,
            bytes_per_device=1.0,
            uplink_bytes_per_device=1.0,
            images_leave_device=False,
            result=f"{name}/result.json",
        )
        for name in ("ecofed", "classic-fl")
    ]
    made = Frontier(points=points, raw_image_bytes_per_device=9.0, compressed_image_bytes_per_device=None, notes=[])
    write_json(tmp_path / "sweep" / "frontier.json", made.to_dict())
    assert isinstance(both, Comparison)
    for result in both.results:
        write_result(result, tmp_path / "sweep" / result.method)
    for place, order in ((runs, ["classic-fl", "ecofed"]), (tmp_path / "sweep", ["ecofed", "classic-fl"])):
        monkeypatch.setattr(
            "sys.argv", ["ecofed", "report", str(place), "--out", str(tmp_path / "out"), "--photographs", "3"]
        )
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 0
        assert asked.pop() == [(name, place / name) for name in order]
    assert run_folders(runs / "ecofed" / "result.json") == [runs / "ecofed"]


def test_networks_of_other_data_are_refused(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = load_model(runs / "ecofed")
    other = load_model(runs / "classic-fl")
    changed = network.task.config.replace(data__name="mnist")
    monkeypatch.setattr(network, "task", type(network.task)(**(vars(network.task) | {"config": changed})))
    found = iter([other, network])
    monkeypatch.setattr("ecofed.runs.photographs.load_model", lambda _: next(found))
    with pytest.raises(DataError, match=r"different data \(digits, mnist\)"):
        photographs([("a", tmp_path), ("b", tmp_path)], 3)


def test_names_in_the_gallery_are_text(make: Callable[..., RunResult]) -> None:
    evil = "<img src=x onerror='alert(1)'>"
    answers = [Answer(label=evil, said=evil, probability=0.5, right=False)] * 2
    text = gallery([Photograph(png=b"png", truth=evil, answers=answers)])
    assert text.count("<img") == 1
    assert "onerror='" not in text
    assert gallery([]) == ""
    assert "&lt;img src=x" in report_html(make(rounds=2), [], shown=[Photograph(png=b"p", truth=evil, answers=answers)])
