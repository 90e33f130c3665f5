import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecofed.config import PAPER_METHODS
from ecofed.errors import MissingExtraError
from ecofed.reports import theme
from ecofed.reports.curves import bytes_to_reach, curve, points
from ecofed.reports.plots import draw_plots, write_plots
from ecofed.results import Comparison, RunResult

Make = Callable[..., RunResult]


def test_points_skip_rounds_without_evaluation_but_count_their_bytes(make: Make) -> None:
    result = make(rounds=20, every=4)
    evaluated = points(result, "bytes")
    assert list(evaluated) == [4, 8, 12, 16, 17, 18, 19, 20]
    assert evaluated[4][0] == sum(r.uplink_bytes + r.downlink_bytes for r in result.rounds[:4])
    assert evaluated[20][0] == result.total_bytes
    assert points(result, "seconds") == {}


def test_a_curve_over_seeds_is_their_mean_and_range(three_seeds: Comparison) -> None:
    group = three_seeds.groups()[1]
    one = curve(group, "round")
    fifth = [result.rounds[4].test_accuracy for result in group.results]
    assert one.x == list(range(1, 21))
    assert one.mean[4] == pytest.approx(np.mean(fifth))
    assert (one.low[4], one.high[4]) == (min(fifth), max(fifth))


def test_bytes_to_reach(make: Make) -> None:
    result = make()
    first = next(r.round for r in result.rounds if r.test_accuracy is not None and r.test_accuracy >= 0.7)
    assert bytes_to_reach(result, 0.7) == points(result, "bytes")[first][0]
    assert bytes_to_reach(result, 0.99) is None


def test_png_files_are_sharp_and_not_blank(five_methods: Comparison, tmp_path: Path) -> None:
    files = write_plots(five_methods, tmp_path)
    assert [file.stem for file in files] == ["accuracy-bytes", "accuracy-rounds", "bytes-by-kind", "label-partition"]
    for file in files:
        with Image.open(file) as image:
            assert image.width >= 1200
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50


def test_each_method_has_its_colour_in_every_plot(five_methods: Comparison) -> None:
    for plot in draw_plots(five_methods)[:3]:
        assert all(theme.css_name(colour) in plot.svg for colour in map(theme.METHOD_COLOURS.get, PAPER_METHODS))


def test_plots_are_the_same_each_time(make: Make) -> None:
    result = make(rounds=3, devices=4, sampled=2)
    assert draw_plots(result) == draw_plots(result)


@pytest.mark.parametrize("devices", [1, 4, 30, 100])
@pytest.mark.parametrize("classes", [2, 100])
def test_label_maps_of_any_size(make: Make, devices: int, classes: int) -> None:
    result = make(rounds=2, devices=devices, sampled=1, classes=[f"class {index}" for index in range(classes)])
    plots = {plot.name: plot for plot in draw_plots(result)}
    with Image.open(io.BytesIO(plots["label-partition"].png)) as image:
        assert image.height < 1400
    assert plots["label-partition"].svg.count("class ") <= 25


def test_extreme_runs_still_draw(make: Make) -> None:
    one_round = make(rounds=1, devices=1, sampled=1)
    assert len(draw_plots(one_round)) == 4
    free = make(rounds=2)
    silent = [
        RunResult.from_dict(
            {**free.to_dict(), "rounds": [{**record.to_dict(), "uplink_bytes": 0, "downlink_bytes": 0}], "ledger": {}}
        )
        for record in free.rounds[:1]
    ]
    assert [plot.name for plot in draw_plots(silent[0])] == ["accuracy-rounds", "label-partition"]
    many = Comparison(results=[make(rounds=3, ecofed__period=period) for period in range(1, 9)])
    assert "period=8" in draw_plots(many)[0].svg


def test_hostile_class_names_are_only_text(make: Make) -> None:
    hostile = ["<script>alert(1)</script>", "$\\frac{1}{", "猫", "x" * 500, "tab\tnew\nline\x00", "]]>&amp;", "%s{}"]
    svg = draw_plots(make(rounds=2, classes=hostile))[-1].svg
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg
    assert "\x00" not in svg
    assert "x" * 30 not in svg


def test_matplotlib_is_imported_only_to_draw(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    check = "import sys, ecofed.reports; assert not {'matplotlib', 'pandas', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"drawing plots needs .*'matplotlib': .*install .*\[train\]'"):
        draw_plots(make())
