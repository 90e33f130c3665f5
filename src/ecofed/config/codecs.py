"""The section ``[codec]``; the codecs as they are declared, and one place to ask for their facts by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

from ecofed.config.facts import CodecFacts
from ecofed.config.fields import Needs, require
from ecofed.config.registry import codecs as plugin_codecs
from ecofed.errors import ConfigError, nearest


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
        raise ConfigError(f"codec.name = '{name}'{nearest(name, names)}: choose from {', '.join(names)}")
    return facts


@dataclass(frozen=True, kw_only=True)
class CodecConfig:
    """How activations are coded, for methods that upload codes of them."""

    name: str = "uniform"
    """``uniform`` (unsigned levels, per-channel constants from the bundle), ``lloyd-max`` (the same with levels where
    the values are), ``top-k`` (the largest entries and a mask), ``dct`` (a cosine transform over the map and one step
    for all coefficients, for a backbone's own front), ``minmax`` (the paper's symmetric int8, scale max/127 of each
    batch), ``float32`` (lossless), or a plug-in's."""
    bits: int = 2
    """Bits per entry, 1-8; ``lloyd-max`` has 2-4, ``top-k`` 1-7 (and one for the mask), ``minmax`` and ``dct`` need 8,
    ``float32`` ignores it."""
    density: float = 0.1
    """``top-k``: the share of entries that is kept."""
    entropy: Literal["none", "deflate", "range"] = "range"
    """Lossless coding of each upload. ``range``: an adaptive range coder or ``deflate``, whichever is shorter.
    ``deflate``: standard library. ``none``: packed codes as they are, whose size is known before."""

    NEEDS: ClassVar[Needs] = {"density": ("codec.name=top-k", lambda own: own.name == "top-k")}

    def __post_init__(self) -> None:
        require(1 <= self.bits <= 8, "codec.bits", self.bits, "must be in 1..8")
        codec_facts(self.name).check_bits(self.bits)
        require(0 < self.density <= 1, "codec.density", self.density, "must be above 0 and at most 1")

    @property
    def exportable(self) -> bool:
        """Whether what the codec does to an activation can be written as ONNX."""
        return codec_facts(self.name).exportable

    @property
    def limit_bits(self) -> int | None:
        """For how many bits the codec takes quantiser limits from the front's bundle; ``None``: it needs none."""
        return self.bits if codec_facts(self.name).uses_limits else None

    @property
    def narrows(self) -> bool:
        """Whether a bottleneck suits the codec: codes of every entry, from zero to the limits that come with it."""
        facts = codec_facts(self.name)
        return facts.uses_limits and not facts.sparse
