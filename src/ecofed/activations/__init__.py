"""Codecs, replay buffer and refresh policies: the heart of the system. numpy only."""

from ecofed.activations.buffer import ReplayBuffer, View
from ecofed.activations.codecs import (
    CODECS,
    Codec,
    EncodedActivation,
    Graph,
    answers_by_the_batch,
    configured_codec,
    early_codec,
    make_codec,
    pack,
    saturation_warned,
    unpack,
)
from ecofed.activations.disk_buffer import BUFFER_FOLDER, DiskBuffer, configured_buffer
from ecofed.activations.division import Division
from ecofed.activations.entropy import check_length, compress, decompress
from ecofed.activations.history import UploadHistory
from ecofed.activations.pool import Pool, Samples
from ecofed.activations.refresh import RefreshPolicy, Uploads, make_refresh_policy

__all__ = [
    "BUFFER_FOLDER",
    "CODECS",
    "Codec",
    "DiskBuffer",
    "Division",
    "EncodedActivation",
    "Graph",
    "Pool",
    "RefreshPolicy",
    "ReplayBuffer",
    "Samples",
    "UploadHistory",
    "Uploads",
    "View",
    "answers_by_the_batch",
    "check_length",
    "compress",
    "configured_buffer",
    "configured_codec",
    "decompress",
    "early_codec",
    "make_codec",
    "make_refresh_policy",
    "pack",
    "saturation_warned",
    "unpack",
]
