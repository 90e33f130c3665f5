"""Methods and networks of one's own, through the one door."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import ecofed
from ecofed.cli import main
from ecofed.config import Config, Settings, registry
from ecofed.config.keys import configuration_keys
from ecofed.config.methods import BUILT_IN
from ecofed.config.schema import BUILT_IN_NETWORKS, all_keys, all_methods
from ecofed.errors import ConfigError, WireError
from ecofed.methods import METHOD_CLASSES, ClassicFL
from ecofed.models import MODELS
from ecofed.planning.planner import plan
from ecofed.reports.theme import styles
from ecofed.results import Comparison, RunResult
from ecofed.runs.without_effect import without_effect
from ecofed.wire import decode, encode, speak

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = [
    *("data.name=digits", "model.name=lenet", "model.width=0.5", "rounds=2", "devices=4", "sampled_devices=2"),
    *("data.samples_per_device=50", "initialisation=random", "test_samples=50"),
]


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    with registry.only_here():
        yield
    speak([])


@pytest.fixture
def fedprox() -> registry.Origin:
    return ecofed.load_plugin(EXAMPLES / "fedprox.py")


def settings(*sets: str) -> Settings:
    return Settings.load(None, [*SMALL, *sets])


def losses(result: RunResult) -> list[float | None]:
    return [record.train_loss for record in result.rounds]


@pytest.mark.usefixtures("fedprox")
class TestAMethodInOneFile:
    def test_it_is_known_everywhere_by_name(self) -> None:
        assert all_methods()[-1] == "fedprox"
        assert "fedprox.mu" in all_keys()
        (key,) = (key for key in configuration_keys() if key.key == "fedprox.mu")
        assert (key.type, key.default, key.doc.split()[0]) == ("number", 0.01, "Strength")
        assert settings("fedprox.mu=0.5").for_method("fedprox").of_method("fedprox").mu == 0.5
        assert settings("fedprox.learning_rate=0.5").for_method("fedprox").learning_rate == 0.5

    def test_others_do_not_change_by_its_being_there(self) -> None:
        with_it = settings("fedprox.mu=0.5").for_method("ecofed").to_dict()
        with registry.only_here():
            registry._methods.clear()
            registry._changed()
            assert settings().for_method("ecofed").to_dict() == with_it

    @pytest.mark.parametrize(
        ("pair", "said"),
        [
            ("fedprox.mu=-1", "fedprox.mu = -1.0: must be in 0..1000"),
            ("fedprox.mu=much", "fedprox.mu = 'much': must be a number"),
            ("fedprox.nu=1", "unknown key 'fedprox.nu' .did you mean 'fedprox.mu'"),
            ("fedprox=1", "is a section; set one of its keys, such as fedprox.mu"),
            ("method=fedprux", "method = 'fedprux': must be .*did you mean 'fedprox'"),
        ],
    )
    def test_bad_settings(self, pair: str, said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            settings(pair)

    @pytest.mark.ci
    def test_without_pull_it_is_classic_fl(self) -> None:
        """The same losses and weights to the last bit; the pull changes them."""
        classic = ecofed.run(settings().for_method("classic-fl"))
        free = ecofed.run(settings("fedprox.mu=0").for_method("fedprox"))
        pulled = ecofed.run(settings("fedprox.mu=10").for_method("fedprox"))
        assert losses(free) == losses(classic)
        assert losses(pulled) != losses(classic)
        assert free.totals.final_test_accuracy == classic.totals.final_test_accuracy
        # One number more in every request: mu.
        assert free.totals.downlink_bytes - classic.totals.downlink_bytes == 2 * 2 * 4
        assert free.totals.uplink_bytes == classic.totals.uplink_bytes
        assert not free.labels_leave_device

    @pytest.mark.ci
    def test_forecast_and_simulated_time(self) -> None:
        (row,) = plan(settings("fedprox.mu=0.1"), ["fedprox"]).at_cut
        result = ecofed.run(settings("fedprox.mu=0.1").for_method("fedprox"))
        (classic,) = plan(settings(), ["classic-fl"]).at_cut
        assert row.total_uplink_bytes + row.total_downlink_bytes == result.total_bytes
        assert row.device_flops == classic.device_flops > 0
        of_classic = ecofed.run(settings().for_method("classic-fl")).totals.simulated_seconds
        assert result.totals.simulated_seconds == pytest.approx(of_classic, rel=1e-3)

    @pytest.mark.ci
    def test_in_processes_it_is_the_same(self) -> None:
        few = ("devices=2", "rounds=1")
        here = ecofed.run(settings(*few).for_method("fedprox"))
        there = ecofed.run(settings(*few, "runtime=processes").for_method("fedprox"))
        assert losses(there) == losses(here)
        assert there.ledger == here.ledger

    @pytest.mark.ci
    def test_reports_have_its_colour(self, tmp_path: Path) -> None:
        comparison = ecofed.compare(settings(), ["classic-fl", "fedprox"], out=tmp_path)
        style = styles(comparison.groups())
        assert (style["fedprox"].colour, style["fedprox"].marker) == ("#7a4a12", "h")
        assert "fedprox" in (tmp_path / "report.html").read_text(encoding="utf-8")

    @pytest.mark.ci
    def test_it_resumes_with_the_losses_of_one_run(self, tmp_path: Path) -> None:
        whole = ecofed.run(settings("rounds=3").for_method("fedprox"))

        class Stops:
            def started(self, *_: object) -> None: ...
            def note(self, _: str) -> None: ...
            def finished(self, _: RunResult) -> None: ...
            def round_finished(self, record: object, _: int) -> None:
                if record.round == 2:  # type: ignore[attr-defined]
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            ecofed.run(settings("rounds=3").for_method("fedprox"), out=tmp_path, observer=Stops())
        resumed = ecofed.run(settings("rounds=3").for_method("fedprox"), out=tmp_path, resume=True)
        assert losses(resumed) == losses(whole)

    def test_its_messages_are_known_in_its_own_runs_only(self) -> None:
        cls = registry.methods()["fedprox"].cls
        request = cls.messages[0](round=1, mu=0.5, weights={"a": np.ones(2, np.float32)})
        assert request.number == 128
        data = encode(request).data
        with pytest.raises(WireError, match="unknown message number 128"):
            decode(data)
        speak(cls.messages)
        assert decode(data)[0].mu == 0.5  # type: ignore[attr-defined]
        ecofed.run(settings().for_method("classic-fl"))
        with pytest.raises(WireError, match="unknown message number 128"):
            decode(data)


def test_a_variant_of_a_built_in_method_uses_its_side_on_devices() -> None:
    @ecofed.register
    class Twin(ClassicFL):
        name = "twin"

    of_classic, of_twin = (ecofed.run(settings("rounds=1").for_method(name)) for name in ("classic-fl", "twin"))
    assert losses(of_twin) == losses(of_classic)
    assert of_twin.ledger == of_classic.ledger
    # Its section is that of the method that it varies; a general key is meant for one of them alone.
    assert not [key for key in all_keys() if key.startswith("twin.")]
    sets = settings("classic-fl.schedule=cosine", "classic-fl.momentum=0.5", "twin.learning_rate=0.1")
    (line,) = without_effect(sets, ["twin"], one=False)
    assert line == "classic-fl.momentum=0.5 changes nothing: classic-fl is not trained here, twin is"


class TestWhatARunKeeps:
    @pytest.mark.ci
    def test_plugin_and_digest_are_recorded_and_asked_for(self, tmp_path: Path, fedprox: registry.Origin) -> None:
        ecofed.run(settings("fedprox.mu=0.5").for_method("fedprox"), out=tmp_path)
        config = json.loads((tmp_path / "result.json").read_text())["config"]
        assert config["plugins"] == [{"plugin": "fedprox.py", "version": "", "digest": fedprox.digest}]
        assert config["fedprox"] == {"mu": 0.5}
        before = ecofed.evaluate(tmp_path)
        with registry.only_here():
            registry._methods.clear()
            registry._changed()
            for ask in (lambda: ecofed.evaluate(tmp_path), lambda: Config.from_dict(config)):
                with pytest.raises(
                    ecofed.EcoFedError, match=r"made with the plug-in fedprox\.py: load it with --plugin"
                ):
                    ask()
            assert ecofed.load(tmp_path).method == "fedprox"  # figures can be looked at all the same
        assert ecofed.evaluate(tmp_path) == before

    def test_another_version_of_it_is_refused(self, tmp_path: Path, fedprox: registry.Origin) -> None:
        config = settings().for_method("fedprox").to_dict()
        registry._methods.clear()
        registry._loaded.clear()
        edited = tmp_path / "fedprox.py"
        edited.write_text((EXAMPLES / "fedprox.py").read_text() + "# mended\n")
        ecofed.load_plugin(edited)
        with pytest.raises(
            ConfigError, match=rf"another version of the plug-in fedprox\.py \(digest {fedprox.digest[:8]}"
        ):
            Config.from_dict(config)


class TestNetworks:
    @pytest.mark.ci
    def test_a_network_from_the_command_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["--plugin", str(EXAMPLES / "small_network.py"), "--out", str(tmp_path / "run")]
        pairs = [word for pair in SMALL if "model.name" not in pair for word in ("--set", pair)]
        monkeypatch.setattr(sys, "argv", ["ecofed", "run", "--set", "model.name=two-blocks", *pairs, *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0, capsys.readouterr().err
        monkeypatch.setattr(sys, "argv", ["ecofed", "evaluate", str(tmp_path / "run"), *words[:2]])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0, capsys.readouterr().err
        model = ecofed.load_model(tmp_path / "run")
        assert model.task.config.model.name == "two-blocks"
        assert [row.method for row in plan(settings("model.name=two-blocks"), ["ecofed"]).at_cut] == ["ecofed"]

    def test_built_in_methods_are_declared_and_programmed(self) -> None:
        assert list(METHOD_CLASSES) == list(BUILT_IN)
        for name, program in METHOD_CLASSES.items():
            assert issubclass(program, BUILT_IN[name])
        drawn = [(facts.colour, facts.dark_colour, facts.marker) for facts in BUILT_IN.values()]
        assert [len(set(column)) for column in zip(*drawn, strict=True)] == [len(BUILT_IN)] * 3

    def test_the_names_of_built_in_networks_are_those_that_nobody_may_take(self) -> None:
        assert tuple(MODELS) == BUILT_IN_NETWORKS

    def test_a_name_that_is_none_names_those_of_plugins_too(self) -> None:
        ecofed.load_plugin(EXAMPLES / "small_network.py")
        with pytest.raises(ConfigError, match=r"vgg11.*two-blocks .did you mean 'two-blocks'"):
            ecofed.run(settings("model.name=two-block"))


class TestBadPlugins:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("import nowhere_at_all", "cannot be imported .ModuleNotFoundError: No module named 'nowhere_at_all'"),
            ("1/0", "cannot be imported .ZeroDivisionError"),
            ("def (", "cannot be imported .SyntaxError"),
            ("import ecofed\n@ecofed.register\nclass A: name = 'ecofed'", "method 'ecofed': the name is taken"),
            ("import ecofed\n@ecofed.register\nclass A: name = 'model'", "method 'model': the name is taken"),
            ("import ecofed\n@ecofed.register\nclass A: name = 'A b'", "a name is lower-case letters"),
            ("import ecofed\n@ecofed.register\nclass A: pass", "method None: a name is"),
            (
                "import ecofed\n@ecofed.register\nclass A:\n name = 'a'\n class Settings: pass",
                "method 'a': Settings must be a frozen dataclass",
            ),
            (
                "import ecofed\n@ecofed.register\nclass A: name = 'a'",
                "method 'a': must be a subclass of ecofed.methods",
            ),
            (
                "import ecofed\n@ecofed.register_network('vgg11', cut='x')\ndef a(): pass",
                "network 'vgg11': the name",
            ),
            (
                "import ecofed\n@ecofed.register_network('Bad Name:x', cut='x')\ndef a(): pass",
                "network 'Bad Name:x': a name is lower-case letters",
            ),
            (
                "import ecofed\n@ecofed.register_network('a', cut='x')\ndef a(in_channels, classes): pass",
                r"network 'a': its function must take \(in_channels, classes, width, head_width\)",
            ),
        ],
    )
    def test_one_line(self, tmp_path: Path, text: str, said: str) -> None:
        file = tmp_path / "broken_plugin.py"
        file.write_text(text)
        with pytest.raises(ConfigError, match=rf"plug-in {re.escape(str(file))}: .*{said}"):
            ecofed.load_plugin(file)
        assert "broken_plugin" not in sys.modules

    def test_of_one_that_fails_half_way_nothing_stays(self, tmp_path: Path) -> None:
        file = tmp_path / "half_plugin.py"
        file.write_text((EXAMPLES / "fedprox.py").read_text() + "\n1/0\n")
        with pytest.raises(ConfigError, match="ZeroDivisionError"):
            ecofed.load_plugin(file)
        assert "fedprox" not in all_methods()
        with pytest.raises(ConfigError, match=r"unknown key 'fedprox\.mu'"):
            settings("fedprox.mu=1")

    @pytest.mark.parametrize(
        ("named", "said"),
        [("nowhere.py", "no such file"), ("no_such_module", "no such module, nor a file")],
    )
    def test_nothing_there(self, named: str, said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            ecofed.load_plugin(named)

    def test_on_the_command_line(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(sys, "argv", ["ecofed", "presets", "--plugin=nowhere.py"])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        assert capsys.readouterr().err == "error: plug-in nowhere.py: no such file\n"


def test_comparisons_may_hold_methods_that_nobody_knows_any_more(fedprox: registry.Origin) -> None:
    result = ecofed.run(settings().for_method("fedprox"))
    registry._methods.clear()
    registry._changed()
    assert fedprox.plugin == "fedprox.py"
    assert styles(Comparison(results=[result], command="").groups())["fedprox"].colour.startswith("#")


@pytest.mark.ci
@pytest.mark.parametrize("quality", [30])
def test_rivals_are_planned_with_the_bytes_that_they_send(quality: int) -> None:
    sets = ["test_samples=50", f"send-images.quality={quality}", "model.cut=block2", "rounds=4"]
    of_rivals = plan(settings(*sets), ["send-images", "closed-form"])
    jpeg, closed = of_rivals.at_cut
    assert [row.method for row in of_rivals.methods].count("send-images") == 1  # a cut means nothing to it
    sent = ecofed.run(settings(*sets).for_method("send-images"))
    assert jpeg.total_uplink_bytes == pytest.approx(sent.totals.uplink_bytes, rel=0.03)
    assert closed.total_uplink_bytes == ecofed.run(settings(*sets).for_method("closed-form")).totals.uplink_bytes
    assert any("what send-images sends depends on the images" in note for note in of_rivals.notes)
