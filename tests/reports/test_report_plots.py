import io
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ecofed.config.methods import PAPER_METHODS
from ecofed.errors import MissingExtraError
from ecofed.files.replacing import is_ours
from ecofed.reports import plots, theme
from ecofed.reports.curves import Curve, bytes_to_reach, curve, points
from ecofed.reports.plots import DRAWERS, Plot, draw_plots, save_plots, write_plots
from ecofed.reports.plots.accuracy import _hidden, accuracy_figure
from ecofed.reports.plots.frontier import compared_figure, compared_points
from ecofed.reports.plots.names import short
from ecofed.reports.plots.style import drawing
from ecofed.reports.plots.timeline import draw_timelines
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
    assert [file.stem for file in files] == [
        *("accuracy-bytes", "accuracy-rounds", "frontier", "bytes-by-kind", "label-partition")
    ]
    for file in files:
        with Image.open(file) as image:
            assert image.width >= 1200
            colours = image.convert("RGB").getcolors(1 << 24)
            assert colours is not None
            assert len(colours) > 50


@pytest.mark.ci
def test_a_drawn_plot_has_the_file_that_its_name_says(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(plots, "DRAWERS", {"label-partition": DRAWERS["label-partition"]})
    assert write_plots(make(rounds=2), tmp_path) == [tmp_path / "plots" / "label-partition.png"]
    assert (tmp_path / "plots" / "label-partition.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.ci
def test_plots_for_papers_are_vectors_with_text_and_ours(five_methods: Comparison, tmp_path: Path) -> None:
    named = {"accuracy-bytes": DRAWERS["accuracy-bytes"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "DRAWERS", named)
        first, again = (draw_plots(five_methods, ("svg", "pdf")) for _ in range(2))
    assert first[0].papers == again[0].papers
    files = save_plots(first, tmp_path)
    assert [file.name for file in files] == [f"accuracy-bytes.{ending}" for ending in ("png", "svg", "pdf")]
    assert all(is_ours(file) for file in files)
    svg, pdf = (first[0].papers[name] for name in ("svg", "pdf"))
    assert b">vanilla-dpfl  0.7" in svg
    assert b"Accuracy against bytes" not in svg  # the caption's
    assert pdf.startswith(b"%PDF-")
    assert b"/Type3" not in pdf


def test_a_name_stands_at_its_dot_and_says_its_value(five_methods: Comparison, drawn: list[Plot]) -> None:
    for result in five_methods.results:
        last = result.rounds[-1].test_accuracy
        assert last is not None
        assert f">{result.method}  {last:.2f}<" in drawn[0].svg


def test_names_keep_clear_of_marks_dots_and_each_other(five_methods: Comparison) -> None:
    with drawing("test"):
        figure = accuracy_figure(five_methods, axis="bytes")
        assert figure is not None
        axes = figure.axes[0]
        texts = [text for text in axes.texts if text.get_text()]
        names = [text.get_window_extent() for text in texts if text.get_rotation() == 0]
        floors = [text.get_window_extent() for text in texts if text.get_rotation() == 90]
        marks = [line.get_window_extent() for line in axes.lines if len(set(line.get_xdata())) == 1]
    assert (len(names), len(floors)) == (5, 2)
    for number, name in enumerate(names):
        assert not any(name.overlaps(other) for other in [*floors, *marks, *names[:number]])


def test_a_line_on_another_is_dashed_and_the_other_wider(make: Make) -> None:
    twins = Comparison(results=[make("classic-fl"), replace(make("classic-fl"), method="lgl")])
    apart = Comparison(results=[make("classic-fl"), make("ecofed")])
    with drawing("test"):
        for comparison, widths, dashes in ((twins, {1.8, 1.8 * 2.4}, {"-", "--"}), (apart, {1.8, 2.6}, {"-"})):
            figure = accuracy_figure(comparison, axis="round")
            assert figure is not None
            lines = [line for line in figure.axes[0].lines if line.get_marker() == "None"]
            assert {line.get_linewidth() for line in lines} == widths
            assert {line.get_linestyle() for line in lines} == dashes


def test_the_frontier_is_what_no_other_beats(five_methods: Comparison, make: Make) -> None:
    points = {point.label: point for point in compared_points(five_methods)}
    assert points["ecofed"].bytes_per_device == five_methods.results[4].total_bytes / 20
    assert [label for label, point in points.items() if point.efficient] == ["ecofed"]
    equal = compared_points(Comparison(results=[make("lgl"), replace(make("lgl"), method="fedgkt")]))
    assert [point.efficient for point in equal] == [True, True]
    fewer = compared_points(Comparison(results=[make(), make("lgl", devices=10)]))
    assert [point.bytes_per_device for point in fewer] == [make().total_bytes / 20, make("lgl").total_bytes / 10]
    with drawing("test"):
        assert compared_figure(Comparison(results=[make()])) is None
        figure = compared_figure(five_methods)
        assert figure is not None
        names = {text.get_text() for text in figure.axes[0].texts if text.get_rotation() == 0}
        assert "ecofed  0.84" in names
        many = Comparison(results=[make(rounds=3, ecofed__period=period) for period in range(1, 11)])
        crowded = compared_figure(many)
        assert crowded is not None
        assert {text.get_text() for text in crowded.axes[0].texts} >= set(map(str, range(1, 11)))
        assert len(crowded.legends[0].texts) == 10


def test_long_lines_are_compared_in_little_memory() -> None:
    many = [float(at) for at in range(1, 20_001)]
    rising = [at / 20_000 for at in many]
    one = Curve(x=many, mean=rising, low=rising, high=rising)
    other = Curve(x=many, mean=rising[::-1], low=rising, high=rising)
    with drawing("test"):
        axes = Figure().add_subplot()
        axes.set_xlim(0, 20_000)
        tracemalloc.start()
        assert _hidden(axes, {"a": one, "b": one, "c": other}) == ({"a"}, {"b"})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 60e6


def test_timelines_have_one_axis_and_short_ones_are_drawn_again() -> None:
    rounds = {
        "long": [["0", "train", 0.0, 60.0]],
        "short": [["0", "infer", 0.0, 3.0], ["server", "train", 3.0, 4.0]],
    }
    with drawing("test"):
        figure = draw_timelines(rounds)
        long, short = figure.axes
        (wider,) = short.child_axes
    assert long.get_xlim() == short.get_xlim() == (0, 60)
    assert wider.get_xlim() == (0, 4)
    assert long.child_axes == []


def test_each_method_has_its_colour_in_every_plot(drawn: list[Plot]) -> None:
    colours = {theme.css_name(theme.colour_of(method) or "") for method in PAPER_METHODS}
    assert len(colours) == len(PAPER_METHODS)
    for plot in drawn[:3]:
        assert {colour for colour in colours if colour in plot.svg} == colours


@pytest.mark.ci
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


@pytest.mark.ci
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


def test_a_name_of_settings_keeps_its_end() -> None:
    assert short("ecofed front=auto bits=4 views=unbounded", 30) == "ecofed fro…s=4 views=unbounded"
    assert short("a rather long class name", 12) == "a rather lo…"
