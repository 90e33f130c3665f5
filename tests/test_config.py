"""The configuration: what is accepted, what is refused and with which words, and which assignment wins."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecofed.config import Config, Settings
from ecofed.config.methods import METHODS, PAPER_METHODS, EcoFedConfig
from ecofed.config.presets import preset_description, preset_names
from ecofed.config.schema import all_keys
from ecofed.errors import ConfigError

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "seed": st.integers(0, 2**63 - 1),
    "rounds": st.integers(1, 10**6),
    "learning_rate": st.floats(1e-9, 1e3),
    "momentum": st.floats(0, 1, exclude_max=True),
    "aggregation": st.sampled_from(["samples", "equal"]),
    "normalisation": st.sampled_from(["batch", "frozen", "group"]),
    "model__width": st.floats(0.01, 8),
    "model__head_width": st.none() | st.integers(1, 65536),
    "model__cut": st.none() | st.text(min_size=1).filter(lambda text: text.lower() != "none"),
    "data__partition": st.sampled_from(["iid", "shards", "dirichlet", "quantity"]),
    "data__augment": st.booleans(),
    "classic_fl": st.just({}),
    "vanilla_dpfl__version": st.sampled_from(["v1", "v2"]),
    "codec__bits": st.integers(1, 8),
    "ecofed__server_steps": st.none() | st.integers(1, 1000),
}
changes = st.fixed_dictionaries({}, optional=VALUES)


@given(changes)
def test_a_configuration_survives_the_round_trip_through_a_dict(values: dict[str, Any]) -> None:
    config = Config().replace(**values)
    assert Config.from_dict(config.to_dict()) == config


@given(changes)
def test_replace_changes_exactly_what_it_names(values: dict[str, Any]) -> None:
    values.pop("classic_fl", None)
    before, after = _flat(Config()), _flat(Config().replace(**values))
    named = {key.replace("__", "."): value for key, value in values.items()}
    assert {key: after[key] for key in after if after[key] != before[key]} == {
        key: value for key, value in named.items() if value != before[key]
    }


@given(st.lists(st.tuples(st.sampled_from(["", "ecofed.", "classic-fl."]), st.integers(1, 9)), max_size=6))
def test_the_last_assignment_wins_and_a_methods_own_stands_above_the_general_one(pairs: list[tuple[str, int]]) -> None:
    settings = Settings.load(None, [f"{prefix}rounds={value}" for prefix, value in pairs])
    for method in METHODS:
        general = [value for prefix, value in pairs if prefix == ""]
        own = [value for prefix, value in pairs if prefix == f"{method}."]
        assert settings.for_method(method).rounds == [Config.rounds, *general, *own][-1]


def test_toml_and_set_mean_the_same(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(
        "rounds = 3\n[classic-fl]\nlearning_rate = 0.03\n[classic-fl.model]\nwidth = 0.5\n[codec]\nbits = 2\n"
    )
    sets = ["rounds=3", "classic-fl.learning_rate=0.03", "classic-fl.model.width=0.5", "codec.bits=2"]
    from_file, from_sets = Settings.load(file), Settings.load(None, sets)
    for method in METHODS:
        assert from_file.for_method(method) == from_sets.for_method(method)
    assert from_file.for_method("classic-fl").learning_rate == 0.03
    assert from_file.for_method("classic-fl").model.width == 0.5
    assert from_file.for_method("ecofed").learning_rate == Config.learning_rate
    assert Settings.load(file, ["classic-fl.learning_rate=0.1"]).for_method("classic-fl").learning_rate == 0.1


def test_what_is_set_on_top_stands_above_the_files_sections_for_methods(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("learning_rate = 0.01\n[lgl]\nlearning_rate = 0.03\n")

    def rates(settings: Settings) -> list[float]:
        return [settings.for_method(method).learning_rate for method in ("ecofed", "lgl")]

    assert rates(Settings.load(file)) == [0.01, 0.03]
    assert rates(Settings.load(file, ["learning_rate=0.1"])) == [0.1, 0.1]
    assert rates(Settings.load(file).with_set(learning_rate=0.1)) == [0.1, 0.1]
    assert rates(Settings.load(file, ["lgl.learning_rate=0.2", "learning_rate=0.1"])) == [0.1, 0.2]


def test_a_key_of_a_methods_own_section_is_not_an_override() -> None:
    settings = Settings.load(None, ["fedgkt.alpha=0.25", "fedgkt.data.alpha=3"])
    assert settings.for_method("fedgkt").fedgkt.alpha == 0.25
    assert settings.for_method("fedgkt").data.alpha == 3.0
    assert settings.for_method("ecofed").fedgkt.alpha == 0.25  # the whole configuration is recorded for every method
    assert settings.for_method("ecofed").data.alpha == Config().data.alpha


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("round=3", "unknown key 'round' (did you mean 'rounds'?); 'ecofed presets --keys' lists all"),
        (
            "ecofed.bit=3",
            "unknown key 'ecofed.bit' (did you mean 'codec.bits'?); 'ecofed presets --keys' lists all",
        ),
        (
            "classic-fl.learning_rat=1",
            "unknown key 'classic-fl.learning_rat' (did you mean 'classic-fl.learning_rate'?); "
            "'ecofed presets --keys' lists all",
        ),
        (
            "classic_fl.learning_rate=1",
            "unknown key 'classic_fl.learning_rate' (did you mean 'classic-fl.learning_rate'?); "
            "'ecofed presets --keys' lists all",
        ),
        ("zzz=3", "unknown key 'zzz'; 'ecofed presets --keys' lists all"),
        ("rounds.extra=3", "unknown key 'rounds.extra' (did you mean 'rounds'?); 'ecofed presets --keys' lists all"),
        ("model=3", "model = '3': is a section; set one of its keys, such as model.name"),
        ("classic-fl=3", "classic-fl = '3': is a section; set one of its keys, such as classic-fl.schedule"),
        ("classic-fl.method=lgl", "classic-fl.method: a method cannot be overridden for itself; leave it out"),
        ("rounds=ten", "rounds = 'ten': must be a whole number"),
        ("rounds=0", "rounds = 0: must be at least 1"),
        ("learning_rate=nan", "learning_rate = nan: must be a finite number above 0"),
        ("learning_rate=1e300", "learning_rate = 1e+300: must be at most 1e+30"),
        ("quorum=-inf", "quorum = -inf: must be a share of 0..1, or a whole number from 2"),
        ("lgl.rounds=many", "lgl.rounds = 'many': must be a whole number"),
        ("lgl.rounds=0", "rounds = 0: must be at least 1 (in the settings of lgl)"),
        ("data.augment=yes", "data.augment = 'yes': must be true or false"),
        ("data.partition=iidd", "data.partition = 'iidd': must be one of iid, shards, dirichlet, quantity, column"
         " (did you mean 'iid'?)"),
        ("sampled_devices=101", "sampled_devices = 101: must not exceed devices = 100"),
        ("codec.name=minmax", "codec.bits = 2: the 'minmax' codec is 8 bits; set codec.bits=8"),
        ("batch_size=1000000000000", "batch_size = 1000000000000: must be in 1..65536"),
        ("ecofed.server_steps=1000000000000", "ecofed.server_steps = 1000000000000: must be in 1..10000000"),
        ("fedgkt.temperature=1e300", "fedgkt.temperature = 1e+300: must be above 0, at most 1000"),
        ("send-images.size=2", "send-images.size = 2: must be in 4..1024"),
        ("model.width=0.0009", "model.width = 0.0009: must be in 0.001..8"),
        ("data.name=", "data.name = '': must name a data set, or the path of one"),
        ("rounds", "--set 'rounds': must be key=value, for example --set rounds=10"),
        ("=3", "--set '=3': must be key=value, for example --set rounds=10"),
    ],
)  # fmt: skip
def test_a_wrong_assignment_is_one_line_that_says_what_to_do(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.load(None, [assignment])
    assert str(caught.value) == message


def test_a_network_says_how_small_its_pictures_may_be() -> None:
    sets = ["model.name=efficientnet-lite0", "model.image_size=31"]
    with pytest.raises(ConfigError, match=r"model\.image_size = 31: efficientnet-lite0 takes pictures of 32 pix"):
        Settings.load("photos", sets)
    assert Settings.load(None, [sets[0], "model.image_size=32"]).for_method("ecofed").model.image_size == 32


def test_what_cannot_be_delivered_is_refused_before_anything_is_trained() -> None:
    sets = ["codec.name=top-k", "delivery=int8"]
    with pytest.raises(ConfigError, match=r"delivery = 'int8': codec.name=top-k cannot be written as ONNX"):
        Settings.load(None, sets)
    assert Config().replace(method="lgl", codec__name="top-k", delivery="int8").delivery == "int8"


def test_a_value_has_no_keys_of_its_own() -> None:
    with pytest.raises(ConfigError, match=r"model\.cut\.x: 'cut' is one value and has no keys of its own"):
        Config().replace(model__cut__x=1)


def test_a_presets_fallback_stands_in_for_the_presets_own_data_only() -> None:
    def fallbacks(*sets: str) -> list[str | None]:
        settings = Settings.load("quickstart", sets)
        return [settings.for_method(method).data.fallback for method in ("classic-fl", "ecofed")]

    assert fallbacks() == ["digits", "digits"]
    assert fallbacks("data.name=cifr10") == [None, None]
    assert fallbacks("data.name=./pictures") == [None, None]
    assert fallbacks("data.name=./pictures", "data.fallback=digits") == ["digits", "digits"]


def test_a_preset_says_what_is_compared_where_nobody_names_methods(tmp_path: Path) -> None:
    assert Settings.load("photos").compared == ("ecofed", "send-images", "closed-form")
    assert Settings.load("photos").with_set(rounds=1).compared == ("ecofed", "send-images", "closed-form")
    assert Settings.load("quickstart").compared == Settings().compared == PAPER_METHODS
    for text, told in (
        ("'ecofed'", "methods = 'ecofed': must be a list of methods"),
        ("[]", "methods = []: must be a list of methods"),
        ("['ecofed', 'sendimages']", "methods = 'sendimages': must be of .*did you mean 'send-images'"),
        ("['ecofed', 'ecofed']", "methods = 'ecofed': must stand there once"),
        ("[['ecofed']]", r"methods = .*: must be of"),
    ):
        (tmp_path / "my.toml").write_text(f"methods = {text}\n")
        with pytest.raises(ConfigError, match=f"my.toml: {told}".replace("[]", r"\[\]")):
            Settings.load(tmp_path / "my.toml")


def test_an_unknown_method_is_named_with_its_nearest() -> None:
    with pytest.raises(ConfigError, match=r"must be one of classic-fl, .* \(did you mean 'ecofed'\?\)"):
        Settings.load(None, ["method=ecofedd"])
    with pytest.raises(ConfigError, match=r"unknown method 'ecofedd' \(did you mean 'ecofed'\?\)"):
        Settings.load(None).for_method("ecofedd")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rounds = [1]", "rounds = [1]: must be a whole number"),
        ("rounds = true", "rounds = True: must be a whole number"),
        ("rounds = 2.5", "rounds = 2.5: must be a whole number"),
        (f"learning_rate = {'9' * 400}", "must be a number"),
        ("[model]\nname = 3", "model.name = 3: must be text"),
        ("model = 3", "model = 3: is a section; set one of its keys, such as model.name"),
        ("[ecofed]\nbit = 3", "unknown key 'ecofed.bit' (did you mean 'codec.bits'?)"),
        ("[lgl]\nrounds = 'x'", "lgl.rounds = 'x': must be a whole number"),
        ("rounds = ", "not valid TOML"),
        ("".join(f"[{'.'.join(['a'] * depth)}]\n" for depth in (1, 3000)), "is nested deeper than 40 levels"),
        (f"rounds = {'[' * 5000}{']' * 5000}", "is nested deeper than 40 levels"),
        (f"{'a.' * 3000}a = 1", "is nested deeper than 40 levels"),
        (f"rounds = {'9' * 5000}", "holds a number that is too long"),
        (f"rounds = 0x{'f' * 5000}", "holds a number that is too long"),
        (f"rounds = {2**63}", "rounds = 9223372036854775808: must be a whole number below 2^63"),
        ("# " + "x" * 70_000, "is 70,002 characters long"),
        ('[model]\n"\\u001b[2J" = 1', r"unknown key 'model.\x1b[2J'"),
    ],
)
def test_a_mistake_in_a_file_names_the_file_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Settings.load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2500


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'quickstrat' is neither a preset nor a file"):
        Settings.load("quickstrat")
    with pytest.raises(ConfigError, match=r"^'runs/none': there is no such file or run$"):
        Settings.load("runs/none")
    with pytest.raises(ConfigError, match=r"is a folder, .*--set data\.name=.*--resume$"):
        Settings.load(tmp_path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is UTF-16; save it as UTF-8"):
        Settings.load(binary)
    with pytest.raises(ConfigError, match="is neither a preset nor a file"):
        Settings.load("n" * 300)


@pytest.mark.parametrize("encode", [b"\xef\xbb\xbf%s".__mod__, lambda text: text.replace(b"\n", b"\r\n")])
def test_a_file_of_any_editor(encode: Callable[[bytes], bytes], tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_bytes(encode("rounds = 3\n[data]\nname = 'Käfer'\n".encode()))
    config = Settings.load(file).for_method("ecofed")
    assert (config.rounds, config.data.name) == (3, "Käfer")


def test_with_set_adds_assignments_that_are_checked() -> None:
    settings = Settings.load(None, ["rounds=3"]).with_set(rounds=4, classic_fl__learning_rate=0.5)
    assert settings.for_method("classic-fl").rounds == 4
    assert settings.for_method("classic-fl").learning_rate == 0.5
    with pytest.raises(ConfigError, match=r"unknown key 'classic-fl\.nothing'"):
        settings.with_set(classic_fl__nothing=1)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_describes_itself_and_is_valid_for_every_method(name: str) -> None:
    assert 20 <= len(preset_description(name)) <= 120
    settings = Settings.load(name)
    for method in METHODS:
        assert settings.for_method(method).method == method


def _flat(config: Config) -> dict[str, Any]:
    values = config.to_dict()
    pairs = {}
    for key in all_keys():
        section, _, name = key.rpartition(".")
        pairs[key.replace("-", "_")] = (values[section] if section else values)[name]
    return pairs


def test_averaged_backs_take_batches_as_they_were_uploaded() -> None:
    own = EcoFedConfig(server_batch_size=50)
    assert (own.batch(20), own.steps([60, 60], 20)) == (50, 3)
    averaged = EcoFedConfig(server="fedavg", server_batch_size=50)
    assert (averaged.batch(20), averaged.steps([60, 60], 20)) == (20, 6)


@pytest.mark.parametrize(
    ("key", "word", "meant"),
    [
        ("method", "FedAvg", "classic-fl"),
        ("method", "splitfed", "vanilla-dpfl"),
        ("data.partition", "noniid", "dirichlet"),
        ("accelerator", "gpu", "cuda"),
        ("codec.name", "int8", "uniform"),
    ],
)
def test_a_word_that_others_use_is_answered_with_ours(key: str, word: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"(did you mean '{meant}'?)")):
        Settings.load(None, [f"{key}={word}"]).for_method("ecofed")
