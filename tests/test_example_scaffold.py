"""The second example of a method: other requests for each device, and something that the server keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ecofed
from ecofed.config import Settings, registry
from ecofed.planning.planner import plan
from ecofed.wire import speak

PLUGIN = Path(__file__).parents[1] / "examples" / "scaffold.py"
SMALL = [
    *("data.name=digits", "model.name=lenet", "model.width=0.5", "rounds=3", "devices=3", "sampled_devices=2"),
    *("data.samples_per_device=30", "initialisation=random", "test_samples=50", "momentum=0", "batch_size=10"),
]
QUIET: dict[str, Any] = {"observer": ecofed.SilentObserver(), "report": False}


@pytest.fixture(autouse=True)
def _loaded() -> Iterator[None]:
    with registry.only_here():
        ecofed.load_plugin(PLUGIN)
        yield
    speak([])


class Stops(ecofed.SilentObserver):
    """As Ctrl-C after the second round."""

    def round_finished(self, record: Any, _: int) -> None:
        if record.round == 2:
            raise KeyboardInterrupt


def losses(result: ecofed.RunResult) -> list[float | None]:
    return [record.train_loss for record in result.rounds]


@pytest.mark.ci
def test_it_begins_as_classic_fl_and_goes_on_otherwise_also_when_resumed(tmp_path: Path) -> None:
    settings = Settings.load(None, SMALL)
    whole = ecofed.run(settings, method="scaffold", **QUIET)
    classic = ecofed.run(settings, method="classic-fl", **QUIET)
    assert losses(whole)[0] == losses(classic)[0]  # nothing is known yet, no gradient is corrected
    assert losses(whole)[1:] != losses(classic)[1:]
    with pytest.raises(KeyboardInterrupt):
        ecofed.run(settings, method="scaffold", out=tmp_path, observer=Stops(), report=False)
    assert losses(ecofed.run(settings, method="scaffold", out=tmp_path, resume=True, **QUIET)) == losses(whole)
    (row,) = plan(settings, ["scaffold"]).at_cut
    assert row.total_uplink_bytes + row.total_downlink_bytes == whole.total_bytes
    assert whole.totals.uplink_bytes == classic.totals.uplink_bytes
