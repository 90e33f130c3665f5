"""What a server gets of given images: a device's own worker is asked in the method's messages, its reply decoded.

Who attacks can do the same to images of his own, as he knows the software: pairs of image and upload. Which messages a
method has is seen from what its devices answer, so a variant from a plug-in is attacked as what it is a variant of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ecofed.activations import Codec, configured_codec, decompress
from ecofed.config.task import Task, upload_order
from ecofed.data.jpeg import JpegBatch, decompress_images
from ecofed.data.transforms import padded
from ecofed.devices import DeviceWorker
from ecofed.devices.answering import side_of
from ecofed.devices.local_data import LocalData, training_view
from ecofed.errors import DeviceError
from ecofed.models import AuxiliaryClassifier, activation_shape, parameter_arrays, state_arrays
from ecofed.runs.preparation import Prepared
from ecofed.wire import (
    ApplyGradient,
    Distilled,
    Failure,
    FrontInstalled,
    FrontTrained,
    Images,
    InstallFront,
    LocallyTrained,
    Message,
    Refresh,
    SendImages,
    SplitBatch,
    StartSplit,
    TrainDistilled,
    TrainLocally,
    Upload,
    decode,
    encode,
)

#: Of a device's images: so many are asked of one, as more would only take longer.
MOST_OF_A_DEVICE = 500
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """N images and what arrives of each, decoded only where it is looked at."""

    pixels_NHWC: np.ndarray
    """uint8: what the network saw of them, augmentation included."""
    labels_N: np.ndarray
    """int64, the true ones."""
    samples_N: np.ndarray
    """int64: their numbers among the images that were given to the device."""
    rows: np.ndarray
    """(N, R): a code, or the numbers themselves."""
    scale_N: np.ndarray
    """float32, (N,) or empty."""
    codec: Codec | None
    """``None``: the rows are the numbers."""
    shape_CHW: tuple[int, int, int]
    """Of what is decoded."""
    bytes_per_image: float
    """Of the content that is about images, as it travels: without labels and framing."""

    def __len__(self) -> int:
        return len(self.labels_N)

    def decoded(self, which_B: np.ndarray | slice) -> np.ndarray:
        """What the server sees of these, float32 (B, C, H, W)."""
        rows = self.rows[which_B]
        if self.codec is None:
            return rows.reshape(len(rows), *self.shape_CHW)
        return self.codec.decode(rows, self.scale_N[which_B] if len(self.scale_N) else None)

    def part(self, which_M: np.ndarray) -> Uploaded:
        """These images only."""
        return Uploaded(
            pixels_NHWC=self.pixels_NHWC[which_M],
            labels_N=self.labels_N[which_M],
            samples_N=self.samples_N[which_M],
            rows=self.rows[which_M],
            scale_N=self.scale_N[which_M] if len(self.scale_N) else self.scale_N,
            codec=self.codec,
            shape_CHW=self.shape_CHW,
            bytes_per_image=self.bytes_per_image,
        )

    def shuffled(self, order_N: np.ndarray) -> Uploaded:
        """The same images with each other's uploads, which so say nothing about them: a control."""
        swapped = self.part(order_N)
        return Uploaded(
            pixels_NHWC=self.pixels_NHWC,
            labels_N=self.labels_N,
            samples_N=self.samples_N,
            rows=swapped.rows,
            scale_N=swapped.scale_N,
            codec=self.codec,
            shape_CHW=self.shape_CHW,
            bytes_per_image=self.bytes_per_image,
        )


def joined(parts: list[Uploaded]) -> Uploaded:
    """Uploads of several devices as one."""
    count = sum(map(len, parts))
    return Uploaded(
        pixels_NHWC=np.concatenate([part.pixels_NHWC for part in parts]),
        labels_N=np.concatenate([part.labels_N for part in parts]),
        samples_N=np.concatenate([part.samples_N for part in parts]),
        rows=np.concatenate([part.rows for part in parts]),
        scale_N=np.concatenate([part.scale_N for part in parts]),
        codec=parts[0].codec,
        shape_CHW=parts[0].shape_CHW,
        bytes_per_image=sum(part.bytes_per_image * len(part) for part in parts) / max(count, 1),
    )


def uploads_of(prepared: Prepared, data: LocalData) -> Uploaded:
    """What the server gets of a device's images.

    Of a method whose uploads are about no single image it is nothing, and only the images are told.

    Raises:
        DeviceError: the device refused.
    """
    tap = _tap_of(prepared.task.config.method) or _nothing
    return tap(prepared, data, DeviceWorker(prepared.task, data))


def _nothing(prepared: Prepared, data: LocalData, worker: DeviceWorker) -> Uploaded:  # noqa: ARG001
    count = len(data)
    return _numbers(data, np.zeros((count, 1, 1, 1), np.float32), np.arange(count), 0, {})


def uploads_images(method: str) -> bool:
    """Whether this method's devices upload something of each image that :func:`uploads_of` knows."""
    return _tap_of(method) is not None


def _tap_of(method: str) -> _Tap | None:
    side = side_of(method)
    answers = {} if side is None else side.answers
    return next((tap for request, tap in _TAPS.items() if request in answers), None)


_Tap = Callable[[Prepared, LocalData, DeviceWorker], Uploaded]


def ask(worker: DeviceWorker, request: Message, reply: type[M]) -> tuple[M, dict[str, int]]:
    """A device's answer, and its bytes by kind.

    Raises:
        DeviceError: it refused, or answered something else.
    """
    message, by_kind = decode(worker.handle(encode(request).data))
    if isinstance(message, Failure):
        raise DeviceError(message.reason)
    if not isinstance(message, reply):
        raise DeviceError(f"answered {type(message).__name__} where {reply.__name__} was asked for")
    return message, by_kind


def seen_pixels(data: LocalData, samples_N: np.ndarray, view: int) -> np.ndarray:
    """uint8 (N, H, W, C): images as the network is given them, before they are normalised."""
    task = data.task
    mean, std = (np.array(values, np.float32).reshape(1, -1, 1, 1) for values in (task.mean, task.std))
    found = []
    for at in range(0, len(samples_N), 64):
        x_BCHW = data.arrays(samples_N[at : at + 64], view)
        found.append(np.rint((x_BCHW * std + mean) * 255).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1))
    return np.concatenate(found)


def _numbers(data: LocalData, h_NCHW: np.ndarray, samples_N: np.ndarray, view: int, kinds: dict[str, int]) -> Uploaded:
    """Of activations that travel as they are."""
    return Uploaded(
        pixels_NHWC=seen_pixels(data, samples_N, view),
        labels_N=data.labels_N[samples_N].astype(np.int64),
        samples_N=data.given_as_N[samples_N],
        rows=h_NCHW.reshape(len(h_NCHW), -1),
        scale_N=np.empty(0, np.float32),
        codec=None,
        shape_CHW=h_NCHW.shape[1:],
        bytes_per_image=kinds.get("activations", 0) / max(1, len(h_NCHW)),
    )


def _codes(prepared: Prepared, data: LocalData, worker: DeviceWorker) -> Uploaded:
    """A frozen front, coded activations."""
    assert prepared.bundle is not None
    config = prepared.task.config
    bundle = prepared.bundle.for_device(config.codec.limit_bits)
    installed, _ = ask(worker, InstallFront(bundle=bundle.encode()), FrontInstalled)
    request = Refresh(round=1, view=0, front_id=installed.front_id, want_labels=True)
    upload, kinds = ask(worker, request, Upload)
    codec = configured_codec(config.codec, bundle.activation_shape, bundle.upper.get(config.codec.bits))
    codes = decompress(upload.codes, upload.samples, codec, config.codec.entropy)
    rows, scale_N = codec.open(codes, upload.samples, upload.scales, config.batch_size)
    order_N = upload_order(config.seed, data.device, 0, upload.samples)
    return Uploaded(
        pixels_NHWC=seen_pixels(data, order_N, 0),
        labels_N=data.labels_N[order_N].astype(np.int64),
        samples_N=data.given_as_N[order_N],
        rows=rows,
        scale_N=scale_N,
        codec=codec,
        shape_CHW=bundle.activation_shape,
        bytes_per_image=kinds.get("activations", 0) / max(1, upload.samples),
    )


def _split(prepared: Prepared, data: LocalData, worker: DeviceWorker) -> Uploaded:
    """Activations batch by batch. The server decides on the gradients: with zeros the front stays as it is."""
    front = state_arrays(prepared.halves.front)
    reply: Message = ask(worker, StartSplit(round=1, front=front), SplitBatch)[0]
    activations, total = [], dict[str, int]()
    while isinstance(reply, SplitBatch):
        activations.append(reply.activation_BCHW)
        still = np.zeros_like(reply.activation_BCHW)
        message, kinds = decode(
            worker.handle(encode(ApplyGradient(round=1, step=reply.step, gradient_BCHW=still)).data)
        )
        for kind, count in kinds.items():
            total[kind] = total.get(kind, 0) + count
        reply = message
    if not isinstance(reply, FrontTrained):
        raise DeviceError(getattr(reply, "reason", f"answered {type(reply).__name__}"))
    h_NCHW = np.concatenate(activations)
    batches = list(data.batches(1))
    order_N, view = np.concatenate([samples for samples, _ in batches]), batches[0][1]
    first = len(order_N) if prepared.task.config.local_epochs == 1 else len(data)
    kinds = {"activations": h_NCHW[:first].nbytes}
    return _numbers(data, h_NCHW[:first], order_N[:first], view, kinds)


def _local_loss(prepared: Prepared, data: LocalData, worker: DeviceWorker) -> Uploaded:
    """Activations of a front that learns on the device meanwhile."""
    front, auxiliary = _learning(prepared)
    reply, kinds = ask(worker, TrainLocally(round=1, front=front, auxiliary=auxiliary), LocallyTrained)
    batches = list(data.batches(1))
    order_N, view = np.concatenate([samples for samples, _ in batches])[: len(data)], batches[0][1]
    kinds["activations"] = kinds.get("activations", 0) * len(data) // max(1, len(reply.activation_NCHW))
    return _numbers(data, reply.activation_NCHW[: len(data)], order_N, view, kinds)


def _distilled(prepared: Prepared, data: LocalData, worker: DeviceWorker) -> Uploaded:
    """Activations after a local epoch, in the device's own order."""
    front, auxiliary = _learning(prepared)
    reply, kinds = ask(worker, TrainDistilled(round=1, front=front, auxiliary=auxiliary), Distilled)
    return _numbers(data, reply.activation_NCHW, np.arange(len(data)), training_view(1), kinds)


def _learning(prepared: Prepared) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The front, and a linear classifier that starts from zero."""
    front, task = prepared.halves.front, prepared.task
    auxiliary = AuxiliaryClassifier(activation_shape(front, task.in_channels, task.input_size), task.classes)
    return state_arrays(front), {name: np.zeros_like(array) for name, array in parameter_arrays(auxiliary).items()}


def _images(prepared: Prepared, data: LocalData, worker: DeviceWorker) -> Uploaded:
    """The images themselves; what is decoded is a picture (C, H, W) in 0..1."""
    task: Task = prepared.task
    settings = task.config.send_images
    reply, kinds = ask(worker, SendImages(round=1, quality=settings.quality, size=settings.size or 0), Images)
    batch = JpegBatch(header=reply.header, bodies=reply.bodies, lengths_N=reply.lengths_N)
    received_NHWC = decompress_images(batch, task.in_channels, input_size=task.input_size)
    pictures_NHWC = padded(received_NHWC, task.input_size)
    rows = pictures_NHWC.transpose(0, 3, 1, 2).reshape(len(pictures_NHWC), -1).astype(np.float32) / 255
    return Uploaded(
        pixels_NHWC=padded(data.plain(np.arange(len(data))), task.input_size),
        labels_N=data.labels_N.astype(np.int64),
        samples_N=data.given_as_N,
        rows=rows,
        scale_N=np.empty(0, np.float32),
        codec=None,
        shape_CHW=(task.in_channels, task.input_size, task.input_size),
        bytes_per_image=kinds.get("images", 0) / max(1, len(data)),
    )


#: By what a device of the method answers.
_TAPS: dict[type[Message], _Tap] = {
    Refresh: _codes,
    StartSplit: _split,
    TrainLocally: _local_loss,
    TrainDistilled: _distilled,
    SendImages: _images,
}
