"""The codecs as they are declared, and one place to ask for their facts by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from ecofed.config.facts import CodecFacts
from ecofed.errors import ConfigError, nearest
from ecofed.registry import codecs as plugin_codecs


class UniformFacts(CodecFacts):
    name = "uniform"
    uses_limits: ClassVar[bool] = True
    exportable: ClassVar[bool] = True


class LloydMaxFacts(CodecFacts):
    name = "lloyd-max"
    allowed_bits: ClassVar[range] = range(2, 5)
    uses_limits: ClassVar[bool] = True


class TopKFacts(CodecFacts):
    name = "top-k"
    allowed_bits: ClassVar[range] = range(1, 8)
    uses_limits: ClassVar[bool] = True
    sparse: ClassVar[bool] = True


class MinMaxFacts(CodecFacts):
    name = "minmax"
    allowed_bits: ClassVar[range] = range(8, 9)
    exportable: ClassVar[bool] = True


class Float32Facts(CodecFacts):
    name = "float32"
    exportable: ClassVar[bool] = True


class DctFacts(CodecFacts):
    name = "dct"
    allowed_bits: ClassVar[range] = range(8, 9)
    uses_limits: ClassVar[bool] = True
    transforms: ClassVar[bool] = True
    exportable: ClassVar[bool] = True


_DECLARED: tuple[type[CodecFacts], ...] = (UniformFacts, LloydMaxFacts, TopKFacts, MinMaxFacts, Float32Facts, DctFacts)
BUILT_IN_CODECS: Mapping[str, type[CodecFacts]] = MappingProxyType({facts.name: facts for facts in _DECLARED})


def codec_names() -> list[str]:
    """All codecs there are: the built-in ones, then those of plug-ins."""
    return [*BUILT_IN_CODECS, *plugin_codecs()]


def codec_facts(name: str) -> type[CodecFacts]:
    """Of a built-in codec, or one of a plug-in.

    Raises:
        ConfigError: there is none of that name.
    """
    entry = plugin_codecs().get(name)
    facts: type[CodecFacts] | None = BUILT_IN_CODECS.get(name) if entry is None else entry.cls
    if facts is None:
        names = codec_names()
        raise ConfigError(f"ecofed.codec = '{name}'{nearest(name, names)}: choose from {', '.join(names)}")
    return facts
