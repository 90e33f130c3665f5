"""What earlier versions wrote: keys that stand in another section now are understood, with one hint."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ecofed
from ecofed.config import Config, Settings
from ecofed.config.fields import flatten
from ecofed.config.moved import moved_keys
from ecofed.errors import ConfigError
from ecofed.files.disk import json_text
from ecofed.files.tensor_files import pack, unpack
from ecofed.reports.files import read_result
from ecofed.runs.checkpoints import CHECKPOINT_FILE, Checkpoint
from stopping import StopAfter

#: A configuration as the last version recorded it that had all of this in ``[ecofed]``.
RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded_config.json").read_text())
HINT = "what stood in its section [ecofed] is now in [front] and [codec]"


def hints(action: Callable[[], Any]) -> tuple[Any, list[str]]:
    """What it returns, and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return action(), [str(one.message) for one in caught]


def as_before(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as an earlier version would have recorded it."""
    values = {name: kept for name, kept in config.items() if name not in ("front", "codec", "validation")}
    moved = {old.partition(".")[2]: new.split(".") for old, new in moved_keys().items()}
    return values | {"ecofed": values["ecofed"] | {old: config[new[0]][new[1]] for old, new in moved.items()}}


class TestWhatUsersWrite:
    def test_files_sets_and_overrides_mean_the_same(self, tmp_path: Path) -> None:
        (tmp_path / "old.toml").write_text('[ecofed]\nbits = 4\nfront_precision = "full"\nperiod = 3\n')
        (tmp_path / "new.toml").write_text('[codec]\nbits = 4\n[front]\nprecision = "full"\n[ecofed]\nperiod = 3\n')
        sets = ["ecofed.bits=3", "closed-form.ecofed.front_delivery=preinstalled"]
        old, said = hints(lambda: Settings.load(tmp_path / "old.toml", sets))
        new = Settings.load(tmp_path / "new.toml", ["codec.bits=3", "closed-form.front.delivery=preinstalled"])
        assert old.assignments == new.assignments
        assert said == [
            "ecofed.bits is now codec.bits, ecofed.front_precision is now front.precision, "
            "closed-form.ecofed.front_delivery is now closed-form.front.delivery"
        ]
        assert [old.for_method(name).front.delivery for name in ("ecofed", "closed-form")] == [
            "download",
            "preinstalled",
        ]

    def test_keywords(self) -> None:
        config, said = hints(lambda: Config().replace(ecofed__codec="minmax", ecofed__bits=8))
        assert (config.codec.name, config.codec.bits) == ("minmax", 8)
        assert said == ["ecofed.codec is now codec.name, ecofed.bits is now codec.bits"]
        settings, said = hints(lambda: Settings.load(None, ["codec.bits=4"]).with_set(ecofed__bits=8))
        assert settings.for_method("ecofed").codec.bits == 8
        assert said == ["ecofed.bits is now codec.bits"]

    @pytest.mark.parametrize("method", ["", "lgl."])
    def test_two_names_must_agree(self, method: str) -> None:
        both = [f"{method}ecofed.front=random", f"{method}front.name=random"]
        assert hints(lambda: Settings.load(None, both))[1] == [f"{both[0][:-7]} is now {both[1][:-7]}"]
        wanted = rf"^{method}ecofed\.front = 'random' and {method}front\.name = 'auto': .*; keep {method}front\.name$"
        with pytest.raises(ConfigError, match=wanted):
            Settings.load(None, [both[0], f"{method}front.name=auto"])

    def test_what_is_set_on_top_of_a_preset_wins(self) -> None:
        settings, said = hints(lambda: Settings.load("max-accuracy", ["ecofed.bits=8"]))
        assert settings.for_method("ecofed").codec.bits == 8
        assert len(said) == 1

    def test_errors_name_the_key_that_there_is(self) -> None:
        with pytest.warns(ecofed.Notice, match="now codec"), pytest.raises(ConfigError, match=r"^codec\.bits = 9"):
            Settings.load(None, ["ecofed.bits=9"])
        with pytest.raises(ConfigError, match=r"unknown key 'ecofed\.entrop' .did you mean 'codec\.entropy'"):
            Settings.load(None, ["ecofed.entrop=none"])


class TestWhatWasRecorded:
    def test_a_configuration(self) -> None:
        config, said = hints(lambda: Config.from_dict(RECORDED))
        assert (config.codec.bits, config.codec.entropy, config.front.delivery) == (4, "deflate", "preinstalled")
        assert len(said) == 1
        assert said[0].endswith(HINT)
        assert set(flatten(RECORDED, ())) <= set(flatten(as_before(config.to_dict()), ()))
        assert hints(lambda: Config.from_dict(config.to_dict())) == (config, [])
        with pytest.raises(ConfigError, match=r"^ecofed\.bits = 4 and codec\.bits = 2: .*; keep codec\.bits$"):
            Config.from_dict(RECORDED | {"codec": {"bits": 2}})

    def test_results_checkpoints_and_trained_networks(self, tmp_path: Path) -> None:
        whole, part = tmp_path / "whole", tmp_path / "part"
        new = hints(lambda: Config.from_dict(RECORDED))[0].replace(
            **{"devices": 2, "sampled_devices": 1, "test_samples": 20, "model__name": "lenet", "front__name": "random"},
            data__samples_per_device=10,
        )
        finished = ecofed.run(new, out=whole, observer=ecofed.SilentObserver(), report=False)
        with pytest.raises(KeyboardInterrupt):
            ecofed.run(new, out=part, observer=StopAfter(2))
        for file in (whole / "result.json", part / "unfinished.json"):
            values = json.loads(file.read_text())
            file.write_text(json_text(values | {"config": as_before(values["config"])}))
        for file in (whole / "model.safetensors", part / CHECKPOINT_FILE):
            kept = unpack(file)
            values = json.loads(kept.description)
            task = json.loads(values["task"]) if "task" in values else values
            task["config"] = as_before(task["config"])
            values |= {"task": json_text(task)} if "task" in values else {}
            file.write_bytes(pack(kept.arrays, json_text(values)))
        checkpoint, said = hints(lambda: Checkpoint.read(part, new.to_dict()))
        assert checkpoint is not None
        assert len(said) == 1
        assert said[0].endswith(HINT)
        read, said = hints(lambda: read_result(whole))
        assert Config.from_dict(read.config) == new
        assert len(said) == 1
        network, said = hints(lambda: ecofed.load_model(whole))
        assert network.task.config == new
        assert len(said) == 1
        resumed, said = hints(lambda: ecofed.run(new, out=part, resume=True, observer=StopAfter(), report=False))
        assert [one.test_loss for one in resumed.rounds] == [one.test_loss for one in finished.rounds]
        assert set(said) == {said[0]}
        assert said[0].endswith(HINT)
