"""What leaves the server for devices without PyTorch: the front before training, the whole network after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from ecofed.activations import configured_codec
from ecofed.config.methods import OURS, facts_of
from ecofed.config.schema import Config
from ecofed.costs.clock import Clock
from ecofed.errors import ConfigError, ModelError, StorageError
from ecofed.files.disk import write_bytes
from ecofed.methods import Channel, Method
from ecofed.methods.channel import Ask
from ecofed.methods.delivery import Delivery
from ecofed.methods.plausible import check_counts
from ecofed.models import Partition, build_front, exported
from ecofed.models.to_onnx import add_network
from ecofed.onnx import DeviceBundle, Graph
from ecofed.onnx.graph import metadata_text
from ecofed.runs.preparation import Prepared, prepare
from ecofed.runs.saved_model import MODEL_FILE, TrainedNetwork, load_model, save_model
from ecofed.wire import Acknowledge, Counted, CountRight, FrontBundle, InstallNetwork, Message


def export_front(config: Config, folder: Path, note: Callable[[str], None], *, int8: bool = False) -> DeviceBundle:
    """Write the folder that a device without PyTorch is given; see :mod:`ecofed.onnx.device_bundle`.

    Args:
        config: a run whose devices send codes (``ecofed``); its data set is needed for the number of classes.
        folder: is made if needed.
        note: is told what a reader should know.
        int8: round the weights to 8 bits per output channel, a quarter of the size. That is another front, with
            another id: train with ``front.name`` = the folder's ``front.safetensors``.

    Raises:
        ConfigError: another method. ModelError: a layer that has no counterpart in ONNX.
    """
    coded = facts_of(config.method).coded(config)
    if coded is None:
        raise ConfigError(f"method = {config.method!r}: only '{OURS}' devices run a front without training it")
    prepared = prepare(config, note)
    assert prepared.bundle is not None
    bundle = prepared.bundle
    if int8:
        bundle = bundle.with_int8_weights()
    bundle = bundle.for_device(coded.limit_bits)
    made = DeviceBundle(task=prepared.task, front=front_file(bundle, config, int8=int8), bundle=bundle)
    made.save(folder)
    return made


def front_file(bundle: FrontBundle, config: Config, *, int8: bool = False) -> bytes:
    """The bundle's front as an ONNX file, from the PyTorch network."""
    graph = Graph((bundle.in_channels, bundle.input_size, bundle.input_size), int8=int8)
    start = (graph.input, torch.zeros(2, *graph.input_shape))
    name, example = add_network(graph, build_front(bundle, config.normalisation), start)
    return graph.encode(name, tuple(example.shape[1:]), metadata_text({"front_id": bundle.id}))


def export_network(run: str | Path, file: Path, *, int8: bool = False) -> int:
    """Write a trained network as ONNX: front, codec there and back, back. Returns the file's bytes.

    Args:
        run: a run folder, or its ``model.safetensors``.
        file: where to; ``ecofed predict`` reads it without PyTorch.
        int8: store convolutions and linear layers in 8 bits per weight, with a scale per output channel.

    Raises:
        ModelError: not a trained network, or a layer that has no counterpart in ONNX.
    """
    if file.suffix != ".onnx":
        raise ModelError(f"{file}: the name of an exported network must end in .onnx")
    content = network_file(load_model(run), int8=int8)
    write_bytes(file, content)
    return len(content)


def network_file(network: TrainedNetwork, *, int8: bool = False) -> bytes:
    """A trained network as an ONNX file."""
    coded = network.coded
    return exported.network_file(
        Partition(front=network.front, back=network.back, layer=""),
        None if coded is None else lambda shape: configured_codec(coded, shape, network.upper_C),
        network.task,
        classes=network.classes,
        normalisation=network.task.config.normalisation,
        int8=int8,
    )


def deliver(
    channel: Channel, method: Method, prepared: Prepared, note: Callable[[str], None], clock: Clock | None
) -> tuple[Mapping[int, tuple[np.ndarray, np.ndarray]], float]:
    """Send the trained network to every device, as ``config.delivery`` says. A device that is away is told nothing.

    Returns what devices found out about it, if they were to: held-out samples of each class, and how many of them are
    right, by device; and how many seconds all of it takes by the clock. A network that cannot be made (it has diverged,
    there is no temporary folder) is a note: the results stay.
    """
    config = prepared.task.config
    try:
        with TemporaryDirectory() as folder:
            save_model(Path(folder) / MODEL_FILE, method, prepared)
            content = network_file(load_model(folder), int8=config.delivery == "int8")
    except (OSError, ModelError, StorageError) as error:
        note(f"the trained network was not delivered ({error})")
        return {}, 0.0
    asks = [Ask(request=InstallNetwork(round=config.rounds, network=content), reply=Acknowledge)]
    if config.validation.on_devices:
        asks.append(Ask(request=CountRight(round=config.rounds), reply=Counted))

    def answered(device: int, replies: Sequence[Message]) -> tuple[np.ndarray, np.ndarray] | None:
        counted = replies[-1]
        if not isinstance(counted, Counted):
            return None
        own = counted.samples_K, counted.right_K
        check_counts(config, device, *own, prepared.task.classes, method.counts.of(device))
        return own

    channel.start_round()
    found = dict(channel.visit(range(config.devices), lambda _: asks, answered, optional=True))
    seconds = 0.0
    if clock is not None:
        held_out = [len(share) - len(part) for share, part in zip(prepared.shares, prepared.parts, strict=True)]
        seconds = Clock(Delivery, config, clock.work, held_out, clock.fleet).round(channel.exchanges).seconds
    told = f"the trained network, {len(content):,} bytes of ONNX, went to {len(found)} of {config.devices} devices"
    note(told + (", which tested it" if config.validation.on_devices else ""))
    for text in channel.notes if config.validation.on_devices else ():
        note(text)
    return {device: counts for device, counts in found.items() if counts is not None}, seconds
