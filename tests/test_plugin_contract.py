"""Methods of one's own that are not quite what a method has to be: one line that says what, where, and what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ecofed
from ecofed.config import Settings, registry
from ecofed.config.problem import ModelConfig
from ecofed.config.schema import all_methods
from ecofed.costs.forecast import Forecast
from ecofed.costs.steps import Stop, check_step, steps_of
from ecofed.devices.answering import Answering, side_of
from ecofed.errors import ConfigError, DeviceError, EcoFedError, WireError
from ecofed.methods import METHOD_CLASSES, method_class
from ecofed.methods.base import RoundOutcome
from ecofed.methods.loop import _outcome
from ecofed.models import build_model
from ecofed.runs import timekeeping
from ecofed.wire import Acknowledge, Failure, Message, decode, encode, speak

FEDPROX = (Path(__file__).parents[1] / "examples" / "fedprox.py").read_text(encoding="utf-8")
NAME = 'name = "fedprox"'
SMALL = [
    *("data.name=digits", "model.name=lenet", "model.width=0.2", "rounds=1", "devices=2", "sampled_devices=2"),
    *("data.samples_per_device=20", "initialisation=random", "test_samples=20", "method=fedprox"),
]


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    with registry.only_here():
        yield
    sys.modules.pop("spoilt", None)
    speak([])


def load(tmp_path: Path, *changes: tuple[str, str]) -> Any:
    """The example with something in it that is not as it should be; its class."""
    text = FEDPROX
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "spoilt.py").write_text(text, encoding="utf-8")
    ecofed.load_plugin(tmp_path / "spoilt.py")
    return registry.methods()[all_methods()[-1]].cls


class TestNames:
    @pytest.mark.parametrize("name", ["plugins", "methods", "paper", "none", "own", "data", "batch-size"])
    def test_a_word_that_means_something_else_is_taken(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ConfigError, match=rf"spoilt\.py: method '{name}': the name is taken; choose another"):
            load(tmp_path, (NAME, f'name = "{name}"'))

    @pytest.mark.parametrize("name", ["-x", "-", "Prox", "prox:2"])
    def test_what_would_be_an_option_is_none(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ConfigError, match=f"method '{name}': a name is lower-case letters, digits and dashes"):
            load(tmp_path, (NAME, f'name = "{name}"'))

    def test_a_key_may_have_the_name_of_the_section_in_which_methods_are_kept(self, tmp_path: Path) -> None:
        load(tmp_path, ("mu: float = 0.01", "own: int = 3\n        mu: float = 0.01"))
        config = Settings.load(None, [*SMALL, "fedprox.own=4"]).for_method("fedprox")
        assert type(config).from_dict(config.to_dict()).of_method("fedprox").own == 4


FROZEN = "@dataclass(frozen=True, kw_only=True)"
CARRIED = "mu: float = carried(Real())"
BOTH = "(TrainNear, TrainedNear)\n"
TRAIN = '{TrainNear: "train"}'
DEVICE = '"""The device\'s side."""'
MODEL = "model = self.whole"
IMPORTED = ("from ecofed.wire import ", "from ecofed.wire import Acknowledge, ")
ROUND = "    def train_round("
SPOILT = "SPOILT = lambda model: {name: tensor * float('nan') for name, tensor in model.state_dict().items()}"
YIELDS = "reply=TrainedNear, up=weights\n        )\n"


class TestWhatIsRegistered:
    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("mu: float = 0.01", "mu: float", r"Settings\.mu has no default; every key may be left out: give it one"),
            ("mu: float = 0.01", "mu: float = '0.01'", r"Settings\.mu = '0\.01' is str, and its type is float;"),
            ("mu: float = 0.01", "mu: int = 0.5", r"Settings\.mu = 0\.5 is float, and its type is int; make them"),
            ("mu: float = 0.01", "mu: list[int] = None", r"Settings\.mu is of a type that no configuration can say"),
            ("0 <= self.mu <= 1000", "0 <= self.nu", "Settings with its defaults ends in AttributeError: .*'nu'"),
            (ROUND, f"    Settings = Settings()\n\n{ROUND}", "Settings must be a frozen dataclass"),
            ("def visit(", "def other(", r"has no 'visit'; ecofed\.methods\.base\.Method says what that is"),
            ("@classmethod\n", "\n", r"visit must be a class method that takes \(config, work, stop\)"),
            ("self, round_: int, sampled", "self, sampled", r"train_round must take \(self, round_, sampled\)"),
            (BOTH, "(TrainedNear,)\n", "message TrainNear is missing in its 'messages'; name it there"),
            (BOTH, "(TrainNear)\n", "messages must be a tuple of message classes, such as"),
            (BOTH, "('TrainNear',)\n", r"messages has 'TrainNear', which is no subclass of ecofed\.wire\.Message"),
            (CARRIED, "mu: float", "message TrainNear does not say how 'mu' is written; make it a field with carried"),
            (f"{FROZEN}\nclass TrainNear", "class TrainNear", "message TrainNear must be a dataclass: @dataclass"),
            (TRAIN, '{TrainNear: "trian"}', "Near answers TrainNear with 'trian', which it does not .*mean 'train'"),
            (TRAIN, '{"TrainNear": "train"}', r"Near\.answers has 'TrainNear', which is no message class"),
            ("    answers: ClassVar", "    other: ClassVar", "Near has no 'answers', which map each request class"),
            (DEVICE, "def __init__(self) -> None: ...", r"the __init__ of Near must take \(task, data\)"),
            ("Device = Near", "Device = 3", "Device = 3: must be a class, or where it is, as 'module:Class'"),
        ],
    )
    def test_one_line(self, tmp_path: Path, old: str, new: str, said: str) -> None:
        with pytest.raises(ConfigError, match=rf"spoilt\.py: method 'fedprox': .*{said}"):
            load(tmp_path, (old, new))
        assert "fedprox" not in all_methods()

    def test_a_value_that_its_own_check_refuses_is_no_traceback(self, tmp_path: Path) -> None:
        load(tmp_path, ("raise ConfigError(", "raise ValueError("))
        with pytest.raises(ConfigError, match=r"^fedprox, with .*: fedprox\.mu = 2000\.0: must be in 0\.\.1000"):
            Settings.load(None, [*SMALL, "fedprox.mu=2000"])

    def test_a_place_with_no_such_class(self, tmp_path: Path) -> None:
        near = load(tmp_path, ("Device = Near", 'Device = "spoilt:Near"')).messages[0].__module__
        assert side_of("fedprox").__module__ == near
        for place in ("no.such:X", "ecofed.nope:X", "ecofed.devices:X", "ecofed", ""):
            registry.methods()["fedprox"].cls.Device = place
            said = rf"^method 'fedprox' of the plug-in spoilt\.py: Device = '{place}': there is no such class; say"
            with pytest.raises(ConfigError, match=said):
                side_of("fedprox")

    def test_of_facts_alone_nobody_can_be_trained(self, tmp_path: Path) -> None:
        told = "import ecofed\nfrom ecofed.config.facts import Facts\n@ecofed.register\nclass A(Facts): name = 'told'\n"
        (tmp_path / "spoilt.py").write_text(told, encoding="utf-8")
        ecofed.load_plugin(tmp_path / "spoilt.py")
        said = r"^method 'told' of the plug-in spoilt\.py: must be a subclass of ecofed\.methods\.Method"
        with pytest.raises(ConfigError, match=said):
            method_class("told")

    def test_a_built_in_message_keeps_its_number(self, tmp_path: Path) -> None:
        cls = load(tmp_path, IMPORTED, (BOTH, "(TrainNear, Acknowledge, TrainedNear)\n"))
        assert [message.number for message in cls.messages] == [128, 2, 130]

    @pytest.mark.parametrize("messages", ["FedProx.messages[::-1]", "(Acknowledge, *FedProx.messages)"])
    def test_a_message_of_two_methods_has_one_place(self, tmp_path: Path, messages: str) -> None:
        second = f"{YIELDS}\n\n@ecofed.register\nclass Second(FedProx):\n    name, messages = 'second', {messages}\n"
        said = r"'second': message Train.*Near has place \d in the messages of 'fedprox'; give it the same here"
        with pytest.raises(ConfigError, match=said):
            load(tmp_path, IMPORTED, (YIELDS, second))


DOWN = 'down={"weights": work.whole.tensors}'
WORK: Any = SimpleNamespace(whole=SimpleNamespace(tensors={"a": (2,)}, parameters={"a": (2,)}))


class TestVisits:
    @pytest.mark.parametrize(
        ("new", "said"),
        [
            (
                'down={"wieghts": work.whole.tensors}',
                "'down' of TrainNear, which has no field 'wieghts' .did you mean 'weights'.*round, mu, weights$",
            ),
            (
                "down={}",
                "'down' of TrainNear, which needs the size of its field 'weights': the shapes of its tensors by",
            ),
            ('down={"weights": 3}', "'down' of TrainNear, which needs the size of its field 'weights'"),
        ],
    )
    def test_fields_that_the_message_does_not_have(self, tmp_path: Path, new: str, said: str) -> None:
        script = load(tmp_path, (DOWN, new))
        config = Settings.load(None, SMALL).for_method("fedprox")
        with pytest.raises(ConfigError, match=rf"^method 'fedprox' of the plug-in spoilt\.py: .*{said}"):
            steps_of(script, config, WORK, Stop(samples=3))

    @pytest.mark.parametrize(
        ("kind", "said"),
        [
            ("labels", r"labels_leave_device is False, and TrainedNear\.samples carries labels; say labels_leave_dev"),
            ("images", r"images_leave_device is False, and TrainedNear\.samples carries images; say images_leave_dev"),
            ("wieghts", r"counts 'samples' as 'wieghts', which the ledger does not have .did you mean 'weights'"),
        ],
    )
    def test_what_a_reply_carries_is_what_tables_say(self, tmp_path: Path, kind: str, said: str) -> None:
        script = load(tmp_path, ("samples: int = carried(UInt())", f"samples: int = carried(UInt('{kind}'))"))
        config = Settings.load(None, SMALL).for_method("fedprox")
        with pytest.raises(ConfigError, match=rf"^method 'fedprox' of the plug-in spoilt\.py: .*{said}"):
            steps_of(script, config, WORK, Stop(samples=3))

    def test_none_at_all(self, tmp_path: Path) -> None:
        script = load(tmp_path, ("        yield Step(", "        if stop.samples > 3:\n            yield Step("))
        config = Settings.load(None, SMALL).for_method("fedprox")
        forecast = Forecast(script, config, WORK, [3, 3])
        with pytest.raises(ConfigError, match=r"spoilt\.py: visit yields no Step for a device that is asked"):
            forecast._content(Stop(samples=3))

    def test_what_is_no_step(self, tmp_path: Path) -> None:
        script = load(tmp_path, ("yield Step(", "return Step("))
        config = Settings.load(None, SMALL).for_method("fedprox")
        with pytest.raises(ConfigError, match=r"spoilt\.py: visit returned Step; it must yield each Step"):
            steps_of(script, config, WORK, Stop(samples=3))
        with pytest.raises(ConfigError, match="visit yields None; it must yield each Step"):
            check_step("fedprox", None)

    def test_a_message_that_is_not_named(self, tmp_path: Path) -> None:
        script = load(tmp_path, (BOTH, "(TrainNear,)\n"))
        config = Settings.load(None, SMALL).for_method("fedprox")
        with pytest.raises(ConfigError, match=r"spoilt\.py: message TrainedNear is missing in its 'messages'; name it"):
            steps_of(script, config, WORK, Stop(samples=3))

    def test_they_are_asked_for_before_the_first_round(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        load(tmp_path, (DOWN, 'down={"wieghts": {}}'))
        monkeypatch.setattr(timekeeping, "counted_network", lambda *_: None)
        monkeypatch.setattr(timekeeping, "build_workload", lambda *_, **__: WORK)
        config = Settings.load(None, SMALL).for_method("fedprox")
        task = SimpleNamespace(config=config, in_channels=1, classes=10)
        prepared: Any = SimpleNamespace(
            task=task, halves=SimpleNamespace(layer="block2"), bundle=1, early=[], parts=[[1]]
        )
        with pytest.raises(ConfigError, match="has no field 'wieghts'"):
            timekeeping.clock_of(prepared)


def device_of(cls: Any) -> Answering:
    """A device without images, of which nothing is asked but the method's own requests."""
    task: Any = SimpleNamespace(config=SimpleNamespace(method=cls.name))
    data: Any = SimpleNamespace(protection=SimpleNamespace(refusal=""))
    return Answering(task, data, cls.Device(task, data), None)


class TestWhatIsReturned:
    @pytest.mark.parametrize(("returned", "told"), [(None, "None"), (3.5, "float")])
    def test_of_a_round(self, tmp_path: Path, returned: object, told: str) -> None:
        load(tmp_path)
        config = SimpleNamespace(method="fedprox")
        method: Any = SimpleNamespace(config=config, train_round=lambda *_: returned)
        said = rf"^method 'fedprox' of the plug-in spoilt\.py: train_round returned {told}; it must return a RoundOut"
        with pytest.raises(ConfigError, match=said):
            _outcome(method, 1, [0])

    @pytest.mark.parametrize(
        ("outcome", "said"),
        [
            ({"train_loss": np.float32(1)}, "whose train_loss is float32; it must be float"),
            ({"train_loss": "low"}, "whose train_loss is str; it must be float"),
            ({"trained": 1}, "whose trained is int; it must be True, False or None"),
            ({"server_steps": -1}, "whose server_steps is -1; it must be a whole number, 0 or more"),
            ({"notes": "hello"}, "whose notes are str; they must be a list of texts"),
        ],
    )
    def test_what_no_record_can_hold(self, tmp_path: Path, outcome: Any, said: str) -> None:
        load(tmp_path)
        config = SimpleNamespace(method="fedprox")
        method: Any = SimpleNamespace(config=config, train_round=lambda *_: RoundOutcome(**outcome))
        with pytest.raises(ConfigError, match=rf"spoilt\.py: train_round returned a RoundOutcome {said}"):
            _outcome(method, 1, [0])

    def test_a_loss_or_a_network_that_is_not_a_number_ends_the_run(self, tmp_path: Path) -> None:
        config = SimpleNamespace(method="fedprox")
        method: Any = SimpleNamespace(config=config, train_round=lambda *_: RoundOutcome(train_loss=float("nan")))
        with pytest.raises(DeviceError, match="the loss is not finite"):
            _outcome(method, 1, [0])
        load(
            tmp_path,
            ("load_arrays(self.model, average.result())", "self.model.load_state_dict(SPOILT(self.model))"),
            ("@dataclass(frozen=True, kw_only=True)\nclass TrainNear", f"{SPOILT}\n\n{FROZEN}\nclass TrainNear"),
        )
        with pytest.raises(DeviceError, match=r"the network's '.*' has entries that are not finite numbers"):
            ecofed.run(Settings.load(None, SMALL))

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ("[*sampled, 0]", "device 0 twice in one visit; name each once"),
            ("[7]", "device 7, and they are 0 to 1;"),
        ],
    )
    def test_devices_that_cannot_be_asked_so(self, tmp_path: Path, asked: str, said: str) -> None:
        load(tmp_path, ("broadcast(sampled,", f"broadcast({asked},"))
        with pytest.raises(ConfigError, match=rf"^method 'fedprox' of the plug-in spoilt\.py: train_round asks {said}"):
            ecofed.run(Settings.load(None, SMALL))

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            ({"samples": 2.5}, "samples: a whole number is needed, not 2.5"),
            ({"samples": None}, "samples: a whole number is needed, not NoneType"),
            ({"loss": "low"}, "loss: a number is needed, not 'low'"),
            ({"loss": 1e39}, "loss: number 1e.39 is too large for 32 bits"),
            ({"weights": [1]}, "weights: tensors by name are needed, not list"),
        ],
    )
    def test_a_value_that_cannot_be_written(self, tmp_path: Path, answer: Any, said: str) -> None:
        cls = load(tmp_path)
        speak(cls.messages)
        with pytest.raises(WireError, match=f"TrainedNear.{said}"):
            encode(cls.messages[1](**({"round": 1, "samples": 1, "loss": 1.0, "weights": {}} | answer)))

    @pytest.mark.parametrize(
        ("returned", "said"),
        [
            ("None", "its device answers TrainNear with None; it must return a message"),
            ("{}", "its device answers TrainNear with dict; it must return a message"),
            ("Other(round=1, mu=0.1, weights={})", "message Other is missing in its 'messages'; name it there"),
        ],
    )
    def test_of_a_device(self, tmp_path: Path, returned: str, said: str) -> None:
        other = f"class Other(TrainNear): ...\n\n\n{FROZEN}\nclass TrainedNear"
        cls = load(tmp_path, (MODEL, f"return {returned}"), (f"{FROZEN}\nclass TrainedNear", other))
        speak(cls.messages)
        reply, _ = decode(device_of(cls).handle(encode(cls.messages[0](round=1, mu=0.1, weights={})).data))
        assert reply == Failure(reason=f"method 'fedprox' of the plug-in spoilt.py: {said}")

    def test_its_own_faults_keep_their_traceback(self, tmp_path: Path) -> None:
        cls = load(tmp_path, (MODEL, "raise KeyError('mine')"))
        speak(cls.messages)
        with pytest.raises(KeyError, match="mine"):
            device_of(cls).handle(encode(cls.messages[0](round=1, mu=0.1, weights={})).data)

    def test_a_message_without_a_number_is_not_written(self) -> None:
        class Mine(Acknowledge):
            pass

        with pytest.raises(WireError, match="message Mine is missing in the 'messages' of its plug-in's method"):
            encode(Mine(round=1))
        assert "number" in vars(Message)

    def test_of_a_networks_function(self, tmp_path: Path) -> None:
        text = "import ecofed\n@ecofed.register_network('empty', cut='a')\ndef empty(*_): ...\n"
        (tmp_path / "spoilt.py").write_text(text, encoding="utf-8")
        ecofed.load_plugin(tmp_path / "spoilt.py")
        said = (
            r"network 'empty' of the plug-in spoilt\.py: its function returned None; it must return a torch\.nn\.Module"
        )
        with pytest.raises(ConfigError, match=said):
            build_model(ModelConfig(name="empty"), in_channels=1, classes=10, normalisation="frozen")


@pytest.mark.parametrize("method", METHOD_CLASSES)
def test_the_built_in_methods_keep_it(method: str) -> None:
    registry.check_program(method, METHOD_CLASSES[method])
    registry.check_side_of(method, side_of(method))
    assert np.all([registry.not_listed(request, ()) == "" for request in side_of(method).answers])


def test_a_device_that_counts_otherwise_is_named_where_a_run_ends(tmp_path: Path) -> None:
    load(tmp_path, ("samples=len(self.data)", "samples=len(self.data) - 1"))
    with pytest.raises(EcoFedError, match=r"answered, 1 are needed; device 0: 19 samples where this device has 20\)$"):
        ecofed.run(Settings.load(None, SMALL), observer=ecofed.SilentObserver())
