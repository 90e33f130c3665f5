"""The same run over Flower's Grid and in process: same bytes, same weights; and what goes wrong costs little."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
import tomllib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flwr.app import Context, Message, RecordDict
from local_grid import LocalGrid
from PIL import Image
from safetensors.numpy import load_file

import ecofed
from ecofed.config import Settings
from ecofed.config.task import Task
from ecofed.data import load_dataset
from ecofed.errors import ConfigError, DeviceError, EcoFedError, WireError
from ecofed.flower.content import Invitation, pack, unpack
from ecofed.flower.device import app as client_app
from ecofed.flower.device import make_worker
from ecofed.flower.server import train
from ecofed.relearning.updating import update
from ecofed.reports.files import read_result
from ecofed.results import RunResult
from ecofed.runs.kept_buffer import open_buffer
from ecofed.runs.prediction import OnnxNetwork
from ecofed.runs.preparation import prepare
from ecofed.wire import Acknowledge, SendImages, decode, encode

SETS = (
    "rounds=4 devices=3 sampled_devices=2 batch_size=10 test_samples=50 initialisation=random "
    "model.name=lenet model.width=0.25 data.name=digits data.samples_per_device=20 seed=3 "
    "ecofed.refresh=period codec.bits=4"
)


def over_flower(nodes: int = 3, *, sets: str = "", node: dict[str, Any] | None = None, **options: Any) -> RunResult:
    grid = LocalGrid([{"device": index, **(node or {})} for index in range(nodes)])
    return train(grid, {"set": f"{SETS} {sets}"} | options, patience_seconds=20)


def in_process(sets: str = "", out: Path | None = None) -> RunResult:
    config = Settings.load(None, f"{SETS} {sets}".split()).for_method("ecofed")
    return ecofed.run(config, out=out, report=False, observer=ecofed.SilentObserver())


def test_same_ledger_same_accuracy_same_weights(tmp_path: Path) -> None:
    local = in_process(out=tmp_path / "local")
    flower = over_flower(out=str(tmp_path / "flower"), resume=False, preset="")
    assert flower.ledger == local.ledger
    said = shlex.split(flower.command)
    assert said[:5] == ["flwr", "run", "fleet/app", "fleet", "--stream"]
    assert tomllib.loads(said[6].replace(" out=", "\nout=")) == {"set": f"{SETS} ", "out": str(tmp_path / "flower")}
    assert "name it as <code>preset</code>" in (tmp_path / "flower" / "report.html").read_text(encoding="utf-8")
    assert [record.test_accuracy for record in flower.rounds] == [record.test_accuracy for record in local.rounds]
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("local", "flower")]
    assert weights[0].keys() == weights[1].keys()
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_one_message_for_each_visit() -> None:
    grid = LocalGrid([{"partition-id": index} for index in range(3)])
    result = train(grid, {"set": SETS}, patience_seconds=20)
    visits = sum(len(record.devices) for record in result.rounds if record.refreshed)
    kinds = [message.metadata.message_type for message in grid.messages]
    assert kinds.count("query.hello") == 3
    assert kinds.count("query.requests") == visits


def test_a_device_without_pytorch_takes_part() -> None:
    pytest.importorskip("onnxruntime")
    result = over_flower(node={"worker": "onnx"})
    assert result.ledger == in_process().ledger


@pytest.mark.parametrize("worker", ["torch", "onnx"])
def test_devices_judge_the_network_where_the_server_has_no_test_images(worker: str, tmp_path: Path) -> None:
    """Federated evaluation, from run to report: one message more for each device, counts back."""
    pytest.importorskip("onnxruntime")
    alone = "test_samples=0 validation.fraction=0.4 validation.on_devices=true delivery=int8"
    local = in_process(alone)
    flower = over_flower(sets=alone, node={"worker": worker}, out=str(tmp_path / "run"))
    assert flower.scores == local.scores
    assert flower.ledger == local.ledger
    found = flower.scores.on_devices
    assert found is not None
    assert found.devices is not None
    assert found.devices.devices == [0, 1, 2]
    assert flower.totals.final_test_accuracy == found.accuracy
    assert flower.ledger["statistics"]["uplink"] == 3 * 2 * 4 * 10
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"95 % interval {found.low:.2f} to {found.high:.2f}" in page
    assert f"{found.samples} samples that 3 devices held out and tested themselves" in page


def test_an_update_asks_for_what_is_new_as_in_process(tmp_path: Path) -> None:
    once = "ecofed.refresh=once keep_buffer=true rounds=2 sampled_devices=3"
    local = in_process(once, out=tmp_path / "local")
    assert over_flower(sets=once, out=str(tmp_path / "flower")).ledger == local.ledger
    new = {"data__samples_per_device": 28}
    expected = update(tmp_path / "local", out=tmp_path / "local-more", report=False, **new)
    grid = LocalGrid([{"device": index} for index in range(3)])
    changes = {"set": "data.samples_per_device=28", "out": str(tmp_path / "more")}
    found = train(grid, {"update": str(tmp_path / "flower"), **changes}, patience_seconds=20)
    assert found.ledger == expected.ledger
    assert 0 < found.ledger["activations"]["uplink"] < local.ledger["activations"]["uplink"]
    kinds = [message.metadata.message_type for message in grid.messages]
    assert kinds.count("query.requests") == 3
    assert open_buffer(tmp_path / "more").digest() == open_buffer(tmp_path / "local-more").digest()
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("more", "local-more")]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[1])
    with pytest.raises(ConfigError, match="leave preset out, and name a new folder as out"):
        train(grid, {"update": str(tmp_path / "flower"), "set": ""}, patience_seconds=20)


@pytest.mark.parametrize("numbered", [True, False])
def test_new_pictures_in_a_devices_folder_are_found_where_they_have_numbers(numbered: bool, tmp_path: Path) -> None:
    own = tmp_path / "own"
    write_digits(own, [*"0123456789"])
    node = {"data": str(own), **({"numbers": str(tmp_path / "numbers")} if numbered else {})}
    nodes: list[dict[str, Any]] = [{"device": 0, **node}, {"device": 1}, {"device": 2}]
    first = {"set": f"{SETS} ecofed.refresh=once rounds=1 sampled_devices=3 quorum=0.3", "out": str(tmp_path / "first")}
    train(LocalGrid(nodes), first, patience_seconds=20)
    before = open_buffer(tmp_path / "first")
    for number in range(5):  # before all others of their class
        Image.fromarray(np.full((8, 8), 40 * number, np.uint8)).save(own / "train" / "3" / f"!{number}.png")
    more = {"update": str(tmp_path / "first"), "out": str(tmp_path / "more")}
    result = train(LocalGrid(nodes), more, patience_seconds=20)
    after = open_buffer(tmp_path / "more")
    grown = after.label_counts(0) - before.label_counts(0)
    assert grown.tolist() == [0, 0, 0, 5 * numbered, *[0] * 6]
    assert after.buffer.files[0, 0].name == before.buffer.files[0, 0].name  # the old ones are what they were
    assert any("which images are new is not known here" in note for note in result.rounds[0].notes) is not numbered


def test_devices_that_stop_at_different_layers_take_part() -> None:
    pytest.importorskip("onnxruntime")
    cuts = "ecofed.device_cuts=block1,block2"
    result = over_flower(sets=cuts)
    assert result.ledger == in_process(cuts).ledger
    assert result.totals.final_test_accuracy == in_process(cuts).totals.final_test_accuracy
    assert over_flower(sets=cuts, node={"worker": "onnx"}).ledger == result.ledger


def test_the_device_app_imports_no_pytorch() -> None:
    code = "import sys\nsys.modules['torch'] = None\nimport ecofed.flower.device"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_other_methods_with_few_messages_work_too() -> None:
    result = over_flower(sets="method=lgl rounds=2")
    assert result.method == "lgl"
    assert result.ledger["activations"]["uplink"] > 0


@pytest.mark.parametrize("method", ["vanilla-dpfl", "fedgkt"])
def test_chatty_methods_are_refused(method: str) -> None:
    with pytest.raises(ConfigError, match=f"{method} .*ecofed run"):
        over_flower(sets=f"method={method}")


def test_a_device_that_was_started_anew_gets_its_front_again() -> None:
    grid: LocalGrid

    def restart_at_third_round(message: Message) -> bool:
        kinds = [m.metadata.message_type for m in grid.messages]
        if message.metadata.message_type == "query.requests" and kinds.count("query.requests") == 3:
            for node in grid.contexts:
                grid.restart(node)
        return False

    grid = LocalGrid([{"device": index} for index in range(3)], lose=restart_at_third_round)
    result = train(grid, {"set": SETS}, patience_seconds=20)
    expected = in_process()
    assert result.ledger == expected.ledger
    assert result.retransmitted_bytes["downlink"] > 0
    assert result.totals.final_test_accuracy == expected.totals.final_test_accuracy


def test_a_lost_message_costs_one_device() -> None:
    lost: list[Message] = []

    def lose_the_first(message: Message) -> bool:
        if message.metadata.message_type == "query.requests" and not lost:
            lost.append(message)
            return True
        return False

    grid = LocalGrid([{"device": index} for index in range(3)], lose=lose_the_first)
    result = train(grid, {"set": f"{SETS} quorum=0.5 deadline_seconds=3"}, patience_seconds=20)
    assert any("no answer before the round's deadline" in note for note in result.rounds[0].notes)
    assert len(result.rounds) == 4


@pytest.mark.parametrize(("at_once", "most"), [(0, 3), (1, 1), (2, 2)])
def test_no_more_messages_are_out_than_allowed(at_once: int, most: int) -> None:
    grid = LocalGrid([{"device": index} for index in range(3)])
    result = train(grid, {"set": f"{SETS} sampled_devices=3", "at-once": at_once}, patience_seconds=20)
    assert grid.most_out == most
    assert result.ledger == in_process("sampled_devices=3").ledger


def test_who_was_not_asked_before_the_deadline_is_named(tmp_path: Path) -> None:
    def lose(message: Message) -> bool:
        return message.metadata.message_type == "query.requests"

    sets = f"{SETS} quorum=0 deadline_seconds=1 rounds=1 sampled_devices=3"
    grid = LocalGrid([{"device": index} for index in range(3)], lose=lose)
    with pytest.raises(EcoFedError, match="nothing was trained in its only round"):
        train(grid, {"set": sets, "at-once": 1, "out": str(tmp_path / "run")}, patience_seconds=20)
    notes = read_result(tmp_path / "run").rounds[0].notes
    assert "device 0: no answer before the round's deadline; left out of this round" in notes
    assert "device 2: nothing was sent to it before the round's deadline; left out of this round" in notes
    assert [message.metadata.message_type for message in grid.messages].count("query.requests") == 1


@pytest.mark.parametrize("at_once", [-1, "many", 1.5, True])
def test_an_impossible_number_of_messages_is_one_line(at_once: Any) -> None:
    with pytest.raises(ConfigError, match=r"run config at-once = .*: must be a number of messages, or 0"):
        train(LocalGrid([]), {"set": SETS, "at-once": at_once})


def test_missing_devices_are_named() -> None:
    with pytest.raises(DeviceError, match=r"device 2; .*device=NUMBER"):
        train(LocalGrid([{"device": 0}, {"device": 1}]), {"set": SETS}, patience_seconds=0.2)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({}, "no device number"),
        ({"device": 9}, "devices 0 to 2"),
        ({"device": 1}, "two SuperNodes"),
    ],
)
def test_a_node_that_cannot_take_part_says_why(
    config: dict[str, Any], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = LocalGrid([{"device": 0}, {"device": 1}, config])
    with pytest.raises(DeviceError, match="no SuperNode has taken the place of device 2"):
        train(grid, {"set": SETS}, patience_seconds=0.2)
    assert reason in capsys.readouterr().out


def png(image_HWC: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image_HWC[:, :, 0]).save(file, "PNG")
    return file.getvalue()


def write_digits(folder: Path, names: list[str]) -> str:
    """All training digits as pictures, in folders of these names."""
    train = load_dataset("digits").train
    for number, (image, label) in enumerate(zip(train.images_NHWC[:200], train.labels_N[:200], strict=True)):
        place = folder / "train" / names[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, :, 0]).save(place / f"{number}.png")
    return str(folder)


def test_a_devices_classes_are_matched_by_name_or_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_digits(tmp_path / "own", [f"{number} " for number in range(10)])
    strange = write_digits(tmp_path / "strange", [*"01234567", "eight", "nine"])
    worker = make_worker(Invitation(task=task_of("data.name=digits", "send-images")), {"device": 0, "data": own})
    images, _ = decode(worker.handle(encode(SendImages(round=1, quality=75, size=0)).data))
    assert images.labels_N.tolist() == sorted(load_dataset("digits").train.labels_N[:200].tolist())  # type: ignore[attr-defined]
    grid = LocalGrid([{"device": 0, "data": own}, {"device": 1}, {"device": 2, "data": strange}])
    result = train(grid, {"set": SETS}, patience_seconds=20)
    refusal = (
        "strange: class 'eight' is unknown to this run; "
        "the run: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; this device: 0, 1, 2, 3, 4, 5, 6, 7, eight, nine"
    )
    assert capsys.readouterr().out.count(f"a SuperNode cannot take part: {refusal}") == 1
    assert len(result.rounds) == 4
    # What the report says of the first one's labels is what it brought, not what the server would have dealt it.
    held_K = np.bincount(load_dataset("digits").train.labels_N[:200], minlength=10)
    assert (result.data.brought, result.data.label_counts[0]) == (2, held_K.tolist())
    assert not any(result.data.label_counts[2])  # nor of one that was refused
    assert result.data.train_samples == sum(map(sum, result.data.label_counts))
    assert all(record.simulated_seconds is None for record in result.rounds)
    sampled = [record for record in result.rounds if any(refusal in note for note in record.notes)]
    assert sampled
    assert all("device 2" in note for record in sampled for note in record.notes if refusal in note)


def test_a_device_with_classes_in_another_order_trains_as_one_in_the_runs_order(tmp_path: Path) -> None:
    train_set = load_dataset("digits").train
    cells = [png(image) for image in train_set.images_NHWC[:100]]
    weights = []
    for name, listed in (("plain", "0123456789"), ("turned", "5907136284")):
        feature = {"info": {"features": {"label": {"names": list(listed)}}}}
        labels = [listed.index(str(label)) for label in train_set.labels_N[:100]]
        table = pa.table({"image": cells, "label": labels}).replace_schema_metadata(
            {"huggingface": json.dumps(feature)}
        )
        (tmp_path / name).mkdir()
        pq.write_table(table, tmp_path / name / "train.parquet")
        assert load_dataset(str(tmp_path / name)).classes == tuple(listed)
        grid = LocalGrid([{"device": 0, "data": str(tmp_path / name)}, {"device": 1}, {"device": 2}])
        train(grid, {"set": SETS, "out": str(tmp_path / f"run-{name}")}, patience_seconds=20)
        weights.append(load_file(tmp_path / f"run-{name}" / "model.safetensors"))
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


@pytest.mark.parametrize("data", ["nowhere/at/all", "strange"])
def test_a_fleet_of_which_nobody_can_take_part_is_one_line(data: str, tmp_path: Path) -> None:
    write_digits(tmp_path / "strange", [f"class {number}" for number in range(10)])
    grid = LocalGrid([{"device": index, "data": str(tmp_path / data)} for index in range(3)])
    with pytest.raises(DeviceError, match=f"none of the devices can take part; device 0: .*{data}"):
        train(grid, {"set": SETS}, patience_seconds=0.2)


def test_a_device_that_was_refused_takes_part_when_it_comes_back_in_order(tmp_path: Path) -> None:
    grid = LocalGrid([{"device": 0, "data": str(tmp_path / "later")}, {"device": 1}, {"device": 2}])
    came_back: list[int] = []

    def come_back(message: Message) -> bool:
        if message.metadata.message_type == "query.requests" and not came_back:
            came_back.append(len(grid.messages))
            old = grid.contexts.pop(1000)
            write_digits(tmp_path / "later", [str(number) for number in range(10)])
            grid.contexts[2000] = Context(
                run_id=1, node_id=2000, node_config=old.node_config, state=RecordDict(), run_config={}
            )
        return False

    grid._lose = come_back
    result = train(grid, {"set": f"{SETS} rounds=6 sampled_devices=3"}, patience_seconds=20)
    assert [2 if record.notes else 3 for record in result.rounds][-1] == 3
    assert 0 in result.rounds[-1].devices
    assert any(str(message.metadata.dst_node_id) == "2000" for message in grid.messages)


def task_of(sets: str, method: str = "ecofed") -> Task:
    config = Settings.load(None, f"{SETS} {sets}".split()).for_method(method)
    return prepare(config, lambda _: None).task


def test_a_client_that_crashes_is_a_note_in_the_round() -> None:
    from ecofed.flower.device import app

    def crash_once(message: Message, context: Any) -> Message:
        if message.metadata.message_type == "query.requests" and context.node_config["device"] == 1:
            raise ValueError("boom")
        return app(message, context)

    grid = LocalGrid([{"device": index} for index in range(3)], app=crash_once)
    result = train(grid, {"set": f"{SETS} quorum=0.5 deadline_seconds=10"}, patience_seconds=20)
    assert any("boom" in note for record in result.rounds for note in record.notes)


def test_the_trained_network_is_written_on_each_device(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    own = write_digits(tmp_path / "own", [" " * number + str(number) for number in range(10)])
    assert load_dataset(own).classes == (*"9876543210",)
    nodes: list[dict[str, Any]] = [{"device": index, "network": str(tmp_path / f"{index}.onnx")} for index in range(3)]
    nodes[0]["data"] = own
    result = train(LocalGrid(nodes), {"set": f"{SETS} rounds=1 delivery=int8"}, patience_seconds=20)
    sizes = {(tmp_path / f"{index}.onnx").stat().st_size for index in range(3)}
    assert len(sizes) == 1
    assert result.ledger["weights"]["downlink"] == 3 * sizes.pop()
    assert OnnxNetwork(tmp_path / "0.onnx").classes == [*"0123456789"]  # whatever order the device's own have


@pytest.mark.parametrize("allowed", [False, True])
def test_images_leave_only_where_the_owner_allows_it(allowed: bool, tmp_path: Path) -> None:
    node: dict[str, Any] = {"images-may-leave": True} if allowed else {}
    grid = LocalGrid([{"device": index, **node} for index in range(3)])
    settings = {"set": f"{SETS} rounds=1 method=send-images", "out": str(tmp_path / "run")}
    with nullcontext() if allowed else pytest.raises(EcoFedError, match="0 of 2 devices answered"):
        train(grid, settings, patience_seconds=20)
    result = read_result(tmp_path / "run")
    assert any("may not leave it" in note for note in result.rounds[0].notes) is not allowed
    assert (result.totals.uplink_bytes > 0) is allowed


class Killed(BaseException):
    """The server dies here."""


@pytest.mark.parametrize("after", [1, 3])
def test_a_killed_server_goes_on_with_resume(after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecofed.runs.experiment.CHECKPOINT_SECONDS", -1.0)
    grid: LocalGrid

    def die(_: Message) -> bool:
        if sum(other.metadata.message_type == "query.requests" for other in grid.messages) > after:
            raise Killed
        return False

    grid = LocalGrid([{"device": index} for index in range(3)], lose=die)
    settings = {"set": SETS, "out": str(tmp_path / "killed")}
    with pytest.raises(Killed):
        train(grid, settings, patience_seconds=20)
    fresh = LocalGrid([{"device": index} for index in range(3)])
    result = train(fresh, settings | {"resume": True}, patience_seconds=20)
    expected = in_process(out=tmp_path / "whole")
    assert result.ledger == expected.ledger
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("killed", "whole")]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[1])


def test_a_node_whose_greeting_is_no_message_of_ours_costs_only_itself(capsys: pytest.CaptureFixture[str]) -> None:
    def app(message: Message, context: Any) -> Message:
        if context.node_config["device"] < 3:
            return client_app(message, context)
        strange = RecordDict() if context.node_config["device"] == 3 else pack([], status="ok", device=True)
        return Message(strange, reply_to=message)

    grid = LocalGrid([{"device": index} for index in range(5)], app=app)
    result = train(grid, {"set": SETS}, patience_seconds=20)
    assert len(result.rounds) == 4
    assert capsys.readouterr().out.count("a SuperNode cannot take part") == 2


def test_many_small_pieces_are_refused_at_once() -> None:
    with pytest.raises(WireError, match="more than 100 messages"):
        unpack(pack([encode(Acknowledge(round=1)).data] * 50_000))


def test_devices_draw_noise_keep_account_of_it_and_refuse_what_their_owner_does_not_allow(tmp_path: Path) -> None:
    sets = "sampled_devices=3 ecofed.refresh=once privacy.epsilon=50 privacy.label_epsilon=3"
    with pytest.raises(DeviceError, match=r"node config privacy=FILE"):
        over_flower(sets=sets)

    def nodes(limit: float) -> list[dict[str, Any]]:
        own = {"max-epsilon": limit, "max-label-epsilon": 3.0}
        return [{"device": one, "privacy": str(tmp_path / f"account-{one}.json"), **own} for one in range(3)]

    first = train(LocalGrid(nodes(50.0)), {"set": f"{SETS} {sets}"}, patience_seconds=20)
    assert any("for each image in the one upload of its device" in text for text in first.notes)
    assert not any("simulated" in text for text in first.notes)
    assert first.ledger["activations"]["uplink"] > 0
    accounts = [(tmp_path / f"account-{one}.json").read_text() for one in range(3)]
    again = train(LocalGrid(nodes(50.0)), {"set": f"{SETS} {sets}"}, patience_seconds=20)
    assert [(tmp_path / f"account-{one}.json").read_text() for one in range(3)] == accounts  # the same bytes again
    assert again.totals.final_test_accuracy == first.totals.final_test_accuracy
    with pytest.raises(DeviceError, match="over all runs; this device's owner allows 50, and it is refused"):
        train(LocalGrid(nodes(50.0)), {"set": f"{SETS} {sets} seed=4"}, patience_seconds=20)
    with pytest.raises(DeviceError, match="owner allows epsilon 50 of each image, and the run has no"):
        train(LocalGrid(nodes(50.0)), {"set": SETS}, patience_seconds=20)
