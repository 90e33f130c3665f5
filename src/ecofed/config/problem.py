"""The sections of the configuration that say what is learned: the network, where its front is from, the images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from ecofed.config.fields import Needs, require

MOST_HEAD_WIDTH = 65536


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
    back_width: float | None = None
    """The same factor for what comes after the cut: the blocks after the one that it is in, and the head; default:
    ``width``. Of ``vgg11``, ``resnet9``, ``alexnet`` and ``lenet``."""
    image_size: int | None = None
    """Side in pixels of the square that the network sees of a picture, whose shorter side is scaled to it (and an
    eighth more, where the picture has it, for crops). Default: the network's own; those of the paper take 32x32."""
    cut: str | None = None
    """Name of the last layer of the front; default: after the second convolution block (``efficientnet-lite0``: after
    the first at a stride of 16, ``block6``; ``timm:``: after the last stage at a stride of 8)."""

    weights: str = "auto"
    """What a backbone (``efficientnet-lite0``, ``timm:NAME``) starts from, whatever the method: ``auto`` (its published
    weights; for ``efficientnet-lite0`` the int8 copy in this package), ``published`` (these as they are: in float),
    ``none`` (random ones), or a file of weights (safetensors, or PyTorch's format with plain tensors)."""
    back: Literal["rest", "small"] = "rest"
    """What follows a backbone's front: ``rest`` (the rest of the network, pre-trained as the front is), or ``small`` (a
    new head of one convolution and a linear layer)."""

    NARROWED: ClassVar[tuple[str, ...]] = ("vgg11", "resnet9", "alexnet", "lenet")
    """Networks that take ``back_width``."""
    LEAST_SIZES: ClassVar[Mapping[str, int]] = {"efficientnet-lite0": 32}
    """Sides of the smallest pictures of networks that halve them often."""
    NEEDS: ClassVar[Needs] = {
        key: ("a backbone: model.name=efficientnet-lite0 or model.name=timm:NAME", lambda own: own.is_backbone)
        for key in ("weights", "back")
    }

    @property
    def is_backbone(self) -> bool:
        """Whether others have published weights of this network."""
        return self.name == "efficientnet-lite0" or self.name.startswith("timm:")

    def __post_init__(self) -> None:
        # The least is what a front's bundle can tell.
        require(1e-3 <= self.width <= 8, "model.width", self.width, "must be in 0.001..8")
        if self.back_width is not None:
            require(0 < self.back_width <= 8, "model.back_width", self.back_width, "must be above 0 and at most 8")
            rule = f"{self.name} cannot be narrowed after the cut; {', '.join(self.NARROWED)} can"
            require(self.name in self.NARROWED, "model.back_width", self.back_width, rule)
        if self.image_size is not None:
            require(8 <= self.image_size <= 1024, "model.image_size", self.image_size, "must be in 8..1024")
            least = self.LEAST_SIZES.get(self.name, 8)
            rule = f"{self.name} takes pictures of {least} pixels and more"
            require(self.image_size >= least, "model.image_size", self.image_size, rule)
        if self.head_width is not None:
            rule = f"must be in 1..{MOST_HEAD_WIDTH}"
            require(1 <= self.head_width <= MOST_HEAD_WIDTH, "model.head_width", self.head_width, rule)


@dataclass(frozen=True, kw_only=True)
class FrontConfig:
    """Where the front comes from, and how devices get it."""

    name: str = "auto"
    """``auto`` (a backbone's own, see ``model.weights``; otherwise the shipped front for this model: of 256 bytes an
    image where ``codec.bits`` is 2, otherwise the full-size one; without any, ``random``, and a note), ``random``
    (calibrated statistics), ``pretrain`` (built-in pre-training, cached), the name of a shipped front, or a path to a
    bundle."""
    bytes_per_image: int = 256
    """Of the bottleneck that a backbone's own front ends in (``name=auto``): as many channels as so many bytes of
    codes can say, before entropy coding. Shipped fronts have their own (``ecofed front list``)."""
    precision: Literal["full", "int8", "compact"] = "int8"
    """Of a front that stays as it is: ``int8``: its convolution weights are rounded to 8 bits, for the server and the
    tests as for devices; its delivery is half as long. ``compact``: so they are, two numbers of 16 bits for each
    channel stand for four of 32, and the delivery is compressed: a sixth (VGG11) to 30 % (EfficientNet-Lite0) less.
    ``full``: as the front was made."""
    delivery: Literal["download", "preinstalled"] = "download"
    """Of a front that stays as it is: ``download``: its encoded bytes count once per device. ``preinstalled``: not
    counted, as in the paper."""

    def __post_init__(self) -> None:
        size = self.bytes_per_image
        require(1 <= size <= 1 << 20, "front.bytes_per_image", size, "must be in 1..1048576")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The images, and which device holds which of them."""

    name: str = "fashion-mnist"
    """A known name, a path (folder or parquet file), ``hf:OWNER/NAME`` for a set of images on the Hugging Face hub
    (``hf:OWNER/NAME:CONFIGURATION`` where it has several), or ``FORMAT:PATH`` for a plug-in's format."""
    fallback: str | None = None
    """A data set to use, and to say so, when ``name`` is found nowhere. ``None``: a missing data set is an error."""
    image_column: str | None = None
    """Of parquet files: the column of pictures; ``None``: ``img``, ``image``, ``images`` or ``picture``, or the one
    that the hub says holds pictures. Of a list (CSV): the column that names them; ``None``: the one that does."""
    label_column: str | None = None
    """Of parquet files: the column of classes; ``None``: ``fine_label``, ``label``, ``labels``, ``class`` or
    ``target``, or the one that the hub says holds classes. Of a list (CSV): ``None``: ``label``, ``labels``, ``class``,
    ``class_name``, ``category``, ``target`` or ``species``, or the only one beside that which names pictures."""
    partition: Literal["iid", "shards", "dirichlet", "quantity", "column"] = "iid"
    """How the training images are dealt out: at random, by label shards, by skewed labels, by skewed amounts, or as the
    data say themselves (``device_column``)."""
    device_column: str | None = None
    """``column``: where the data say whose image it is: a column of a parquet file or of a list; for class folders a
    column of ``train.csv`` beside ``train/`` (whose column ``file`` has paths in ``train/``), or ``folder``: the folder
    in the class's folder. Devices are numbered in the order of their names."""
    least_samples: int = 1
    """``column``: devices with fewer images are left out."""
    shards_per_device: int = 5
    """``shards``: the label-sorted training set is dealt out in ``devices * shards_per_device`` equal shards."""
    alpha: float = 0.5
    """``dirichlet``: concentration of each label over devices. ``quantity``: of sample counts over devices."""
    samples_per_device: int | None = None
    """At most this many training samples on a device; ``None``: all of its share."""
    augment: bool = True
    """Random crop with padding 4 and, where a mirrored image is still valid, horizontal flip; on the device."""

    NEEDS: ClassVar[Needs] = {
        "device_column": ("data.partition=column", lambda own: own.partition == "column"),
        "least_samples": ("data.partition=column", lambda own: own.partition == "column"),
        "shards_per_device": ("data.partition=shards", lambda own: own.partition == "shards"),
        "alpha": (
            "data.partition=dirichlet or data.partition=quantity",
            lambda own: own.partition in ("dirichlet", "quantity"),
        ),
    }

    def __post_init__(self) -> None:
        require(bool(self.name.strip()), "data.name", self.name, "must name a data set, or the path of one")
        require(self.shards_per_device >= 1, "data.shards_per_device", self.shards_per_device, "must be at least 1")
        require(self.least_samples >= 1, "data.least_samples", self.least_samples, "must be at least 1")
        if self.partition == "column":
            require(
                bool(self.device_column), "data.device_column", self.device_column, "must name the column, for column"
            )
        require(0 < self.alpha < math.inf, "data.alpha", self.alpha, "must be a finite number above 0")
        if self.samples_per_device is not None:
            require(self.samples_per_device >= 1, "data.samples_per_device", self.samples_per_device, "at least 1")
