"""A codec of one's own, through the one door."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ecofed
from ecofed.activations import CODECS, compress, decompress, make_codec
from ecofed.activations.codecs.promises import _problem, checked
from ecofed.cli import main
from ecofed.config import Config, Settings, registry
from ecofed.config.codecs import BUILT_IN_CODECS, codec_facts
from ecofed.errors import ConfigError, WireError
from ecofed.planning.planner import plan
from ecofed.runs.exporting import export_network
from ecofed.runs.prediction import OnnxNetwork

PLUGIN = Path(__file__).parents[1] / "examples" / "own_codec.py"
SHAPE = (3, 5, 4)
UPPER = np.array([0.5, 2.0, 100.0], np.float32)
KEYS: dict[str, Any] = {
    **{"data.name": "digits", "model.name": "lenet", "model.width": 0.5, "rounds": 1, "devices": 2},
    **{"sampled_devices": 2, "data.samples_per_device": 30, "initialisation": "random", "test_samples": 50},
    **{"codec.name": "root", "codec.bits": 3, "codec.entropy": "none"},
}
SMALL = [f"{key}={value}" for key, value in KEYS.items()]


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    with registry.only_here():
        yield


@pytest.fixture
def root() -> registry.Origin:
    return ecofed.load_plugin(PLUGIN)


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["ecofed", *words])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.mark.usefixtures("root")
class TestTheCodec:
    @pytest.mark.parametrize("bits", [2, 3, 8])
    def test_there_and_back(self, bits: int) -> None:
        codec = make_codec("root", bits, SHAPE, UPPER)
        h_NCHW = np.random.default_rng(0).exponential(0.3, (6, *SHAPE)).astype(np.float32)
        encoded = codec.encode(h_NCHW, 3)
        assert encoded.rows.shape == (6, codec.row_bytes)
        rows, _ = codec.open(encoded.rows.tobytes(), 6, encoded.scales, 3)
        wanted = np.clip(h_NCHW, 0, UPPER.reshape(-1, 1, 1))
        step = UPPER.reshape(-1, 1, 1) / ((1 << bits) - 1)
        assert (np.abs(codec.decode(rows) - wanted) <= step * 1.001).all()
        assert np.array_equal(codec.encode(codec.decode(rows), 3).rows, rows)
        packed = compress(rows.tobytes(), 6, codec, "range")
        assert decompress(packed, 6, codec, "range") == rows.tobytes()
        with pytest.raises(WireError, match="samples need"):
            codec.open(encoded.rows.tobytes()[:-1], 6, encoded.scales, 3)

    def test_its_bits_rule_and_its_limits(self) -> None:
        with pytest.raises(ConfigError, match=r"codec.bits = 1: the 'root' codec has 2, 3, 4, 5, 6, 7 or 8"):
            Settings.load(None, [*SMALL, "codec.bits=1"])
        with pytest.raises(ConfigError, match=r"'rooot' .did you mean 'root'..: choose from uniform, .*, root"):
            Settings.load(None, [*SMALL, "codec.name=rooot"])
        config = Settings.load(None, SMALL).for_method("ecofed")
        assert (config.codec.limit_bits, config.codec.exportable, config.codec.narrows) == (3, True, True)

    def test_the_forecast_is_the_ledger(self) -> None:
        settings = Settings.load(None, SMALL)
        (row,) = plan(settings, ["ecofed"]).at_cut
        result = ecofed.run(settings, method="ecofed", report=False, observer=ecofed.SilentObserver())
        assert row.total_uplink_bytes == result.totals.uplink_bytes


@pytest.mark.ci
def test_from_the_command_line_and_as_onnx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [word for pair in SMALL for word in ("--set", pair)]
    words = ["--plugin", str(PLUGIN)]
    assert command(monkeypatch, "run", *sets, *words, "--out", str(tmp_path / "run")) == 0, capsys.readouterr().err
    config = json.loads((tmp_path / "run" / "result.json").read_text())["config"]
    assert [origin["plugin"] for origin in config["plugins"]] == ["own_codec.py"]
    assert command(monkeypatch, "evaluate", str(tmp_path / "run"), *words) == 0
    export_network(tmp_path / "run", tmp_path / "network.onnx")
    images_NHWC = ecofed.load_dataset("digits").train.images_NHWC[:60]
    exported, trained = OnnxNetwork(tmp_path / "network.onnx"), ecofed.load_model(tmp_path / "run")
    np.testing.assert_allclose(exported(images_NHWC), trained.logits(images_NHWC).numpy(), atol=2e-3)
    registry._codecs.clear()
    registry._loaded.clear()
    for ask in (lambda: ecofed.load_model(tmp_path / "run"), lambda: Config.from_dict(config)):
        with pytest.raises(ecofed.EcoFedError, match=r"made with the plug-in own_codec\.py: load it with --plugin"):
            ask()
    assert ecofed.load(tmp_path / "run").config["codec"]["name"] == "root"


def test_the_built_in_codecs_are_those_that_are_declared() -> None:
    assert list(CODECS) == list(BUILT_IN_CODECS)
    assert all(issubclass(CODECS[name], codec_facts(name)) for name in CODECS)


@pytest.mark.parametrize("name", CODECS)
def test_what_is_declared_exportable_can_be(name: str) -> None:
    from ecofed.onnx import Graph

    codec = make_codec(name, codec_facts(name).allowed_bits[-1], SHAPE, UPPER)
    graph = Graph(SHAPE)
    if codec_facts(name).exportable:
        assert codec.to_onnx(graph, graph.input)
    else:
        with pytest.raises(ecofed.ModelError, match=f"'{name}': this codec cannot be written as ONNX"):
            codec.to_onnx(graph, graph.input)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@ecofed.register_codec\nclass A(Codec): name = 'uniform'", "codec 'uniform': the name is taken"),
        ("@ecofed.register_codec\nclass A(Codec): name = 'A b'", "codec 'A b': a name is lower-case letters"),
        ("@ecofed.register_codec\nclass A: name = 'a'", "codec 'a': must be a subclass of ecofed.activations.Codec"),
        (
            "@ecofed.register_codec\nclass A(Codec):\n name = 'a'\n def encode(self, h, size): ...",
            "codec 'a': has no 'decode'; ecofed.activations.Codec says what that is",
        ),
    ],
)
def test_what_is_no_codec(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "strange_codec.py").write_text(f"import ecofed\nfrom ecofed.activations import Codec\n{text}")
    with pytest.raises(ConfigError, match=said):
        ecofed.load_plugin(tmp_path / "strange_codec.py")


def spoilt(tmp_path: Path, *changes: tuple[str, str]) -> None:
    """Load the example with something in it that is not as it should be."""
    text = PLUGIN.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new)
    (tmp_path / "spoilt_codec.py").write_text(text, encoding="utf-8")
    ecofed.load_plugin(tmp_path / "spoilt_codec.py")


ROWS = "EncodedActivation(rows=self.rows_of_symbols(codes)"
RETURN = "return h_NCHW\n"


class TestWhatItPromises:
    """A trial when it is made: every breach is one line that names the codec, its plug-in and what is wrong."""

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            (
                RETURN,
                "return h_NCHW.astype(np.float64)\n",
                r"decode gives an array of float64 .*; float32 and shape \(3, ",
            ),
            (
                RETURN,
                "return h_NCHW.reshape(len(rows), -1)\n",
                r"decode gives .* shape \(3, 60\); .* shape \(3, 3, 5, 4\)",
            ),
            (RETURN, "return h_NCHW * np.float32(np.nan)\n", "decode gives entries that are not finite"),
            (
                ROWS,
                f"{ROWS}[:1]",
                r"encode gives rows of .* \(1, 23\); uint8 and shape \(3, 23\) are needed: samples, row_by",
            ),
            (ROWS, f"{ROWS}.astype(int)", "encode gives rows of int64"),
            (
                "return EncodedActivation",
                "(lambda **_: None)",
                "encode returns None; it must return an EncodedActivation",
            ),
            (
                "saturated_fraction=saturated",
                "saturated_fraction=2.0",
                r"saturated_fraction = 2\.0; it must be a number",
            ),
            ("h_NCHW > self.upper_C11", "np.random.rand(5)", "something else for the same activation"),
            ("self.check_input(h_NCHW)", "h_NCHW *= np.float32(0.5)", "encode changes the activation .*on a copy"),
            ("/ self.upper_C11\n", "/ self.upper_C11 / len(h_NCHW)\n", "other rows when others are encoded with it"),
            (RETURN, "return h_NCHW / np.float32(len(rows))\n", "something else of a row without the others"),
            (
                "= float(bits)",
                "= 2.0 * bits",
                r"encode gives rows of .* \(3, 23\); uint8 and shape \(3, 45\) are needed",
            ),
            ("self.bits_per_entry = float(bits)", "", "does not say its rate: set self.bits_per_entry, a number, or "),
            (
                "self.symbol_bits = bits",
                "self.symbol_bits = bits - 1",
                "symbols are up to 7, which symbol_bits = 2 cannot",
            ),
            (".reshape(len(rows), *self.shape_CHW)", "", r"symbols gives an array of uint8 and shape \(3, 60\)"),
            (
                "return unpack(",
                "return 7 - unpack(",
                "rows_of_symbols does not give back the rows",
            ),
            ("def to_onnx(", "def other(", "is exportable and has no to_onnx; write it, or leave exportable out"),
            ("super().__init__(shape_CHW, upper_C, bits)", "self.bits = bits", r"must call super\(\)\.__init__\("),
            (
                "self.check_rows(rows)",
                "ecofed.activations.Codec.there_and_back(self, rows)",
                "trial .* ended in: activ",
            ),
        ],
    )
    def test_a_breach_is_one_line(self, tmp_path: Path, old: str, new: str, said: str) -> None:
        spoilt(tmp_path, (old, new))
        with pytest.raises(ConfigError, match=rf"^codec 'root' of the plug-in spoilt_codec\.py: .*{said}"):
            make_codec("root", 3, SHAPE, UPPER)

    def test_arguments_and_bits_are_looked_at_when_it_is_registered(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"'root': its __init__ must take \(shape_CHW, upper_C, bits\)"):
            spoilt(tmp_path, (", bits: int = 4) -> None", ") -> None"), ("(bits)", "(3)"), ("= bits", "= 3"))
        with pytest.raises(ConfigError, match=r"'root': allowed_bits = 4: must be a range or list of whole numbers"):
            spoilt(tmp_path, ("range(2, 9)", "4"))

    def test_its_own_faults_keep_their_traceback(self, tmp_path: Path) -> None:
        spoilt(tmp_path, ("self.check_rows(rows)", "1 / 0"))
        with pytest.raises(ZeroDivisionError, match="division by zero"):
            make_codec("root", 3, SHAPE, UPPER)

    def test_it_is_tried_once_for_each_shape_and_settings(self, root: registry.Origin) -> None:  # noqa: ARG002
        _problem.cache_clear()
        codecs = [make_codec("root", bits, SHAPE, UPPER) for bits in (2, 3, 2, 3)]
        assert _problem.cache_info().misses == 2
        assert len({*map(id, codecs)}) == 4
        ecofed.load_plugin(PLUGIN.with_name("small_network.py"))
        assert _problem.cache_info().currsize == 0  # what a plug-in registers may be another codec of that name

    @pytest.mark.parametrize("name", CODECS)
    def test_the_built_in_ones_keep_it_and_are_not_tried(self, name: str) -> None:
        _problem.cache_clear()
        for bits in codec_facts(name).allowed_bits:
            make_codec(name, bits, SHAPE, UPPER)
            assert _problem.cache_info().misses == 0
        for bits in codec_facts(name).allowed_bits:
            assert checked(CODECS[name], SHAPE, UPPER, bits).row_bytes
