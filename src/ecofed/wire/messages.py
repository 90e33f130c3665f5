"""Every message there is. A request goes to a device, a reply comes back; each has a number and a fixed field order.

Shapes: N samples, C channels, H x W spatial, B batch, K classes. Labels are the smallest unsigned integers that hold K.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ecofed.wire.fields import Array, Blob, Field, Flag, Real, TensorDict, Tensors, Text, UInt

_LABELS = Array("labels", ("u1", "u2", "u4"), rank=1)


def carried(field: Field) -> Any:
    """A message's field, and how it is written."""
    return dataclasses.field(metadata={"wire": field})


def round_number() -> Any:
    """The field that most messages begin with."""
    return carried(UInt())


@dataclass(frozen=True, kw_only=True)
class Message:
    """Base class; ``number`` identifies the class on the wire."""

    number: ClassVar[int] = 0


@dataclass(frozen=True, kw_only=True)
class Failure(Message):
    """Reply: the device could not do what it was asked."""

    number: ClassVar[int] = 1
    reason: str = carried(Text())


@dataclass(frozen=True, kw_only=True)
class Acknowledge(Message):
    """Reply: done, nothing to say."""

    number: ClassVar[int] = 2
    round: int = round_number()


# --- classic-fl: the whole network goes down and comes back ---


@dataclass(frozen=True, kw_only=True)
class TrainWhole(Message):
    """Request: train the whole network for the local epochs."""

    number: ClassVar[int] = 10
    round: int = round_number()
    weights: Tensors = carried(TensorDict("weights"))


@dataclass(frozen=True, kw_only=True)
class TrainedWhole(Message):
    """Reply to :class:`TrainWhole`."""

    number: ClassVar[int] = 11
    round: int = round_number()
    samples: int = carried(UInt())
    loss: float = carried(Real())
    weights: Tensors = carried(TensorDict("weights"))


# --- vanilla-dpfl: activation up, gradient down, batch by batch ---


@dataclass(frozen=True, kw_only=True)
class StartSplit(Message):
    """Request: take this front and send the first batch's activation."""

    number: ClassVar[int] = 20
    round: int = round_number()
    front: Tensors = carried(TensorDict("weights"))


@dataclass(frozen=True, kw_only=True)
class SplitBatch(Message):
    """Reply: one batch's activation (B, C, H, W) and labels (B,)."""

    number: ClassVar[int] = 21
    round: int = round_number()
    step: int = carried(UInt())
    activation_BCHW: np.ndarray = carried(Array("activations"))
    labels_B: np.ndarray = carried(_LABELS)


@dataclass(frozen=True, kw_only=True)
class ApplyGradient(Message):
    """Request: the gradient (B, C, H, W) of the batch sent last; update the front, send the next batch."""

    number: ClassVar[int] = 22
    round: int = round_number()
    step: int = carried(UInt())
    gradient_BCHW: np.ndarray = carried(Array("gradients"))


@dataclass(frozen=True, kw_only=True)
class FrontTrained(Message):
    """Reply: there are no more batches; the front as trained on ``samples`` samples."""

    number: ClassVar[int] = 23
    round: int = round_number()
    samples: int = carried(UInt())
    front: Tensors = carried(TensorDict("weights"))


# --- lgl and fedgkt: the front learns on the device, through an auxiliary classifier ---


@dataclass(frozen=True, kw_only=True)
class TrainLocally(Message):
    """Request (lgl): train front and auxiliary classifier on the local loss."""

    number: ClassVar[int] = 30
    round: int = round_number()
    front: Tensors = carried(TensorDict("weights"))
    auxiliary: Tensors = carried(TensorDict("weights"))


@dataclass(frozen=True, kw_only=True)
class LocallyTrained(Message):
    """Reply: new weights, and the activation (N, C, H, W) of every batch in the order they were trained."""

    number: ClassVar[int] = 31
    round: int = round_number()
    loss: float = carried(Real())
    front: Tensors = carried(TensorDict("weights"))
    auxiliary: Tensors = carried(TensorDict("weights"))
    activation_NCHW: np.ndarray = carried(Array("activations"))
    labels_N: np.ndarray = carried(_LABELS)


@dataclass(frozen=True, kw_only=True)
class TrainDistilled(Message):
    """Request (fedgkt): a local epoch with distillation from the server's logits, where the device has some."""

    number: ClassVar[int] = 40
    round: int = round_number()
    front: Tensors = carried(TensorDict("weights"))
    auxiliary: Tensors = carried(TensorDict("weights"))


@dataclass(frozen=True, kw_only=True)
class Distilled(Message):
    """Reply: new weights, then one inference pass: activation (N, C, H, W), labels (N,), device logits (N, K)."""

    number: ClassVar[int] = 41
    round: int = round_number()
    loss: float = carried(Real())
    front: Tensors = carried(TensorDict("weights"))
    auxiliary: Tensors = carried(TensorDict("weights"))
    activation_NCHW: np.ndarray = carried(Array("activations"))
    labels_N: np.ndarray = carried(_LABELS)
    logits_NK: np.ndarray = carried(Array("logits", rank=2))


@dataclass(frozen=True, kw_only=True)
class ServerLogits(Message):
    """Request (fedgkt): the server's logits (N, K) for the activations just uploaded, to distil from next time."""

    number: ClassVar[int] = 42
    round: int = round_number()
    logits_NK: np.ndarray = carried(Array("logits", rank=2))


# --- ecofed: a frozen front goes down once, coded activations come up now and then ---


@dataclass(frozen=True, kw_only=True)
class InstallFront(Message):
    """Request: keep this front bundle (see :mod:`ecofed.wire.bundle`)."""

    number: ClassVar[int] = 50
    bundle: bytes = carried(Blob("front"))


@dataclass(frozen=True, kw_only=True)
class FrontInstalled(Message):
    """Reply: the id of the front that the device now holds."""

    number: ClassVar[int] = 51
    front_id: str = carried(Text())


@dataclass(frozen=True, kw_only=True)
class Refresh(Message):
    """Request: run the front over one augmented view of all samples and upload the coded activations."""

    number: ClassVar[int] = 52
    round: int = round_number()
    view: int = carried(UInt())
    front_id: str = carried(Text(limit=64))
    want_labels: bool = carried(Flag())


@dataclass(frozen=True, kw_only=True)
class RefreshNew(Message):
    """Request: as :class:`Refresh`, of the samples from number ``first`` on, with their labels."""

    number: ClassVar[int] = 54
    round: int = round_number()
    view: int = carried(UInt())
    front_id: str = carried(Text(limit=64))
    first: int = carried(UInt())


@dataclass(frozen=True, kw_only=True)
class Upload(Message):
    """Reply: codes of N samples in the order of the keyed permutation for (device, view)."""

    number: ClassVar[int] = 53
    round: int = round_number()
    view: int = carried(UInt())
    front_id: str = carried(Text(limit=64))
    samples: int = carried(UInt())
    saturated_fraction: float = carried(Real())
    codes: bytes = carried(Blob("activations"))
    scales: np.ndarray = carried(Array("activations", rank=1))
    labels_N: np.ndarray = carried(_LABELS)


# --- rivals: images themselves, or sums over a device's samples ---


@dataclass(frozen=True, kw_only=True)
class SendImages(Message):
    """Request (send-images): all images as JPEG."""

    number: ClassVar[int] = 60
    round: int = round_number()
    quality: int = carried(UInt(limit=100))
    size: int = carried(UInt(limit=1024))
    """Side in pixels to scale to before, 0 for none."""


@dataclass(frozen=True, kw_only=True)
class Images(Message):
    """Reply: N images and their labels, in the device's own order; see :mod:`ecofed.data.jpeg`."""

    number: ClassVar[int] = 61
    round: int = round_number()
    header: bytes = carried(Blob("images", limit=1 << 16))
    bodies: bytes = carried(Blob("images"))
    lengths_N: np.ndarray = carried(Array("images", ("u2", "u4"), rank=1))
    labels_N: np.ndarray = carried(_LABELS)


@dataclass(frozen=True, kw_only=True)
class AskStatistics(Message):
    """Request (closed-form): sums over pooled features of all samples, each activation averaged on a grid."""

    number: ClassVar[int] = 62
    round: int = round_number()
    front_id: str = carried(Text(limit=64))
    rows: int = carried(UInt(limit=1024))
    columns: int = carried(UInt(limit=1024))


@dataclass(frozen=True, kw_only=True)
class Statistics(Message):
    """Reply: D features (a constant 1 included) of N samples; the upper triangle of F^T F, and F^T Y (D, K)."""

    number: ClassVar[int] = 63
    round: int = round_number()
    front_id: str = carried(Text(limit=64))
    samples: int = carried(UInt())
    gram: np.ndarray = carried(Array("statistics", rank=1))
    cross_DK: np.ndarray = carried(Array("statistics", rank=2))


# --- any method: the result reaches the devices ---


@dataclass(frozen=True, kw_only=True)
class InstallNetwork(Message):
    """Request: keep the trained network (an ONNX file) for predictions on the device. Reply: :class:`Acknowledge`."""

    number: ClassVar[int] = 70
    round: int = round_number()
    network: bytes = carried(Blob("weights"))


@dataclass(frozen=True, kw_only=True)
class CountRight(Message):
    """Request: run the network that was installed on the samples that the device holds out. Reply: :class:`Counted`."""

    number: ClassVar[int] = 71
    round: int = round_number()


@dataclass(frozen=True, kw_only=True)
class Counted(Message):
    """Reply: how many samples of each class were held out, and how many of them the network got right."""

    number: ClassVar[int] = 72
    round: int = round_number()
    samples_K: np.ndarray = carried(Array("statistics", ("u4",), rank=1))
    right_K: np.ndarray = carried(Array("statistics", ("u4",), rank=1))


_BUILT_IN: dict[int, type[Message]] = {
    cls.number: cls
    for cls in (
        *(Failure, Acknowledge, TrainWhole, TrainedWhole, StartSplit, SplitBatch, ApplyGradient, FrontTrained),
        *(TrainLocally, LocallyTrained, TrainDistilled, Distilled, ServerLogits),
        *(InstallFront, FrontInstalled, Refresh, RefreshNew, Upload),
        *(SendImages, Images, AskStatistics, Statistics, InstallNetwork, CountRight, Counted),
    )
}
#: What this process takes, by number.
REGISTRY = dict(_BUILT_IN)


def speak(own: Sequence[type[Message]]) -> None:
    """Let this process take a plug-in's messages too, and no other plug-in's: a run is about one method.

    Devices' workers are made while others, in other threads, read messages: what stays is there at every moment.
    """
    wanted = _BUILT_IN | {cls.number: cls for cls in own}
    REGISTRY.update(wanted)
    for number in REGISTRY.keys() - wanted.keys():
        REGISTRY.pop(number, None)


def schema(cls: type[Message]) -> list[tuple[str, Field]]:
    """The message's fields in wire order."""
    return [(field.name, field.metadata["wire"]) for field in dataclasses.fields(cls)]


def label_dtype(classes: int) -> np.dtype[Any]:
    """The smallest unsigned integer type that holds ``classes`` class numbers."""
    return np.min_scalar_type(max(classes - 1, 0))
