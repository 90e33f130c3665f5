import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecofed.config.methods import PAPER_METHODS
from ecofed.errors import MissingExtraError
from ecofed.reports import plots, theme
from ecofed.reports.curves import bytes_to_reach, curve, points
from ecofed.reports.plots import DRAWERS, Plot, draw_plots, save_plots, write_plots
from ecofed.results import Comparison, RunGroup, RunResult
from slowly import quick

Make = Callable[..., RunResult]
pytestmark = pytest.mark.plots


@pytest.fixture(scope="module")
def drawn(five_methods: Comparison) -> list[Plot]:
    """The plots of five methods, drawn once."""
    return draw_plots(five_methods)


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


def test_a_curve_is_over_the_rounds_that_every_seed_was_tested_in(make: Make) -> None:
    results = [make(every=4), make(every=5, seed=1)]
    one = curve(RunGroup(label="ecofed", method="ecofed", results=results), "round")
    assert one.x == [16, 17, 18, 19, 20]


def test_bytes_to_reach(make: Make) -> None:
    result = make()
    first = next(r.round for r in result.rounds if r.test_accuracy is not None and r.test_accuracy >= 0.7)
    assert bytes_to_reach(result, 0.7) == points(result, "bytes")[first][0]
    assert bytes_to_reach(result, 0.99) is None
    reached, exactly = next(iter(points(result, "bytes").values()))
    assert bytes_to_reach(result, exactly) == reached


def test_png_files_are_sharp_and_not_blank(drawn: list[Plot], tmp_path: Path) -> None:
    files = save_plots(drawn, tmp_path)
    assert [file.stem for file in files] == ["accuracy-bytes", "accuracy-rounds", "bytes-by-kind", "label-partition"]
    for file in files:
        with Image.open(file) as image:
            assert image.width >= 1200
            colours = image.convert("RGB").getcolors(1 << 24)
            assert colours is not None
            assert len(colours) > 50


def test_a_drawn_plot_has_the_file_that_its_name_says(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(plots, "DRAWERS", {"label-partition": DRAWERS["label-partition"]})
    assert write_plots(make(rounds=2), tmp_path) == [tmp_path / "plots" / "label-partition.png"]
    assert (tmp_path / "plots" / "label-partition.png").read_bytes().startswith(b"\x89PNG")


def test_each_method_has_its_colour_in_every_plot(drawn: list[Plot]) -> None:
    colours = {theme.css_name(theme.colour_of(method) or "") for method in PAPER_METHODS}
    assert len(colours) == len(PAPER_METHODS)
    for plot in drawn[:3]:
        assert {colour for colour in colours if colour in plot.svg} == colours


def test_plots_are_the_same_each_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("accuracy-bytes", "label-partition")
    monkeypatch.setattr(plots, "DRAWERS", {name: DRAWERS[name] for name in names})
    result = make(rounds=3, devices=4, sampled=2)
    assert draw_plots(result) == draw_plots(result)


@pytest.mark.parametrize("devices", quick([1, 4, 30, 100], 1, 100))
@pytest.mark.parametrize("classes", [2, 100])
def test_label_maps_of_any_size(make: Make, monkeypatch: pytest.MonkeyPatch, devices: int, classes: int) -> None:
    monkeypatch.setattr(plots, "DRAWERS", {"label-partition": DRAWERS["label-partition"]})
    (plot,) = draw_plots(make(rounds=2, devices=devices, sampled=1, classes=[f"class {n}" for n in range(classes)]))
    with Image.open(io.BytesIO(plot.png)) as image:
        assert image.height < 1400
    assert 2 <= plot.svg.count("class ") <= 25


def test_extreme_runs_still_draw(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
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
    monkeypatch.setattr(plots, "DRAWERS", {"accuracy-bytes": DRAWERS["accuracy-bytes"]})
    assert "period=8" in draw_plots(many)[0].svg


def test_hostile_class_names_are_only_text(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = ["<script>alert(1)</script>", "$\\frac{1}{", "猫", "x" * 500, "tab\tnew\nline\x00", "]]>&amp;", "%s{}"]
    monkeypatch.setattr(plots, "DRAWERS", {"label-partition": DRAWERS["label-partition"]})
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
