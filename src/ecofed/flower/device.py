"""The ClientApp: one device. Its images are read here and never leave.

Flower starts a process for every message, so what a device must remember (the invitation and the front) lies in the
context's state, which the SuperNode keeps. No PyTorch is needed where ONNX Runtime is.

Node configuration (``flower-supernode --node-config``):

``device``    this device's number, from 0 (or ``partition-id``, as Flower's simulation sets it)
``data``      a folder of images, or any data set: all its training images are this device's; without it the device
              takes its share of the run's data set, for trying things out
``worker``    ``torch``, ``onnx`` or ``auto`` (the default: PyTorch where it is installed)
``network``   a file to write the trained network to, when the run delivers it (``delivery``)
``numbers``   a file in which the device's images keep their numbers, for runs that ask for what is new
``images-may-leave``   ``true`` allows runs of ``send-images``, where the images themselves are sent
``privacy``   a file that keeps the secret of the device's noise and what it has given away; runs with noise need it
``max-epsilon``   what all runs together may give away of each image; runs that add no noise are refused
``max-delta``     the probability that it leaves out (0.00001)
``max-label-epsilon``   the same of each image's label by itself
``front``     a folder that ``ecofed export front`` wrote, for a front that the device cannot build itself
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from flwr.app import ArrayRecord, Context, Message
from flwr.clientapp import ClientApp

from ecofed.data import Dataset, ImageSet, load_dataset, partition
from ecofed.data.images import coloured
from ecofed.data.reading import task_reading
from ecofed.data.stored import ImageRows, part_of
from ecofed.devices import LocalImages, OnnxWorker
from ecofed.devices.account import Account, allowance_of
from ecofed.devices.lasting_numbers import lasting_order
from ecofed.devices.local_images import class_numbers
from ecofed.devices.protection import refused
from ecofed.errors import ConfigError, DataError, DeviceError, EcoFedError, WireError
from ecofed.flower.content import HELLO, REQUESTS, Invitation, array, pack, unpack
from ecofed.onnx import DeviceBundle
from ecofed.wire import AskStatistics, FrontInstalled, InstallFront, Refresh, RefreshNew, SendImages, decode
from ecofed.wire import Message as WireMessage

app = ClientApp()

_STATE, _INVITATION, _FRONT = "ecofed", "invitation", "install-front"
#: Statuses of a reply, for the adapter on the server.
OK, FORGOT, REFUSED = "ok", "forgot", "refused"


class Worker(Protocol):
    """Either kind of device worker."""

    def handle(self, request: bytes) -> bytes: ...


@app.query(HELLO)  # type: ignore[untyped-decorator]
def hello(message: Message, context: Context) -> Message:
    """Keep the invitation; answer with this device's number, or with the reason why it cannot take part."""
    known: dict[str, int] = {}
    try:
        number = device_number(context.node_config)
        known = {"device": number, "own": int("data" in context.node_config)}
        data, _ = unpack(message.content)
        invitation = Invitation.decode(b"".join(data))
        own_account(invitation, context.node_config)
        own_images(invitation, number, context.node_config)
    except EcoFedError as error:
        return Message(pack([], status=REFUSED, reason=str(error), **known), reply_to=message)
    context.state[_STATE] = ArrayRecord({_INVITATION: array(invitation.encode())})
    return Message(pack([], status=OK, **known), reply_to=message)


@app.query(REQUESTS)  # type: ignore[untyped-decorator]
def requests(message: Message, context: Context) -> Message:
    """Answer our own messages, in their order."""
    memory = context.state.array_records.get(_STATE)
    try:
        wanted, _ = unpack(message.content)
        installs = bool(wanted) and _is(wanted[0], InstallFront)
        _check_images(wanted, context.node_config)
        _check_numbers(wanted, context.node_config)
        if memory is None or (
            _FRONT not in memory and bool(wanted) and _is(wanted[0], Refresh, RefreshNew, AskStatistics)
        ):
            return Message(pack([], status=FORGOT), reply_to=message)
        worker = make_worker(Invitation.decode(memory[_INVITATION].data), context.node_config)
    except EcoFedError as error:
        return Message(pack([], status=REFUSED, reason=str(error)), reply_to=message)
    if _FRONT in memory and not installs:
        worker.handle(memory[_FRONT].data)
    replies = []
    for request in wanted:
        replies.append(worker.handle(request))
        if _is(request, InstallFront) and _is(replies[-1], FrontInstalled):
            context.state[_STATE] = ArrayRecord({_INVITATION: memory[_INVITATION], _FRONT: array(request)})
    return Message(pack(replies, status=OK), reply_to=message)


def device_number(node_config: Any) -> int:
    """The device's number in the fleet.

    Raises:
        ConfigError: there is none.
    """
    number = node_config.get("device", node_config.get("partition-id"))
    if not isinstance(number, int) or number < 0:
        raise ConfigError("this SuperNode has no device number; start it with --node-config 'device=0' (1, 2, ...)")
    return number


def make_worker(invitation: Invitation, node_config: Any) -> Worker:
    """The worker that the node configuration asks for, with this device's images."""
    kind = str(node_config.get("worker", "auto"))
    if kind not in ("auto", "torch", "onnx"):
        raise ConfigError(f"node config worker = {kind!r}: must be torch, onnx or auto")
    number = device_number(node_config)
    account = own_account(invitation, node_config)
    images_NHWC, labels_N = own_images(invitation, number, node_config)
    task = invitation.task
    network = Path(str(node_config["network"])) if "network" in node_config else None
    if kind == "onnx" or (kind == "auto" and find_spec("torch") is None):
        front = node_config.get("front")
        exported = None if front is None else DeviceBundle.load(Path(str(front)))
        return OnnxWorker(task, LocalImages(task, number, images_NHWC, labels_N, account), exported, network)
    import torch

    from ecofed.devices import DeviceWorker, LocalData

    torch.set_num_threads(task.config.threads)
    return DeviceWorker(task, LocalData(task, number, images_NHWC, labels_N, account=account), network)


def own_account(invitation: Invitation, node_config: Any) -> Account:
    """The device's privacy account, which only its owner can set up.

    Raises:
        ConfigError: none is named where there must be one; it is damaged; a limit is no number. DeviceError: the owner
            does not allow such a run.
    """
    allowance = allowance_of(node_config)
    if refusal := refused(invitation.task.config, allowance):
        raise DeviceError(refusal)
    file = node_config.get("privacy")
    if file is not None:
        return Account.on_disk(Path(str(file)), allowance)
    if invitation.task.config.privacy.active or allowance.any:
        raise ConfigError("noise needs a file that keeps what was given away (node config privacy=FILE)")
    return Account()


def own_images(invitation: Invitation, number: int, node_config: Any) -> tuple[ImageRows, np.ndarray]:
    """This device's training images (N, H, W, C) and labels (N,), numbered as the server numbers classes.

    Raises:
        DataError: missing or malformed images, or a class that the run does not know. ConfigError: a device too many.
    """
    config = invitation.task.config
    if number >= config.devices:
        raise ConfigError(f"device {number}: this run has devices 0 to {config.devices - 1}")
    own = node_config.get("data")
    how = task_reading(invitation.task)
    if own is not None:
        dataset = load_dataset(str(own), how=replace(how, device_column=None, image_column=None, label_column=None))
    else:
        dataset = load_dataset(config.data.name, fallback=config.data.fallback, how=how)
    if (dataset.channels, invitation.task.in_channels) == (1, 3):  # as in a folder that has both
        coloured_set = ImageSet(coloured(dataset.train.images_NHWC), dataset.train.labels_N, dataset.train.device_N)
        dataset = replace(dataset, train=coloured_set)
    _check_channels(dataset, invitation.task.in_channels)
    # First the server's numbers: who holds which images may depend on them.
    labels_N = class_numbers(dataset, invitation.task)[dataset.train.labels_N]
    if own is not None:
        images_NHWC, file = dataset.train.images_NHWC, node_config.get("numbers")
        if file is None:
            return images_NHWC, labels_N
        order_N = lasting_order(Path(str(file)), images_NHWC)
        return part_of(images_NHWC, order_N), labels_N[order_N]
    chosen = partition(labels_N, config.devices, config.data, config.seed, dataset.train.device_N)[number]
    return part_of(dataset.train.images_NHWC, chosen), labels_N[chosen]


def _check_channels(dataset: Dataset, channels: int) -> None:
    if dataset.channels != channels:
        raise DataError(f"{dataset.title} has {dataset.channels} colour channels; this run's images have {channels}")


def _check_images(wanted: list[bytes], node_config: Any) -> None:
    if any(_is(request, SendImages) for request in wanted) and node_config.get("images-may-leave") is not True:
        raise DeviceError("the images of this device may not leave it (node config images-may-leave=true allows it)")


def _check_numbers(wanted: list[bytes], node_config: Any) -> None:
    """A folder is read in the order of its names, in which a new image may come anywhere."""
    if any(_is(request, RefreshNew) for request in wanted) and "data" in node_config and "numbers" not in node_config:
        raise DeviceError("which images are new is not known here (node config numbers=FILE, from the first run on)")


def _is(request: bytes, *kinds: type[WireMessage]) -> bool:
    try:
        return isinstance(decode(request)[0], kinds)
    except WireError:
        return False
