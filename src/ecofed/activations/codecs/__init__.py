"""The codecs, by the name that ``codec.name`` gives them."""

from __future__ import annotations

import numpy as np

from ecofed.activations.codecs.base import Codec, EncodedActivation, Graph, saturation_warned
from ecofed.activations.codecs.dct import DctCodec
from ecofed.activations.codecs.float32 import Float32Codec
from ecofed.activations.codecs.lloyd_max import LloydMaxCodec
from ecofed.activations.codecs.minmax import MinMaxCodec
from ecofed.activations.codecs.packing import pack, unpack
from ecofed.activations.codecs.promises import checked
from ecofed.activations.codecs.top_k import TopKCodec
from ecofed.activations.codecs.uniform import UniformCodec
from ecofed.config.codecs import CodecConfig, codec_facts
from ecofed.config.methods import EcoFedConfig, facts_of
from ecofed.config.registry import codecs as plugin_codecs
from ecofed.config.schema import Config

__all__ = [
    "CODECS",
    "Codec",
    "DctCodec",
    "EncodedActivation",
    "Float32Codec",
    "Graph",
    "LloydMaxCodec",
    "MinMaxCodec",
    "TopKCodec",
    "UniformCodec",
    "answers_by_the_batch",
    "configured_codec",
    "early_codec",
    "make_codec",
    "pack",
    "saturation_warned",
    "unpack",
]

CODECS: dict[str, type[Codec]] = {
    codec.name: codec for codec in (UniformCodec, LloydMaxCodec, TopKCodec, MinMaxCodec, Float32Codec, DctCodec)
}


def configured_codec(
    settings: CodecConfig, shape_CHW: tuple[int, int, int], upper_C: np.ndarray | None = None
) -> Codec:
    """The codec of a run; see :func:`make_codec`."""
    return make_codec(settings.name, settings.bits, shape_CHW, upper_C, settings.density)


def early_codec(settings: EcoFedConfig, shape_CHW: tuple[int, int, int], upper_C: np.ndarray | None = None) -> Codec:
    """The codec of devices that stop at an earlier layer, with the limits there; see :func:`make_codec`."""
    name = Float32Codec.name if settings.lossless_early else UniformCodec.name
    return make_codec(name, settings.early_bits, shape_CHW, upper_C)


def make_codec(
    name: str, bits: int, shape_CHW: tuple[int, int, int], upper_C: np.ndarray | None = None, density: float = 0.1
) -> Codec:
    """The codec that a configuration names; ``density`` is the share of entries that ``top-k`` keeps.

    Raises:
        ConfigError: an unknown name, limits that the codec needs and the front does not have, or impossible bits; a
            plug-in's codec that is none, as a small trial has shown.
    """
    if name == TopKCodec.name:
        return TopKCodec(shape_CHW, upper_C, bits, density)
    cls = _class_of(name)
    return cls(shape_CHW, upper_C, bits) if name in CODECS else checked(cls, shape_CHW, upper_C, bits)


def answers_by_the_batch(config: Config) -> bool:
    """Whether what a trained network answers to an image depends on those that are asked with it: its layers normalise
    by the batch, or the codec between its halves has scales of a batch."""
    coded = facts_of(config.method).coded(config)
    scaled = coded is not None and _class_of(coded.name).scales_of is not Codec.scales_of
    return config.normalisation == "batch" or scaled


def _class_of(name: str) -> type[Codec]:
    facts = codec_facts(name)
    cls: type[Codec] = CODECS[name] if name in CODECS else plugin_codecs()[facts.name].cls
    return cls
