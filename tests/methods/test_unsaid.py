"""A method of one's own that forgets something in ``state()``, or does not take it back, before it is resumed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ecofed
from ecofed.config import Settings, registry
from ecofed.errors import ConfigError
from ecofed.methods.unsaid import _misfit, _same
from ecofed.wire import speak

SCAFFOLD = (Path(__file__).parents[2] / "examples" / "scaffold.py").read_text(encoding="utf-8")
SMALL = [
    *("data.name=digits", "model.name=lenet", "model.width=0.2", "rounds=2", "devices=2", "sampled_devices=2"),
    *("data.samples_per_device=20", "initialisation=random", "test_samples=20", "method=scaffold", "momentum=0"),
]
SAYS = "of the plug-in forgetful.py"


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    with registry.only_here():
        yield
    sys.modules.pop("forgetful", None)
    speak([])


class Notes(ecofed.SilentObserver):
    """What a run says beside its numbers."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def notes_of(tmp_path: Path, *changes: tuple[str, str]) -> list[str]:
    text = SCAFFOLD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "forgetful.py").write_text(text, encoding="utf-8")
    ecofed.load_plugin(tmp_path / "forgetful.py")
    notes = Notes()
    result = ecofed.run(Settings.load(None, SMALL), out=tmp_path / "run", observer=notes, report=False)
    assert all(note in result.notes for note in notes.texts if SAYS in note)
    return [note for note in notes.texts if SAYS in note]


def test_what_state_forgets_is_a_note(tmp_path: Path) -> None:
    made, used = "        self.own: dict", "            self.own |= news\n"
    (note,) = notes_of(
        tmp_path,
        (made, f"        self.speed = np.zeros(2)\n{made}"),
        (used, f"{used}            self.speed = self.speed + 1\n"),
    )
    assert note.startswith(
        f"method 'scaffold' {SAYS}: 'speed' is not in what state() says: a resumed run begins it anew"
    )


def test_what_is_said_is_none(tmp_path: Path) -> None:
    assert notes_of(tmp_path) == []


def test_what_is_not_taken_back_is_one_line(tmp_path: Path) -> None:
    said = rf"^method 'scaffold' {SAYS}: load_state does not take back what state\(\) says \(KeyError: 'device'\)"
    with pytest.raises(ConfigError, match=said):
        notes_of(tmp_path, ('in values["devices"]', 'in values["device"]'))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (None, "state returns None; it must return two"),
        (({}, {}, {}), "state returns tuple; it must return two"),
        (({"a": [1]}, {}), "state has 'a' among its arrays, which is list; it must be a numpy array"),
        (({}, {"a": {"b": np.float32(1)}}), "state has 'a/b' among its values, which is float32"),
        (({}, {"a": [{1: 2}]}), "state has 'a' among its values by 1, which is int; keys must be text"),
        (({}, {"a": float("nan")}), "state has 'a' among its values, which is nan; numbers must be finite"),
        (({"a": np.zeros(1)}, {"a": [1, (True, None)], "b": {"c": "d"}}), ""),
    ],
)
def test_what_no_checkpoint_can_hold(state: Any, said: str) -> None:
    found = _misfit(state)
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_generators_of_random_numbers_are_known_apart_by_what_comes_next() -> None:
    one, other = np.random.default_rng(0), np.random.default_rng(0)
    assert _same({"a": [one]}, {"a": [other]})
    other.random()
    assert not _same({"a": [one]}, {"a": [other]})
