import io
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console

from ecofed.reports.tables import html_table, markdown, plain_text, rich_table, rows
from ecofed.results import Comparison, RunResult


def test_methods_then_floors(five_methods: Comparison) -> None:
    table = rows(five_methods)
    assert [row.label for row in table] == [
        *("classic-fl", "vanilla-dpfl", "lgl", "fedgkt", "ecofed"),
        *("every image once (raw)", "every image once (PNG)"),
    ]
    classic, ecofed, raw = table[0], table[4], table[5]
    assert classic.cells()[3] == "1x"
    assert classic.leaves_device == "no"
    assert ecofed.times_fewer == classic.total_bytes / ecofed.total_bytes
    assert ecofed.total_bytes == ecofed.uplink_bytes + ecofed.downlink_bytes
    assert ecofed.bytes_per_device_round == ecofed.total_bytes / (20 * 5)
    assert raw.total_bytes == 6000 * 784
    assert raw.final_accuracy is None
    assert raw.leaves_device == "images too"


def test_what_a_round_moves_is_without_what_comes_after_the_last(make: Callable[..., RunResult]) -> None:
    run = make()
    totals = replace(run.totals, downlink_bytes=run.totals.downlink_bytes + 20 * 2_000_000)  # the network, delivered
    assert replace(run, totals=totals).bytes_per_device_round == run.bytes_per_device_round


def test_every_rendering_has_every_cell(five_methods: Comparison) -> None:
    stream = io.StringIO()
    Console(file=stream, width=200).print(rich_table(five_methods))
    texts = [stream.getvalue(), plain_text(five_methods), markdown(five_methods), html_table(five_methods)]
    for row in rows(five_methods):
        for cell in row.cells():
            assert all(cell in text for text in texts)


def test_columns_that_nobody_has_are_left_out(five_methods: Comparison, three_seeds: Comparison) -> None:
    assert "simulated" not in plain_text(five_methods)
    assert "simulated time" in plain_text(three_seeds)
    assert "ecofed (3 seeds)" in plain_text(three_seeds)
    low_high = rows(three_seeds)[1].final_accuracy
    assert low_high is not None
    assert f"({low_high.low:.3f}-{low_high.high:.3f})" in plain_text(three_seeds)


def test_without_classic_fl_the_ratio_is_a_dash(make: Callable[..., RunResult]) -> None:
    lines = plain_text(make()).splitlines()
    assert "bytes vs classic-fl" in lines[0]
    assert all(row.times_fewer is None and row.cells()[3] == "-" for row in rows(make()))


def test_plain_text_is_aligned(five_methods: Comparison) -> None:
    lines = plain_text(five_methods).splitlines()
    assert len(lines) == 1 + 1 + 5 + 1 + 2
    assert len({len(line) for line in lines}) == 1


def test_markup_in_a_label_stays_text(make: Callable[..., RunResult]) -> None:
    variants = Comparison(results=[make(), make(front__name="[red]|<b>")])
    assert "<b>" not in html_table(variants)
    assert "&lt;b&gt;" in html_table(variants)
    assert r"\[red\]\|\<b\>" in markdown(variants)
    stream = io.StringIO()
    Console(file=stream, width=300).print(rich_table(variants))
    assert "[red]|<b>" in stream.getvalue()
