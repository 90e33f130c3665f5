"""A configuration key given as an option, ``--rounds 5``, or on its own, ``rounds=5``: how it is set instead."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from ecofed.config.schema import all_keys

#: What other programs call some of the keys.
_OTHER_WORDS = {
    "lr": "learning_rate",
    "epochs": "local_epochs",
    "clients": "devices",
    "num_clients": "devices",
    "workers": "devices",
    "dataset": "data.name",
    "model": "model.name",
    "data": "data.name",
    "front": "front.name",
    "codec": "codec.name",
    "num_rounds": "rounds",
    "cuda": "accelerator",
    "gpu": "accelerator",
}


def option_hint(option: str, words: Sequence[str]) -> str | None:
    """How the key that an unknown option means is set, or ``None`` if it is like no key.

    Args:
        option: as it was written, such as ``--rounds``.
        words: the command line, for the value.
    """
    keys = meant(option.lstrip("-"))
    if not keys:
        return None
    value = _value_of(option, words)
    return f"no such option {option}; a key is set with {' or '.join(f'--set {key}={value}' for key in keys)}"


def word_hint(word: str) -> str | None:
    """How the key of a bare ``rounds=5`` is set, or ``None`` if the word is no assignment of a key."""
    name, sign, value = word.partition("=")
    keys = meant(name) if sign else []
    return f"'{word}': a key is set with {' or '.join(f'--set {key}={value}' for key in keys)}" if keys else None


def meant(name: str) -> list[str]:
    """The keys that a word means: the key itself, those that end in it, or the nearest one."""
    known = {_plain(key): key for key in all_keys()}
    plain = _plain(name)
    if plain in _OTHER_WORDS:
        return [_OTHER_WORDS[plain]]
    if plain in known:
        return [known[plain]]
    ends: dict[str, list[str]] = {}
    for key in all_keys():
        ends.setdefault(_plain(key.rpartition(".")[2]), []).append(key)
    if plain in ends:
        return ends[plain]
    close = get_close_matches(plain, [*known, *ends], n=1, cutoff=0.75)
    return [] if not close else [known[close[0]]] if close[0] in known else ends[close[0]]


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")


def _value_of(option: str, words: Sequence[str]) -> str:
    """What followed the option on the line; ``VALUE`` where nothing did."""
    for word, after in zip(words, [*words[1:], ""], strict=False):
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
        if word == option and after and not after.startswith("--"):
            return after
    return "VALUE"
