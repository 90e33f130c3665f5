"""The report's part about the trained network: intervals, classes, confusions, calibration."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ecofed.errors import EcoFedError
from ecofed.reports.files import read_result, write_result
from ecofed.reports.html import report_html
from ecofed.reports.trained import trained_networks
from ecofed.results import Comparison, RunResult
from ecofed.results.scores import RunScores, interval, spread_among

Make = Callable[..., RunResult]
Answers = Callable[..., RunScores]


def test_an_accuracy_stands_with_its_interval_and_classes(make: Make, of_answers: Answers) -> None:
    runs = [make("classic-fl", scores=of_answers(0.5)), make(scores=of_answers(0.8))]
    page = trained_networks(Comparison(results=runs))
    low, high = interval(160, 200)
    assert f"{low:.3f} to {high:.3f}" in page
    assert page.count("class='confusion'") == 2
    assert page.count(">Ankle boot<") == 5  # by class, and a row and a column of each matrix
    # 4 of 20 sandals are taken for shirts: a fifth of the row.
    assert "var(--accent) 20%, transparent)'>4<" in page
    assert "<td class='strong' style='background: color-mix(in srgb, var(--accent) 80%, transparent)'>16<" in page
    assert trained_networks(Comparison(results=runs)) in report_html(Comparison(results=runs), [])


def test_counts_of_several_seeds_are_added_up(make: Make, of_answers: Answers) -> None:
    runs = [make(seed=seed, scores=of_answers(right)) for seed, right in ((0, 0.8), (1, 0.6))]
    page = trained_networks(Comparison(results=runs))
    assert ">28<" in page
    assert "0.700" in page
    assert "{:.3f} to {:.3f}".format(*interval(140, 200)) in page


def test_seeds_that_hold_out_more_and_fewer_images(make: Make, of_answers: Answers) -> None:
    """The interval is that of the accuracy beside it, for as many images as a seed has in the mean."""
    devices = [spread_among(dict.fromkeys(range(count), (10, 8))) for count in (3, 5)]
    found = [of_answers(*answers).test for answers in ((0.8, 10, 5), (1.0, 10, 25))]
    held_out = [replace(one, devices=own) for one, own in zip(found, devices, strict=True) if one is not None]
    runs = [make(seed=seed, scores=RunScores(held_out=one)) for seed, one in enumerate(held_out)]
    page = trained_networks(Comparison(results=runs))
    low, high = interval(0.9 * 150, 150)
    cells = ["samples held out of uploads", "50 to 250", "0.900", f"{low:.3f} to {high:.3f}"]
    assert "".join(f"<td>{cell}</td>" for cell in cells) in page
    assert "<td>3 to 5</td><td>10</td>" in page
    assert page.count("<td>5 to 25</td>") == 10


def test_the_spread_among_devices(make: Make, of_answers: Answers) -> None:
    devices = spread_among({number: (10, right) for number, right in enumerate([0, 5, *[8] * 17, 10])})
    assert devices is not None
    assert (devices.worst_tenth, devices.quantiles["0.5"], devices.mean) == (0.25, 0.8, pytest.approx(0.755))
    assert spread_among({3: (0, 0)}) is None
    scores = of_answers(0.8).test
    assert scores is not None
    both = RunScores(test=scores, held_out=replace(scores, devices=devices))
    page = trained_networks(Comparison(results=[make(scores=both)]))
    cells = ["samples held out of uploads", "20", "10", "0.000", "0.770", "0.800", "0.800", "0.800", "0.800", "1.000"]
    assert "".join(f"<td>{cell}</td>" for cell in [*cells, "0.250"]) in page
    assert page.count("samples held out of uploads") == 2
    assert page.count("class='confusion'") == 1
    assert page.count("<circle") == 20
    assert "<title>device 1: 0.500 of 10 images, 95 % interval 0.24 to 0.76</title>" in page
    worst = "<tr><th scope='row'>0</th><td>10</td><td>0.000</td><td>0.000 to 0.278</td></tr>"
    assert f"<tbody>{worst}" in page
    assert RunScores(held_out=replace(scores, devices=replace(devices, right=[1]))).fits(10) is False


def test_of_many_classes_the_worst_and_the_commonest_confusions(make: Make, of_answers: Answers) -> None:
    names = [f"class {number}" for number in range(30)]
    page = trained_networks(Comparison(results=[make(classes=names, scores=of_answers(0.5, 30))]))
    assert "class='confusion'" not in page
    assert "The 20 worst of 30" in page
    assert "taken for" in page
    assert ">class 25<" not in page


def test_results_of_earlier_versions_have_none_of_it(make: Make, tmp_path: Path) -> None:
    file = write_result(make(), tmp_path)
    values = json.loads(file.read_text())
    del values["scores"]
    file.write_text(json.dumps(values))
    assert read_result(file) == make()
    assert "The trained network" not in report_html(read_result(file), [])


def test_scores_survive_the_disk_and_must_fit_the_classes(make: Make, of_answers: Answers, tmp_path: Path) -> None:
    result = make(scores=of_answers(0.8))
    assert read_result(write_result(result, tmp_path)) == result
    write_result(replace(result, scores=of_answers(0.8, 9)), tmp_path)
    with pytest.raises(EcoFedError, match=r"'scores' must have an entry for each of 'data.classes'"):
        read_result(tmp_path)
