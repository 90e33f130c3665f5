"""The sections of the configuration that say what is learned: the network and the images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from ecofed.config.fields import Needs, require


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network that is trained."""

    name: str = "vgg11"
    """``vgg11``, ``resnet9``, ``alexnet``, ``lenet``, ``efficientnet-lite0``, ``timm:NAME`` (any convolutional network
    of timm), or a plug-in's."""
    width: float = 1.0
    """Factor on every hidden channel count. 1.0 is the network as published."""
    head_width: int | None = None
    """Units in each hidden fully connected layer; default 4096 x width (``efficientnet-lite0``: channels of its last
    convolution, 1280 x width). Models without a hidden head ignore it."""
    cut: str | None = None
    """Name of the last layer of the front; default: after the second convolution block (``efficientnet-lite0``: after
    the first at a stride of 16, ``block6``; ``timm:``: after the last stage at a stride of 8)."""

    weights: str = "auto"
    """What a backbone (``efficientnet-lite0``, ``timm:NAME``) starts from, whatever the method: ``auto`` (its published
    weights), ``none`` (random ones), or a file of weights (safetensors, or PyTorch's format with plain tensors)."""
    back: Literal["rest", "small"] = "rest"
    """What follows a backbone's front: ``rest`` (the rest of the network, pre-trained as the front is), or ``small`` (a
    new head of one convolution and a linear layer)."""

    NEEDS: ClassVar[Needs] = {
        key: ("a backbone: model.name=efficientnet-lite0 or model.name=timm:NAME", lambda own: own.is_backbone)
        for key in ("weights", "back")
    }

    @property
    def is_backbone(self) -> bool:
        """Whether others have published weights of this network."""
        return self.name == "efficientnet-lite0" or self.name.startswith("timm:")

    def __post_init__(self) -> None:
        require(0 < self.width <= 8, "model.width", self.width, "must be above 0 and at most 8")
        if self.head_width is not None:
            require(1 <= self.head_width <= 65536, "model.head_width", self.head_width, "must be in 1..65536")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The images, and which device holds which of them."""

    name: str = "fashion-mnist"
    """A known name, or a path (folder or parquet file)."""
    fallback: str | None = None
    """A data set to use, and to say so, when ``name`` is found nowhere. ``None``: a missing data set is an error."""
    partition: Literal["iid", "shards", "dirichlet", "quantity"] = "iid"
    """How the training images are dealt out: at random, by label shards, by skewed labels, by skewed amounts."""
    shards_per_device: int = 5
    """``shards``: the label-sorted training set is dealt out in ``devices * shards_per_device`` equal shards."""
    alpha: float = 0.5
    """``dirichlet``: concentration of each label over devices. ``quantity``: of sample counts over devices."""
    samples_per_device: int | None = None
    """At most this many training samples on a device; ``None``: all of its share."""
    augment: bool = True
    """Random crop with padding 4 and, where a mirrored image is still valid, horizontal flip; on the device."""

    NEEDS: ClassVar[Needs] = {
        "shards_per_device": ("data.partition=shards", lambda own: own.partition == "shards"),
        "alpha": (
            "data.partition=dirichlet or data.partition=quantity",
            lambda own: own.partition in ("dirichlet", "quantity"),
        ),
    }

    def __post_init__(self) -> None:
        require(self.shards_per_device >= 1, "data.shards_per_device", self.shards_per_device, "must be at least 1")
        require(0 < self.alpha < math.inf, "data.alpha", self.alpha, "must be a finite number above 0")
        if self.samples_per_device is not None:
            require(self.samples_per_device >= 1, "data.samples_per_device", self.samples_per_device, "at least 1")
