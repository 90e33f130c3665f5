"""What is new on devices, added to the buffer that a run kept: nothing else is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from again import kept_config
from PIL import Image
from safetensors.numpy import load_file

from ecofed.errors import ConfigError
from ecofed.relearning.deletion import delete
from ecofed.relearning.retraining import retrain
from ecofed.relearning.updating import update
from ecofed.reports.files import read_result
from ecofed.results import RunResult
from ecofed.runs.bounding import bounded
from ecofed.runs.experiment import run
from ecofed.runs.kept_buffer import KEPT_FOLDER, KeptBuffer, open_buffer
from ecofed.wire import Refresh, RefreshNew, Upload, encode
from stopping import StopAfter


def uploaded(result: RunResult) -> int:
    return sum(result.ledger[kind]["uplink"] for kind in ("activations", "labels"))


def computing(result: RunResult) -> dict[str, float]:
    """Seconds that each device ran the front in the first round, by the clock."""
    spans = result.rounds[0].timeline or []
    return {actor: end - start for actor, kind, start, end in spans if kind == "infer" and actor != "server"}


def samples_of(kept: KeptBuffer, device: int) -> list[int]:
    return sorted(int(sample) for view in kept.buffer.views_of(device).values() for sample in view.sample_N)


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / KEPT_FOLDER).glob("*.view")}


def test_a_device_that_comes_later(collected: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("device,first_round,last_round\n2,1000,1000\n", encoding="utf-8")
    first = run(kept_config(availability__trace=str(trace)), out=tmp_path / "run", report=False)
    assert open_buffer(tmp_path / "run").buffer.devices == [0, 1, 3]
    later = update(tmp_path / "run", out=tmp_path / "more", report=False, availability__trace=None)
    assert files(tmp_path / "more") == files(collected)
    assert len(files(tmp_path / "more") - files(tmp_path / "run")) == 1
    whole = open_buffer(collected).origin.sent
    assert uploaded(later) == whole[2][1]
    assert uploaded(later) + uploaded(first) == sum(count for _, count in whole.values())
    assert later.origin is not None
    assert later.origin["uplink_bytes"] == first.totals.uplink_bytes
    kept = open_buffer(tmp_path / "more")
    assert kept.origin.rounds[2, 0] > 4
    with pytest.raises(ConfigError, match="it was collected in several runs"):
        retrain(tmp_path / "more", order="as-uploaded")
    assert retrain(tmp_path / "more", rounds=1).total_bytes == 0


@pytest.mark.usefixtures("often_saved")
@pytest.mark.parametrize("buffer", ["memory", "disk"])
def test_new_images_on_old_devices_whenever_it_is_stopped(buffer: str, collected: Path, tmp_path: Path) -> None:
    new: dict[str, Any] = {"data__samples_per_device": 20, "sampled_devices": 4, "ecofed__buffer": buffer}
    changes = {**new, "report": False}
    whole = update(collected, out=tmp_path / "whole", **changes)
    kept, before = open_buffer(tmp_path / "whole"), open_buffer(collected)
    assert files(collected) < files(tmp_path / "whole")
    assert [samples_of(kept, device) for device in range(4)] == [[*range(20)]] * 4
    added = {device: kept.origin.sent[device][1] - before.origin.sent[device][1] for device in range(4)}
    assert uploaded(whole) == sum(added.values())
    assert 0.5 * 8 / 12 < sum(added.values()) / sum(sent for _, sent in before.origin.sent.values()) < 1.5 * 8 / 12
    assert sum(map(sum, whole.data.label_counts)) == 80
    # Eight new images take a device less time than the twelve that it began with, and some.
    new_seconds, old_seconds = (computing(result) for result in (whole, read_result(collected)))
    assert len(new_seconds) == 4
    assert 0.5 * min(old_seconds.values()) < max(new_seconds.values()) < 0.9 * min(old_seconds.values())
    # The front was there already: it is sent again to simulated devices, which were started anew.
    assert whole.ledger["front"]["downlink"] == 0
    with pytest.raises(KeyboardInterrupt):
        update(collected, out=tmp_path / "cut", observer=StopAfter(2), **changes)
    resumed = update(collected, out=tmp_path / "cut", resume=True, **changes)
    assert open_buffer(tmp_path / "cut").digest() == kept.digest()
    assert uploaded(resumed) == uploaded(whole)
    networks = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut")]
    for name, array in networks[0].items():
        np.testing.assert_array_equal(array, networks[1][name], err_msg=name)
    # Another one finds nothing new, and asks nobody.
    again = update(tmp_path / "cut", out=tmp_path / "again", rounds=1, report=False)
    assert again.total_bytes == 0
    assert open_buffer(tmp_path / "again").digest() == kept.digest()


@pytest.mark.parametrize("noise", [{"privacy__epsilon": 50.0}, {"privacy__label_epsilon": 3.0}])
def test_new_images_bear_noise_too_and_old_ones_are_not_asked_for_again(
    noise: dict[str, float], tmp_path: Path
) -> None:
    run(kept_config(rounds=2, **noise), out=tmp_path / "run", report=False)
    update(tmp_path / "run", out=tmp_path / "more", report=False, data__samples_per_device=20, sampled_devices=4)
    assert files(tmp_path / "run") < files(tmp_path / "more")
    kept = open_buffer(tmp_path / "more")
    assert kept.config.privacy == kept_config(**noise).privacy
    for device in kept.buffer.devices:
        assert samples_of(kept, device) == list(range(20))


def test_what_was_forgotten_never_comes_back(copied: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied("run")
    delete(folder, {0: [], 1: [11, 3]})
    update(folder, out=tmp_path / "more", report=False, data__samples_per_device=14, sampled_devices=4)
    kept = open_buffer(tmp_path / "more")
    assert kept.buffer.devices == [1, 2, 3]
    assert samples_of(kept, 1) == [sample for sample in range(14) if sample not in (3, 11)]
    assert kept.origin.forgotten == {0: [], 1: [3, 11]}


def test_from_the_old_back(collected: Path, tmp_path: Path) -> None:
    still = {"learning_rate": 1e-12, "rounds": 1, "report": False}
    update(collected, out=tmp_path / "back", start="back", **still)
    update(collected, out=tmp_path / "anew", **still)
    old, back, anew = (
        load_file(folder / "model.safetensors") for folder in (collected, tmp_path / "back", tmp_path / "anew")
    )
    weights = [name for name, array in old.items() if name.startswith("model.head") and array.ndim == 2]
    assert len(weights) > 1
    for name in weights:
        np.testing.assert_allclose(back[name], old[name], atol=1e-6)
        assert np.abs(anew[name] - old[name]).max() > 1e-3


def test_new_classes(tmp_path: Path) -> None:
    """The name of the new one comes first, so that all numbers change."""
    pictures, draw = tmp_path / "pictures", np.random.default_rng(0)

    def add(label: str, device: str) -> None:
        for split in (f"train/{label}/{device}", f"test/{label}"):
            (pictures / split).mkdir(parents=True, exist_ok=True)
            for number in range(4):
                pixels = draw.integers(0, 255, (16, 16), dtype=np.uint8)
                Image.fromarray(pixels).save(pictures / split / f"{device}{number}.png")

    for label, device in (("bee", "p"), ("cat", "p"), ("bee", "q")):
        add(label, device)
    own = {"data__name": str(pictures), "data__partition": "column", "data__device_column": "folder"}
    config = kept_config(**own, data__samples_per_device=None, devices=2, test_samples=8)
    run(config, out=tmp_path / "run", report=False)
    for label, device in (("ant", "r"), ("cat", "r")):
        add(label, device)
    result = update(tmp_path / "run", out=tmp_path / "more", devices=3, sampled_devices=3, start="back", report=False)
    kept = open_buffer(tmp_path / "more")
    assert kept.origin.classes == result.data.classes == ["ant", "bee", "cat"]
    assert [kept.label_counts(device).tolist() for device in range(3)] == [[0, 4, 4], [0, 4, 0], [4, 0, 4]]
    assert uploaded(result) == kept.origin.sent[2][1]


def test_a_bounded_buffer_is_a_reservoir(tmp_path: Path) -> None:
    """Which samples stay does not depend on when they came."""
    config = kept_config(kept_per_class=4)
    run(config.replace(data__samples_per_device=20, sampled_devices=4), out=tmp_path / "at-once", report=False)
    run(config, out=tmp_path / "first", report=False)
    update(tmp_path / "first", out=tmp_path / "then", data__samples_per_device=20, sampled_devices=4, report=False)
    once, then = open_buffer(tmp_path / "at-once"), open_buffer(tmp_path / "then")
    assert max(sum(once.label_counts(device) for device in once.buffer.devices)) == 4
    assert [samples_of(once, device) for device in range(4)] == [samples_of(then, device) for device in range(4)]
    assert len(once.buffer) == 40
    assert then.origin.seen == once.origin.seen == dict.fromkeys(range(4), 20)
    with pytest.raises(ConfigError, match="the buffer is bounded"):
        retrain(tmp_path / "first", order="as-uploaded")


@pytest.mark.parametrize(
    ("limits", "rows"),
    [({}, 48), ({"kept_per_device": 5}, 20), ({"kept_samples": 7}, 7), ({"kept_per_device": 5, "kept_samples": 7}, 7)],
)
def test_bounds(limits: dict[str, int], rows: int, collected: Path) -> None:
    buffer = open_buffer(collected).buffer
    kept = {device: view for device, _, view in bounded(buffer, kept_config(**limits))}
    assert sum(map(len, kept.values())) == rows
    for device, view in kept.items():
        assert len(view) <= limits.get("kept_per_device", 12)
        whole = buffer.latest(device)
        at = [int(np.flatnonzero(whole.sample_N == sample)[0]) for sample in view.sample_N]
        np.testing.assert_array_equal(view.rows[np.arange(len(view))], whole.rows[np.array(at)])
        np.testing.assert_array_equal(view.labels_N, whole.labels_N[at])


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"seed": 3}, "seed = 3: the buffer's samples are in the order of seed 0"),
        ({"ecofed__server": "fedavg"}, "update needs pooled"),
        ({"codec__bits": 4}, "codec.bits = 4: the buffer was made with 2"),
        ({"devices": 5}, "device 0 has other samples now than those it uploaded"),
        ({"data__samples_per_device": 5}, "device 0 has other samples now"),
    ],
)
def test_what_is_refused(keys: dict[str, Any], reason: str, collected: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        update(collected, out=tmp_path / "more", **keys)


def test_the_request_and_its_answer_are_as_long_as_they_need_be() -> None:
    new = encode(RefreshNew(round=1, view=1, front_id="f" * 32, first=12))
    all_of_it = encode(Refresh(round=1, view=1, front_id="f" * 32, want_labels=True))
    assert len(new.data) == len(all_of_it.data) + 3  # a number in place of a flag
    assert Upload.number == 53
