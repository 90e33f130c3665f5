"""Codecs, replay buffer and refresh policies: the heart of the system. numpy only."""

from ecofed.activations.buffer import ReplayBuffer, View
from ecofed.activations.codecs import CODECS, Codec, EncodedActivation, configured_codec, early_codec, make_codec
from ecofed.activations.entropy import compress, decompress
from ecofed.activations.refresh import RefreshPolicy, Uploads, make_refresh_policy

__all__ = [
    "CODECS",
    "Codec",
    "EncodedActivation",
    "RefreshPolicy",
    "ReplayBuffer",
    "Uploads",
    "View",
    "compress",
    "configured_codec",
    "decompress",
    "early_codec",
    "make_codec",
    "make_refresh_policy",
]
