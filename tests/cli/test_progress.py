"""The bar on a terminal."""

from __future__ import annotations

import io

import pytest
from cli_fakes import fake_result
from rich.console import Console

from ecofed.cli.progress import Bars, Lines
from ecofed.config.schema import Config
from ecofed.reports.units import human_bytes


def test_bars_show_method_round_accuracy_and_bytes() -> None:
    screen = io.StringIO()
    config = Config(rounds=4)
    result = fake_result(config, "")
    with Bars(Console(file=screen, force_terminal=True, width=100, color_system=None)) as bars:
        bars.started(config, result.rounds[:2])
        bars.round_finished(result.rounds[2], 4)
        bars.round_finished(result.rounds[3], 4)
        bars.note("a [remark] with brackets")
        bars.finished(result)
    last = next(line for line in reversed(screen.getvalue().splitlines()) if "round" in line)
    for text in ("ecofed", "round 4/4", "accuracy 0.500", "6.00 MB"):
        assert text in last
    assert "a [remark] with brackets" in screen.getvalue()


def test_a_run_that_was_finished_before_has_a_full_bar_of_its_own() -> None:
    screen = io.StringIO()
    config = Config(rounds=4)
    with Bars(Console(file=screen, force_terminal=True, width=100, color_system=None)) as bars:
        bars.finished(fake_result(config, ""))
        bars.started(config, [])
    lines = [line for line in screen.getvalue().splitlines() if "round" in line]
    assert "round 4/4" in lines[-2]
    assert "round 0/4" in lines[-1]


def test_lines_say_what_a_resumed_run_has_behind_it(capsys: pytest.CaptureFixture[str]) -> None:
    lines, config = Lines(seconds_between=0), Config(rounds=4)
    rounds = fake_result(config, "").rounds
    lines.started(config, rounds[:2])
    lines.round_finished(rounds[2], 4)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "ecofed: 4 rounds, continuing after round 2"
    sent = sum(record.uplink_bytes + record.downlink_bytes for record in rounds[:3])
    assert human_bytes(sent) in second
