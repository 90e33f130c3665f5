"""Fronts: pre-training them, shipping them, and telling what they are worth."""

from ecofed.pretraining.bundling import make_bundle, random_front
from ecofed.pretraining.fractals import fractal_images
from ecofed.pretraining.pretrain import pretrain_front
from ecofed.pretraining.probe import ProbeSet, probe_front, probe_pixels, probe_set
from ecofed.pretraining.public_images import PublicImages, load_images
from ecofed.pretraining.shipped import ShippedFront, find_shipped, shipped_front, shipped_fronts, write_front
from ecofed.pretraining.train import EpochReport, Recipe

__all__ = [
    "EpochReport",
    "ProbeSet",
    "PublicImages",
    "Recipe",
    "ShippedFront",
    "find_shipped",
    "fractal_images",
    "load_images",
    "make_bundle",
    "pretrain_front",
    "probe_front",
    "probe_pixels",
    "probe_set",
    "random_front",
    "shipped_front",
    "shipped_fronts",
    "write_front",
]
