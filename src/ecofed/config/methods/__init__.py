"""The methods as they are declared: settings and facts, one file a method; and one place to ask for them by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ecofed.config.facts import Facts, NoSettings
from ecofed.config.methods.classic_fl import ClassicFLConfig, ClassicFLFacts
from ecofed.config.methods.closed_form import ClosedFormConfig, ClosedFormFacts
from ecofed.config.methods.ecofed import LOSSLESS_BITS, EcoFedConfig, EcoFedFacts
from ecofed.config.methods.fedgkt import FedGKTConfig, FedGKTFacts
from ecofed.config.methods.lgl import LGLConfig, LGLFacts
from ecofed.config.methods.send_images import SendImagesConfig, SendImagesFacts
from ecofed.config.methods.training import PooledTraining, cosine
from ecofed.config.methods.vanilla_dpfl import VanillaDPFLConfig, VanillaDPFLFacts
from ecofed.config.registry import methods as plugin_methods
from ecofed.errors import nearest

_DECLARED: tuple[type[Facts], ...] = (
    *(ClassicFLFacts, VanillaDPFLFacts, LGLFacts, FedGKTFacts, EcoFedFacts),
    *(SendImagesFacts, ClosedFormFacts),
)
#: The built-in methods, in the order of tables and reports.
BUILT_IN: Mapping[str, type[Facts]] = MappingProxyType({facts.name: facts for facts in _DECLARED})
METHODS = tuple(BUILT_IN)
#: Those that a comparison runs unless told otherwise.
PAPER_METHODS = tuple(name for name, facts in BUILT_IN.items() if facts.role == "paper")
RIVALS = tuple(name for name, facts in BUILT_IN.items() if facts.role == "rival")
#: What is trained unless told otherwise, what ``plan`` recommends settings of, and what reports are about.
OURS = EcoFedFacts.name
#: Whose bytes reports compare with.
REFERENCE = ClassicFLFacts.name

#: What these schemes are called elsewhere.
_ELSEWHERE = MappingProxyType(
    dict.fromkeys(("fedavg", "fl", "federated", "federated-averaging"), ClassicFLFacts.name)
    | dict.fromkeys(("splitfed", "sfl", "split", "split-learning", "sl"), VanillaDPFLFacts.name)
    | dict.fromkeys(("central", "centralised", "centralized"), SendImagesFacts.name)
)


def nearest_method(name: str, known: Iterable[str]) -> str:
    """As :func:`~ecofed.errors.nearest`, for who knows a method by another name."""
    return nearest(name, known, _ELSEWHERE)


def find_facts(method: str) -> type[Facts] | None:
    """Of a built-in method, or one of a plug-in; ``None`` for one that nobody knows (any more)."""
    if method in BUILT_IN:
        return BUILT_IN[method]
    entry = plugin_methods().get(method)
    return None if entry is None else entry.cls


def own_settings(cls: type) -> type:
    """The section of a plug-in's method. A variant of a built-in method reads the section of that one, as its program
    does; its own is empty."""
    settings: type = getattr(cls, "Settings", NoSettings)
    return NoSettings if any(settings is facts.Settings for facts in BUILT_IN.values()) else settings


def facts_of(method: str) -> type[Facts]:
    """Of a method whose name a configuration has checked."""
    facts = find_facts(method)
    assert facts is not None, method
    return facts


__all__ = [
    "BUILT_IN",
    "LOSSLESS_BITS",
    "METHODS",
    "OURS",
    "PAPER_METHODS",
    "REFERENCE",
    "RIVALS",
    "ClassicFLConfig",
    "ClassicFLFacts",
    "ClosedFormConfig",
    "ClosedFormFacts",
    "EcoFedConfig",
    "EcoFedFacts",
    "FedGKTConfig",
    "FedGKTFacts",
    "LGLConfig",
    "LGLFacts",
    "PooledTraining",
    "SendImagesConfig",
    "SendImagesFacts",
    "VanillaDPFLConfig",
    "VanillaDPFLFacts",
    "cosine",
    "facts_of",
    "find_facts",
    "own_settings",
]
