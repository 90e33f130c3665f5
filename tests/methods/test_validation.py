"""Samples that are held out of training: which, that nothing learns from them, and what is found out with them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tiny import run, started, tiny_config

import ecofed
from ecofed.activations import Pool, View
from ecofed.activations.pool import Rows
from ecofed.config import Settings
from ecofed.config.held_out import held_out, trained_count
from ecofed.config.schema import Config
from ecofed.errors import ConfigError, DataError
from ecofed.methods.ecofed import EcoFed
from ecofed.methods.pooled import PooledTrainer
from ecofed.methods.send_images import SendImagesMethod
from ecofed.reports.html import report_html
from ecofed.reports.words import accuracy_sentence, partition_sentence
from ecofed.runs.experiment import compare

SETTINGS: dict[str, Any] = {"validation__fraction": 0.3, "devices": 4, "sampled_devices": 3, "rounds": 3}


def pictures(count: int) -> list[bytes]:
    """Noise, as PNG."""
    draw, files = np.random.default_rng(0), []
    for _ in range(count):
        file = BytesIO()
        Image.fromarray(draw.integers(0, 255, (32, 32), dtype=np.uint8)).save(file, "PNG")
        files.append(file.getvalue())
    return files


def test_which_samples_are_held_out_does_not_depend_on_the_others() -> None:
    config = Config().replace(validation__fraction=0.3)
    all_N = held_out(config, 5, np.arange(2000))
    assert all_N.mean() == pytest.approx(0.3, abs=0.05)
    np.testing.assert_array_equal(held_out(config, 5, np.arange(50)), all_N[:50])
    np.testing.assert_array_equal(held_out(config, 5, np.array([40, 3, 17])), all_N[[40, 3, 17]])
    assert trained_count(config, 5, 50) == 50 - all_N[:50].sum()
    for other in (config.replace(seed=1), config):
        assert (held_out(other, 6 if other is config else 5, np.arange(2000)) != all_N).any()
    assert not held_out(Config(), 5, np.arange(2000)).any()


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("ecofed", {"ecofed__views": 3, "ecofed__period": 1}),
        ("ecofed", {"ecofed__server": "fedavg", "codec__name": "minmax", "codec__bits": 8}),
        ("ecofed", {"ecofed__buffer": "disk"}),
        ("send-images", {}),
    ],
)
def test_nothing_learns_from_what_is_held_out(
    method: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row that any training looks at is remembered, by device and sample."""
    config = tiny_config(method, **SETTINGS, **changes)
    seen: dict[int, set[int]] = {}
    trained, each = PooledTrainer.train, EcoFed._inputs

    def train(self: PooledTrainer, round_: int, pool: Pool, device_N: Rows, steps: int) -> float:
        for device, sample in zip(np.asarray(device_N), np.asarray(pool.sample_N), strict=True):
            seen.setdefault(device, set()).add(sample)
        return trained(self, round_, pool, device_N, steps)

    def inputs(self: EcoFed, view: View, rows_B: np.ndarray, random: Any) -> np.ndarray:
        if self.config.ecofed.server == "fedavg" and self.back.training:
            order = view.sample_N.tolist()
            (owner,) = (one for one in self.buffer.devices if self.division.latest(one).sample_N.tolist() == order)
            seen.setdefault(owner, set()).update(view.sample_N[rows_B].tolist())
        return each(self, view, rows_B, random)

    monkeypatch.setattr(PooledTrainer, "train", train)
    monkeypatch.setattr(EcoFed, "_inputs", inputs)
    result = run(config, out=tmp_path, report=False)

    sampled = sorted({device for record in result.rounds for device in record.devices})
    held = {device: set(np.flatnonzero(held_out(config, device, np.arange(20))).tolist()) for device in sampled}
    assert {device: set(range(20)) - samples for device, samples in held.items()} == seen
    scores = result.scores.held_out
    assert scores is not None
    assert scores.devices is not None
    assert dict(zip(scores.devices.devices, scores.devices.samples, strict=True)) == {
        device: len(samples) for device, samples in held.items()
    }
    assert sum(scores.devices.right) == scores.right
    assert result.scores.test is not None


def test_the_scores_are_those_of_the_network_on_these_samples() -> None:
    method, prepared = started(tiny_config("ecofed", **SETTINGS, codec__name="float32"))
    assert isinstance(method, EcoFed)
    assert method.held_out() is None
    method.train_round(1, [0, 2])
    found = method.held_out()
    assert found is not None
    own_N = np.flatnonzero(np.asarray(found.device_N) == 2)
    own = prepared.parts[2][found.sample_N[own_N]]
    np.testing.assert_array_equal(found.labels_N[own_N], prepared.dataset.train.labels_N[own])
    front = method.buffer.latest(2)
    rows = [front.sample_N.tolist().index(sample) for sample in found.sample_N[own_N]]
    np.testing.assert_array_equal(found.rows[own_N], front.rows[rows])


@pytest.mark.parametrize("cls", [EcoFed, SendImagesMethod])
def test_the_calendar_foresees_the_servers_steps(cls: Any) -> None:
    method, prepared = started(tiny_config(cls.name, **SETTINGS))
    agenda = cls.agenda(method.config, [len(part) for part in prepared.parts])
    for device in (0, 1):
        agenda.took(device, 0)
    outcome = method.train_round(1, [0, 1])
    assert outcome.server_steps == agenda.server_steps(1, [0, 1], [0, 1])
    assert 0 < outcome.server_steps < 2 * -(-20 // 8)


def test_a_run_without_test_images(tmp_path: Path) -> None:
    config = tiny_config("ecofed", **{**SETTINGS, "test_samples": 0, "sampled_devices": 4})
    result = run(config, out=tmp_path)
    scores = result.scores.held_out
    assert scores is not None
    assert result.scores.test is None
    assert result.rounds[-1].test_accuracy == scores.accuracy
    assert result.totals.final_test_accuracy == pytest.approx(np.mean([r.test_accuracy for r in result.rounds]))
    held = f"{scores.samples} samples held out of the devices' uploads"
    assert held in accuracy_sentence(result)
    assert f"Each evaluation uses {held}." in partition_sentence(result)
    page = (tmp_path / "report.html").read_text()
    assert "final accuracy, on held-out samples" in page
    assert "Among devices" in page
    assert run(config, out=tmp_path, resume=True) == result


def test_where_data_name_devices_test_images_have_one(tmp_path: Path) -> None:
    """Natural devices: how good the network is for each of them, and for strangers in the total only."""
    owners = {"train": ["fri", "mon", "sat", "sun"] * 10, "test": ["mon", "sun", "stranger", "sat", "mon"] * 2}
    (tmp_path / "data").mkdir()
    for part, own in owners.items():
        columns = {"image": pictures(len(own)), "label": [number % 2 for number in range(len(own))], "client": own}
        pq.write_table(pa.table(columns), tmp_path / "data" / f"{part}.parquet")
    own = {
        "data__name": str(tmp_path / "data"),
        "data__partition": "column",
        "data__device_column": "client",
        "rounds": 1,
    }
    config = tiny_config("ecofed", **own, devices=3, sampled_devices=3)  # fri, mon, sat: sun is no device
    result = run(config, out=tmp_path / "run", report=False)
    scores = result.scores.test
    assert scores is not None
    assert scores.devices is not None
    assert (scores.samples, scores.devices.devices, scores.devices.samples) == (10, [1, 2], [4, 2])
    assert sum(scores.devices.right) <= scores.right
    assert "<h3>Among devices</h3>" in report_html(result, [])
    judged = ecofed.evaluate(tmp_path / "run").scores.devices
    assert judged is not None
    assert (judged.devices, judged.samples) == ([1, 2], [4, 2])  # so few test images are all tested in the run
    assert (judged.right, judged.low) == (scores.devices.right, scores.devices.low)
    assert all(low <= share <= high for low, share, high in zip(judged.low, judged.accuracy, judged.high, strict=True))
    assert run(tiny_config("ecofed", rounds=1)).scores.test.devices is None  # type: ignore[union-attr]


def test_data_without_test_images_need_held_out_samples(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": pictures(40), "label": [0, 1] * 20}), tmp_path / "faces.parquet")
    own = {"data__name": str(tmp_path / "faces.parquet"), "data__partition": "iid", "rounds": 1}
    with pytest.raises(DataError, match=r"faces has no test split.*or hold out some of the devices' samples"):
        run(tiny_config("ecofed", **own))
    result = run(tiny_config("ecofed", **own, validation__fraction=0.3), out=tmp_path / "run", report=False)
    assert result.data.test_samples == 0
    assert result.scores.held_out is not None
    judged = ecofed.evaluate(tmp_path / "run")
    assert judged.scores == result.scores.held_out
    assert (judged.accuracy, judged.loss) == (result.scores.held_out.accuracy, None)
    assert judged.data == "samples held out of uploads"
    with pytest.raises(DataError, match="faces has no test split"):
        ecofed.evaluate(tmp_path / "run", data=tmp_path / "faces.parquet")
    with pytest.raises(ConfigError, match=r"validation.fraction = 1e-09: holds out none of so few samples"):
        run(tiny_config("ecofed", **own, validation__fraction=1e-9))


def test_only_what_a_server_keeps_can_be_held_out(tmp_path: Path) -> None:
    config = tiny_config("classic-fl", validation__fraction=0.1)
    refusal = r"validation.fraction = 0.1: is for methods whose uploads the server keeps, such as ecofed; that of"
    with pytest.raises(ConfigError, match=refusal):
        run(config)
    settings = Settings.load(None, ["validation.fraction=0.1", "data.name=digits"])
    with pytest.raises(ConfigError, match=refusal):  # before any method has run
        compare(settings, ["ecofed", "classic-fl"], out=tmp_path / "two")
    assert not (tmp_path / "two").exists()
    with pytest.raises(ConfigError, match="must be at least 0 and below 1"):
        Config().replace(validation__fraction=1)
    with pytest.raises(ConfigError, match=r"or 0 with validation.fraction above 0"):
        Config().replace(test_samples=0)
