"""What is exported, and what one types in Python: keywords, a module, arrays, observers, notebooks."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ecofed
from ecofed import api
from ecofed.config.methods import METHODS
from ecofed.config.network_input import Frame
from ecofed.config.schema import Config
from ecofed.data import given as given_data
from ecofed.models import default_cut
from ecofed.models import given as given_models
from ecofed.reports import notebook
from ecofed.results import Comparison
from ecofed.runs import observing
from slowly import quick

HOW_TO = Path(__file__).parents[1] / "docs" / "how-to" / "python.md"
EXPORTED = [
    *("CheckpointError", "Comparison", "Config", "ConfigError", "DataError", "Dataset", "DeviceError", "EcoFedError"),
    *("InUseError", "MissingExtraError", "ModelError", "Notice", "Observer", "PluginError", "RunResult", "Settings"),
    *("SilentObserver", "StorageError", "WireError", "__version__", "compare", "evaluate", "forget", "load"),
    *("load_dataset", "load_model", "load_plugin", "partition", "plan", "predict", "register", "register_codec"),
    *("register_format", "register_network", "retrain", "run", "tracked", "tune", "update"),
]
SMALL: dict[str, Any] = {
    "rounds": 1,
    "devices": 2,
    "sampled_devices": 2,
    "test_samples": 20,
    "initialisation": "random",
    "front__name": "random",
}


def pictures(count: int, shape: tuple[int, ...] = (28, 28, 1)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8), np.arange(count) % 3


def network(channels: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(4 * 64, 3),
    )


ARRAYS = (pictures(40), pictures(20))


@pytest.fixture(scope="module")
def both() -> Comparison:
    quiet = ecofed.SilentObserver()
    return ecofed.compare(None, ["classic-fl", "ecofed"], model=network(), data=ARRAYS, observer=quiet, **SMALL)


@pytest.fixture
def forgotten() -> Iterator[None]:
    """As in another process."""
    kept = dict(given_data._given), dict(given_models._given)
    yield
    given_data._given.update(kept[0])
    given_models._given.update(kept[1])


class TestExported:
    def test_these_names_and_no_others(self) -> None:
        assert sorted(ecofed.__all__) == sorted(EXPORTED)
        assert dir(ecofed) == ecofed.__all__

    @pytest.mark.parametrize("name", EXPORTED)
    def test_each_can_be_had_and_is_told_of(self, name: str) -> None:
        value = getattr(ecofed, name)
        assert name == "__version__" or (value.__doc__ and not value.__doc__.startswith(f"{name}("))
        assert name == "__version__" or f"`{name}`" in HOW_TO.read_text(encoding="utf-8")

    def test_every_error_is_one_of_them(self) -> None:
        below = set(ecofed.EcoFedError.__subclasses__()) | set(ecofed.ConfigError.__subclasses__())
        assert {cls.__name__ for cls in below if cls.__module__ == "ecofed.errors"} <= set(EXPORTED)


class TestKeywords:
    def test_a_configuration_comes_back_as_it_went_in(self) -> None:
        config = ecofed.Settings.load("paper-vgg11-cifar10").for_method("lgl")
        assert api.as_settings(config, None, None, {}).for_method("lgl") == config
        changed = api.as_settings(config, "lenet", Path("pictures"), {"seed": 3, "fedgkt__alpha": 0.5})
        assert changed.for_method("lgl") == config.replace(
            seed=3, fedgkt__alpha=0.5, model__name="lenet", data__name="pictures", data__fallback=None
        )

    def test_nothing_means_plain_defaults(self) -> None:
        assert api.as_settings(None, None, None, {}).for_method("ecofed") == Config()

    def test_a_word_that_is_no_key(self) -> None:
        with pytest.raises(ecofed.ConfigError, match=r"unknown key 'round' .did you mean 'rounds'"):
            ecofed.run("quickstart", round=5)

    def test_a_key_that_changes_nothing_is_said(self) -> None:
        heard: list[str] = []

        class Listener(ecofed.SilentObserver):
            def note(self, text: str) -> None:
                heard.append(text)

        keys = SMALL | {"method": "classic-fl", "codec__bits": 4}
        ecofed.run(model=network(), data=ARRAYS, observer=Listener(), **keys)
        assert heard[0].startswith("codec.bits=4 changes nothing: it needs a method that uploads codes")

    def test_a_plan_takes_the_same(self) -> None:
        planned = ecofed.plan(None, "classic-fl", model=network(), data=ARRAYS, **SMALL)
        (row,) = planned.at_cut
        assert (row.method, row.cut) == ("classic-fl", "3")
        moved = (row.total_uplink_bytes + row.total_downlink_bytes) / 1e6
        assert repr(planned) == f"<Plan, cut after 3\n  classic-fl: {moved:.2f} MB>"


class TestModuleAndArrays:
    def test_both_methods_run_on_them(self, both: Comparison) -> None:
        classic, eco = both.results
        for result in both.results:
            assert result.config["model"]["name"].startswith("module:Sequential-")
            assert result.config["model"]["cut"] == "3"
            assert result.config["data"]["name"].startswith("arrays:")
            assert result.data.classes == ["0", "1", "2"]
            assert result.data.train_samples == 40
        parameters = sum(value.numel() for value in network().parameters())
        assert classic.ledger["weights"]["uplink"] == 2 * 4 * parameters
        assert eco.ledger["activations"]["uplink"] > 0

    def test_one_class_is_nothing_to_learn(self) -> None:
        one = (pictures(4)[0], np.zeros(4, np.int64))
        with pytest.raises(ecofed.DataError, match="has one class only, 0; at least two classes are needed"):
            ecofed.run(model=network(), data=(one, one), **SMALL)

    def test_grey_pictures_and_other_sizes_and_tensors(self) -> None:
        split = (torch.zeros(6, 28, 28, dtype=torch.uint8), torch.arange(6) % 3)
        found = given_data.given_dataset(given_data.give_arrays(split, split))
        assert found.train.images_NHWC.shape == (6, 28, 28, 1)
        large = given_data.give_arrays(pictures(6, (64, 48, 3)), pictures(3, (64, 48, 3)))
        assert given_data.given_dataset(large).train.images_NHWC.shape == (6, 32, 32, 3)
        assert given_data.given_dataset(large, Frame(sides=(28, 28))).train.images_NHWC.shape == (6, 28, 28, 3)

    def test_a_data_set_is_one_too(self) -> None:
        name = given_data.give_dataset(given_data.given_dataset(given_data.give_arrays(*ARRAYS)))
        assert name == given_data.give_arrays(*ARRAYS)
        assert api.as_settings(None, None, given_data.given_dataset(name), {}).for_method("ecofed").data.name == name

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (3, r"must be \(\(images, labels\), \(test_images, test_labels\)\)"),
            ((ARRAYS[0], ARRAYS[1][0]), r"the test split must be \(images, labels\)"),
            (
                ((ARRAYS[0][0] / 255, ARRAYS[0][1]), ARRAYS[1]),
                r"float64 and shape \(40, 28, 28, 1\); they must be",
            ),
            (((ARRAYS[0][0].transpose(0, 3, 1, 2), ARRAYS[0][1]), ARRAYS[1]), "channels last"),
            (((ARRAYS[0][0], ARRAYS[0][1] / 2), ARRAYS[1]), "labels of float64"),
            ((ARRAYS[0], (ARRAYS[1][0], ARRAYS[0][1])), "the test split has 20 images and 40 labels"),
            ((ARRAYS[0], (ARRAYS[1][0], ARRAYS[1][1] + 1)), "class '3' occurs in the test split but not in training"),
        ],
    )
    def test_arrays_that_are_no_data_set(self, data: Any, said: str) -> None:
        with pytest.raises(ecofed.DataError, match=said):
            ecofed.run(data=data)

    def test_what_another_process_needs_is_said(self, tmp_path: Path, forgotten: None) -> None:  # noqa: ARG002
        keys: dict[str, Any] = SMALL | {"method": "classic-fl"}
        quiet = ecofed.SilentObserver()
        done = ecofed.run(model=network(), data=ARRAYS, out=tmp_path, report=False, observer=quiet, **keys)
        here = ecofed.evaluate(tmp_path)
        given_data._given.clear()
        given_models._given.clear()
        with pytest.raises(ecofed.ModelError, match=r"given in Python, to another process; give the same"):
            ecofed.evaluate(tmp_path)
        picture = tmp_path / "picture.png"
        Image.new("L", (28, 28)).save(picture)
        with pytest.raises(ecofed.ModelError, match=r"network= of evaluate, predict and load_model"):
            ecofed.predict(tmp_path, picture)
        (answer,) = ecofed.predict(tmp_path, picture, network=network())
        assert answer.label in "012"
        given_models._given.clear()
        ecofed.load_model(tmp_path, network=network())
        with pytest.raises(ecofed.DataError, match=r"arrays that were given in Python, to another process"):
            ecofed.evaluate(tmp_path)
        assert ecofed.evaluate(tmp_path, ARRAYS, network=network()) == here
        again = ecofed.run(model=network(), data=ARRAYS, out=tmp_path, resume=True, observer=quiet, **keys)
        assert again.to_dict() == done.to_dict()
        with pytest.raises(ecofed.EcoFedError, match="other settings"):
            ecofed.run(model=network(), data=ARRAYS[::-1], out=tmp_path, resume=True, observer=quiet, **keys)

    def test_other_processes_do_not_know_them(self) -> None:
        with pytest.raises(ecofed.ConfigError, match="given as model and data; use runtime=in-process"):
            ecofed.run(model=network(), data=ARRAYS, runtime="processes", devices=2, sampled_devices=1)

    def test_where_a_module_is_cut(self) -> None:
        assert default_cut(given_models.give_module(network())) == "3"
        layers = (nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU())
        strided = nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, 3))
        assert default_cut(given_models.give_module(strided)) == "2"
        flat = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4096, 3))
        assert default_cut(given_models.give_module(flat)) == "0"
        only = nn.Sequential(nn.Flatten(), nn.ReLU())
        with pytest.raises(ecofed.ConfigError, match="no layer to cut after: it needs one whose output has a height"):
            default_cut(given_models.give_module(only))
        again = nn.Conv2d(3, 3, 3, padding=1)
        twice = nn.Sequential(again, nn.MaxPool2d(4), again, nn.Flatten(), nn.Linear(192, 3))
        with pytest.raises(ecofed.ConfigError, match="no layer to cut after: '2' is the layer '0' again"):
            default_cut(given_models.give_module(twice))
        with pytest.raises(ecofed.ConfigError, match="does not take images of 3x32x32"):
            given_models.give_module(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(7, 3)))

    def test_a_cut_and_widths_that_are_given_beside_a_module_count(self) -> None:
        keys = {"model__cut": "2", "model__head_width": 16, "model__width": 0.25}
        model = api.as_settings(None, network(), None, keys).for_method("ecofed").model
        assert (model.cut, model.head_width, model.width) == ("2", 16, 0.25)
        told = api.as_settings("paper-vgg11-cifar10", network(), None, {}).for_method("ecofed").model
        assert (told.cut, told.head_width, told.width) == ("3", None, 1.0)

    def test_a_network_without_a_height_and_width_is_cut_where_one_says(self) -> None:
        flat = nn.Sequential(nn.Flatten(), nn.Linear(3072, 8), nn.ReLU(), nn.Linear(8, 3))
        with pytest.raises(ecofed.ConfigError, match="say one with model__cut, of 0, 1, 2"):
            api.as_settings(None, flat, None, {})
        assert api.as_settings(None, flat, None, {"model__cut": "2"}).for_method("classic-fl").model.cut == "2"

    @pytest.mark.parametrize(
        ("given", "keys"),
        [
            ({"model": network()}, {"model__name": "lenet"}),
            ({"model": "vgg11"}, {"model__name": "lenet"}),
            ({"data": ARRAYS}, {"data__name": "digits"}),
        ],
    )
    def test_a_network_or_data_are_named_once(self, given: dict[str, Any], keys: dict[str, Any]) -> None:
        with pytest.raises(ecofed.ConfigError, match="both name what is meant; give one of them"):
            ecofed.plan(None, "classic-fl", **given, **keys)

    @pytest.mark.parametrize("outputs", [2, 5])
    @pytest.mark.parametrize("method", quick(METHODS, "ecofed", "classic-fl", "closed-form"))
    def test_a_network_of_other_outputs_than_classes_is_refused_before_the_first_round(
        self, method: str, outputs: int, tmp_path: Path
    ) -> None:
        wrong = nn.Sequential(*network()[:-1], nn.Linear(4 * 64, outputs))
        with pytest.raises(ecofed.ModelError, match=f"gives {outputs} numbers an image, the data have 3 classes"):
            ecofed.run(model=wrong, data=ARRAYS, out=tmp_path, method=method, **SMALL)
        with pytest.raises(ecofed.ModelError, match=f"gives {outputs} numbers an image, the data have 3 classes"):
            ecofed.plan(None, method, model=wrong, data=ARRAYS, **{**SMALL, "rounds": 3})
        assert not list(tmp_path.iterdir())

    def test_a_network_that_gives_no_row_of_numbers_is_refused(self) -> None:
        with pytest.raises(ecofed.ModelError, match=r"give numbers of shape \(2, 4, 8, 8\)"):
            ecofed.run(model=nn.Sequential(*network()[:-2], nn.Conv2d(4, 4, 1)), data=ARRAYS, **SMALL)
        with pytest.raises(ecofed.ModelError, match=r"give numbers of shape \(2, 4, 8, 8\)"):
            ecofed.plan(None, model=nn.Sequential(*network()[:-2], nn.Conv2d(4, 4, 1)), data=ARRAYS, **SMALL)

    def test_a_network_that_was_trained_is_told_that_it_starts_anew(self) -> None:
        trained = network()
        trained(torch.zeros(2, 1, 32, 32))
        with pytest.raises(ecofed.Notice, match="the layers of Sequential are used; its weights are drawn anew"):
            ecofed.run(model=trained, data=ARRAYS, **SMALL)

    def test_another_network_has_another_name(self) -> None:
        assert given_models.give_module(network()) == given_models.give_module(network())
        assert given_models.give_module(network()) != given_models.give_module(network(3))


class TestWrongTypes:
    @pytest.mark.parametrize("settings", [5, {"rounds": 1}, None.__class__])
    def test_settings(self, settings: Any) -> None:
        with pytest.raises(ecofed.ConfigError, match="settings: must be a preset's name, a TOML file, Settings"):
            ecofed.run(settings)

    def test_an_observer(self) -> None:
        wrong: Any = 5
        with pytest.raises(ecofed.ConfigError, match="observer: int has no method started"):
            ecofed.run(model=network(), data=ARRAYS, observer=wrong, **SMALL)

    @pytest.mark.parametrize("wrong", [5, ecofed.SilentObserver])
    def test_nothing_is_forgotten_before_an_observer_is_refused(self, wrong: Any, tmp_path: Path) -> None:
        silent = ecofed.SilentObserver()
        ecofed.run(model=network(), data=ARRAYS, out=tmp_path / "a", keep_buffer=True, observer=silent, **SMALL)
        before = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}
        with pytest.raises(ecofed.ConfigError, match=r"observer: (int has no method|SilentObserver is a class)"):
            ecofed.forget(tmp_path / "a", [0], observer=wrong)
        assert {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()} == before

    @pytest.mark.parametrize(
        ("wrong", "told"),
        [
            (None, "must be a path, as text or pathlib.Path, not NoneType"),
            (b"a", "must be a path, as text or pathlib.Path, not bytes"),
            (" ", "is empty; name a file or a folder"),
            ("x" * 5000, "no file has a name as long as 'xxx"),
            ("a\0b", "cannot be the name of a file"),
        ],
    )
    @pytest.mark.parametrize(
        "ask",
        [
            *(ecofed.load, ecofed.evaluate, ecofed.load_model, ecofed.retrain, lambda path: ecofed.forget(path, [0])),
            *(lambda path: ecofed.predict(path, "a.png"), lambda path: ecofed.predict("a.onnx", [path])),
            *(lambda path: ecofed.tune(path, out="b"), lambda path: ecofed.update(path, out="b")),
        ],
    )
    def test_a_path(self, ask: Any, wrong: Any, told: str) -> None:
        with pytest.raises(ecofed.EcoFedError, match=rf"^(source|folder|model|path|images): .*{told}|images: must be"):
            ask(wrong)

    def test_a_path_is_a_name_of_data_and_other_things_are_none(self, tmp_path: Path) -> None:
        for name in ("a/1.png", "b/2.png"):
            (tmp_path / "train" / name).parent.mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / "train" / name)
        assert ecofed.load_dataset(tmp_path).classes == ("a", "b")
        wrong: Any = 5
        with pytest.raises(ecofed.DataError, match="name: must be the name of a data set or a path, not int"):
            ecofed.load_dataset(wrong)

    def test_other_arguments(self, tmp_path: Path) -> None:
        wrong: Any = 5
        with pytest.raises(ecofed.ConfigError, match=r"devices: must be the numbers of devices, as \[3\], not int"):
            ecofed.forget(tmp_path, wrong)
        with pytest.raises(ecofed.ConfigError, match="trackers: must be names, as 'mlflow', not int"):
            ecofed.tracked(wrong)
        with pytest.raises(ecofed.ModelError, match=r"a network must be a torch\.nn\.Module, not int"):
            ecofed.partition(wrong, "0")
        with pytest.raises(ecofed.ModelError, match="a layer must be named by text, such as '0', not int"):
            ecofed.partition(network(), wrong)

    @pytest.mark.parametrize(
        ("part", "whole", "told"),
        [
            ({"images_NHWC": np.zeros((8, 32, 32, 1))}, {}, "has images of float64 and shape"),
            ({"labels_N": np.arange(8) + 3}, {}, "has labels of 0 to 10, for 10 classes"),
            ({"labels_N": np.arange(8) - 1}, {}, "has labels of -1 to 6, for 10 classes"),
            ({"labels_N": np.arange(7)}, {}, "has 8 images and 7 labels"),
            ({}, {"classes": ("a",) * 10}, "two of its classes have the same name"),
            ({}, {"mean": (0.5,) * 3}, "mean and std need one number for each of the 1 channels"),
            ({}, {"train": None}, "must be an ImageSet, as ecofed.load_dataset has it, not NoneType"),
        ],
    )
    def test_a_data_set_that_was_changed(self, part: dict[str, Any], whole: dict[str, Any], told: str) -> None:
        digits = ecofed.load_dataset("digits")
        few = {"images_NHWC": digits.train.images_NHWC[:8], "labels_N": np.arange(8)} | part
        changed = replace(digits, **({"train": replace(digits.train, **few)} | whole))
        with pytest.raises(ecofed.DataError, match=f"^data: .*{told}"):
            ecofed.run(data=changed, **SMALL)

    def test_pictures_without_pixels(self) -> None:
        empty = (np.zeros((4, 0, 3, 3), np.uint8), np.arange(4) % 2)
        with pytest.raises(ecofed.DataError, match=r"images of shape \(4, 0, 3, 3\): without any pixels"):
            ecofed.run(data=(empty, empty), **SMALL)

    @pytest.mark.parametrize("images", [np.zeros((2, 32, 32, 3), np.uint8), 5, [np.zeros(3)]])
    def test_images_to_predict(self, images: Any, tmp_path: Path) -> None:
        with pytest.raises(ecofed.DataError, match=r"images: must be files or folders of pictures, not \w+; "):
            ecofed.predict(tmp_path, images)

    @pytest.mark.parametrize("layer", [nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d()])
    def test_lazy_layers(self, layer: nn.Module) -> None:
        with pytest.raises(ecofed.ModelError, match=f"the sizes of its {type(layer).__name__} are not known yet"):
            ecofed.run(model=nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)), data=ARRAYS, **SMALL)

    def test_a_network(self, tmp_path: Path) -> None:
        wrong: Any = "vgg11"
        with pytest.raises(ecofed.ModelError, match=r"must be a torch\.nn\.Module, not str"):
            ecofed.load_model(tmp_path, network=wrong)

    @pytest.mark.parametrize("methods", [5, [], [5], {"ecofed"}])
    def test_methods(self, methods: Any) -> None:
        with pytest.raises(ecofed.ConfigError, match=r"methods = .*: must be a method's name, or a list of them"):
            ecofed.compare(methods=methods)

    @pytest.mark.parametrize("seeds", [3, "01", [1.5], [True], b"1"])
    def test_seeds(self, seeds: Any, tmp_path: Path) -> None:
        for out in (None, tmp_path / "runs"):
            with pytest.raises(ecofed.ConfigError, match=r"seeds = .*: must be a list of whole numbers, such as"):
                ecofed.compare("quickstart", "closed-form", seeds=seeds, out=out, data__name="digits")
        assert not (tmp_path / "runs").exists()

    def test_a_method_that_could_not_run_is_refused_before_the_first_one_has(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*_: object, **__: object) -> None:
            pytest.fail("something was trained")

        monkeypatch.setattr(ecofed.api.experiment, "run", never)
        for key, value in {"privacy__epsilon": 8, "validation__fraction": 0.1}.items():
            with pytest.raises(ecofed.ConfigError, match="of classic-fl"):
                ecofed.compare("quickstart", ["ecofed", "classic-fl"], data__name="digits", **{key: value})


class TestWithoutEffect:
    @pytest.mark.parametrize("how", ["resume", "overwrite"])
    def test_a_folder_to_continue_must_be_named(self, how: str) -> None:
        options: dict[str, Any] = {how: True}
        with pytest.raises(ecofed.ConfigError, match="are about a folder: say which with out"):
            ecofed.run(model=network(), data=ARRAYS, **options, **SMALL)

    def test_a_method_is_compared_once(self) -> None:
        with pytest.raises(ecofed.ConfigError, match="methods names 'ecofed' twice"):
            ecofed.compare("quickstart", ["ecofed", "ecofed"])

    def test_a_quorum_that_no_round_can_reach_is_noted(self) -> None:
        quiet = ecofed.SilentObserver()
        keys: dict[str, Any] = SMALL | {"method": "classic-fl"}
        result = ecofed.run(model=network(), data=ARRAYS, quorum=3, observer=quiet, **keys)
        assert "quorum = 3: a round asks 2 devices (sampled_devices), and needs no more than those" in result.notes
        assert ecofed.run(model=network(), data=ARRAYS, quorum=2, observer=quiet, **keys).notes == []


class TestProgress:
    def test_a_line_at_times_and_one_at_the_end(
        self, both: Comparison, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        result = both.results[0]
        record = result.rounds[0]
        lines = observing.ProgressLines()
        lines.started(Config(method="classic-fl", rounds=3), [])
        lines.round_finished(record, 3)
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(observing, "LINE_SECONDS", 0.0)
        lines.round_finished(record, 3)
        lines.finished(result)
        said = capsys.readouterr().err.splitlines()
        assert said[0].startswith(f"classic-fl: round 1 of 3, accuracy {record.test_accuracy:.3f}, ")
        assert said[0].endswith(" s left")
        assert said[1].startswith("classic-fl: accuracy ")

    def test_in_a_notebook_it_is_output_and_no_error(
        self, both: Comparison, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "ipykernel", sys)
        observing.ProgressLines().finished(both.results[1])
        captured = capsys.readouterr()
        assert (captured.out[:8], captured.err) == ("ecofed: ", "")

    def test_notes_are_warnings_where_the_caller_is(self) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            observing.ProgressLines().note("a remark")
        assert [(str(one.message), one.category, one.filename) for one in caught] == [
            ("a remark", ecofed.Notice, __file__)
        ]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.seen.append(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


class TestShown:
    def test_many_names_stay_in_the_picture(self) -> None:
        drawn = notebook._labels([(240.0, f"method-{number} with settings", "#000000") for number in range(9)], 10)
        places = [float(part.partition("cy='")[2].partition("'")[0]) for part in drawn if "circle" in part]
        assert len(places) == 9
        assert max(places) < 260
        assert min(later - before for before, later in pairwise(places)) >= 16
        assert "method-0 with setti…" in drawn[1]

    def test_one_line_a_run(self, both: Comparison) -> None:
        one, two = both.results
        assert repr(one) == (
            f"<RunResult classic-fl: accuracy {one.totals.final_test_accuracy:.3f}, {one.total_bytes / 1e6:.2f} MB, "
            "1 rounds, arrays given in Python>"
        )
        assert repr(both) == f"<Comparison\n  {one!r}\n  {two!r}>"

    @pytest.mark.ci
    @pytest.mark.parametrize("name", ["load", "run"])
    def test_who_has_a_result_can_show_it(self, name: str) -> None:
        """Whatever this file imports: in a process of its own, nothing but the public names."""
        code = f"import ecofed, sys; ecofed.{name}; print(sorted(n for n in sys.modules if n.endswith('.notebook')))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "['ecofed.reports.notebook']\n"

    def test_a_notebook_has_table_and_curve_and_needs_no_matplotlib(
        self, both: Comparison, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        html = both._repr_html_()
        assert html is not None
        tags = _Tags()
        tags.feed(html)
        assert tags.open == []
        assert tags.seen.count("table") == tags.seen.count("svg") == 1
        assert html.count(">classic-fl</text>") == html.count(">ecofed</text>") == 1
        assert "<script" not in html
        single = both.results[0]._repr_html_()
        assert single is not None
        assert ">classic-fl</text>" in single
        assert ">ecofed</text>" not in single

    def test_what_a_result_holds_is_text(self, both: Comparison) -> None:
        strange = ecofed.RunResult.from_dict(both.results[0].to_dict() | {"method": "<b>me</b>"})
        assert "&lt;b&gt;me&lt;/b&gt;" in str(strange._repr_html_())
        assert "<b>me" not in str(strange._repr_html_())
