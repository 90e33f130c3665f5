"""Peers that lie by the thousand: ``make fuzz``. A lie costs only who tells it; anything else is a failure.

Replies of devices and requests of servers are changed and framed again **with right lengths and checksums**, so that
they reach the handlers: every method on the server (a round with one device that lies), every request on a device with
PyTorch and without. A message of at most a megabyte may take a second of processor time and 64 MB. A failure prints
the case that made it: ``python tests/fuzz_peers.py --only lgl --first 1234 --cases 1``.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import random
import resource
import struct
import sys
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecofed.config.methods import METHODS
from ecofed.costs.ledger import Ledger
from ecofed.devices import DeviceWorker, LocalImages, OnnxWorker
from ecofed.devices.answering import side_of
from ecofed.errors import WireError
from ecofed.methods import METHOD_CLASSES, Channel, Context
from ecofed.methods.transport import Answer
from ecofed.models import state_arrays
from ecofed.runs.preparation import Prepared, prepare
from ecofed.runtimes import InProcessTransport
from ecofed.wire import (
    HEADER_BYTES,
    AskStatistics,
    Failure,
    InstallFront,
    InstallNetwork,
    Message,
    Refresh,
    SendImages,
    ServerLogits,
    StartSplit,
    TrainDistilled,
    TrainLocally,
    TrainWhole,
    decode,
    encode,
)
from ecofed.wire.fields import Array, Blob, Field, Flag, Real, TensorDict, Text, UInt
from ecofed.wire.messages import REGISTRY, schema

sys.path.insert(0, str(Path(__file__).parent))

from fuzz_files import changed_json
from methods.tiny import tiny_config

SECONDS, BYTES, LONGEST = 1.0, 64 << 20, 1 << 20
HONEST, LIAR = 0, 2

ABOUT = ("round", "view", "step", "front_id")
NUMBERS = (0, 1, 2, 3, 7, 8, 19, 20, 21, 40, 255, 1000, 65535, 10**6, 1 << 20, 2**31, 2**32 - 1)
REALS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-38, 1e-3, 10.0, 500.0, 999.0, 1e4, 65504.0, 7e4, 1e10, 1e19, -1e30, 3e38, -3e38)
SIZES = (0, 1, 2, 3, 7, 20, 21, 100, 1000, 20_000, 100_000, 200_000)


# --- lies ---


def changed(message: Message, draw: random.Random) -> bytes:
    """A message with one to three changed fields, or with changed bytes, under a header that is right about it."""
    values = {name: getattr(message, name) for name, _ in schema(type(message))}
    fields = dict(schema(type(message)))
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        # What a message is about is compared first; a lie about it gets no further.
        name = draw.choice([name for name in fields if name not in ABOUT or draw.randrange(10) == 0] or list(fields))
        values[name] = _lie(fields[name], values[name], draw)
    try:
        data = encode(type(message)(**values)).data
    except (WireError, struct.error, KeyError, OverflowError, ValueError):
        data = encode(message).data
    if len(data) > LONGEST or draw.randrange(4) == 0:
        data = _bytes(encode(message).data if len(data) > LONGEST else data, draw)
    return data


def _bytes(data: bytes, draw: random.Random) -> bytes:
    """A few bytes changed, lost or added; the header follows."""
    payload, number = bytearray(data[HEADER_BYTES:]), data[5]
    for _ in range(draw.choice((1, 1, 2, 4))):
        at, length = draw.randrange(len(payload) + 1), draw.choice((1, 2, 4, 8, 100))
        match draw.randrange(4):
            case 0:
                payload[at : at + length] = draw.randbytes(length)
            case 1:
                del payload[at : at + length]
            case 2:
                payload[at:at] = payload[at : at + length] * draw.choice((1, 3, 1000))
            case _:
                size = draw.choice((1, 2, 4, 8))
                payload[at : at + size] = (draw.choice(NUMBERS) & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    if draw.randrange(20) == 0:
        number = draw.choice(list(REGISTRY))
    payload = payload[:LONGEST]
    return struct.pack("<4sBBHQI", b"EcoF", 1, number, 0, len(payload), zlib.crc32(bytes(payload))) + bytes(payload)


def changed_bundle(bundle: bytes, draw: random.Random) -> bytes:
    """A front with another description, or with tensors that are said to be others."""
    length = int.from_bytes(bundle[:8], "little")
    header = json.loads(bundle[8 : 8 + length])
    if draw.randrange(3):
        header["__metadata__"]["ecofed"] = changed_json(json.loads(header["__metadata__"]["ecofed"]), draw)
        text = json.dumps(header)
    else:
        text = changed_json(header, draw)
    data = text.encode("utf-8", "replace")
    return struct.pack("<Q", len(data)) + data + bundle[8 + length :]


def _lie(field: Field, value: Any, draw: random.Random) -> Any:
    match field:
        case UInt():
            return draw.choice((*NUMBERS, int(value) + 1, max(0, int(value) - 1))) % (field.limit + 1)
        case Flag():
            return not value
        case Real():
            return draw.choice(REALS)
        case Text():
            return draw.choice(("", "x" * 64, "\x1b[2J", str(value)[:-1]))[: field.limit]
        case Blob():
            return _blob(value, draw)[: field.limit]
        case Array():
            return _array(value, field, draw)
        case TensorDict():
            return _tensors(value, draw)
    raise AssertionError(f"no lie for {type(field).__name__}")


def _blob(value: bytes, draw: random.Random) -> bytes:
    match draw.randrange(7):
        case 0:
            return value[: draw.randrange(len(value) + 1)]
        case 1:
            return value * min(draw.choice((2, 50, 1000)), LONGEST // max(1, len(value)) + 1)
        case 2:
            return bytes([draw.randrange(4)]) + value[1:]
        case 3:
            return bytes([draw.randrange(4)]) + bytes(draw.choice(SIZES))
        case 4:
            return bytes([1]) + _deflated(draw.choice((10, 10**4, 10**7, 10**8)))
        case 5:
            return draw.randbytes(draw.choice(SIZES))
    at = draw.randrange(len(value) + 1)
    return value[:at] + draw.randbytes(3) + value[at + 3 :]


def _deflated(zeros: int) -> bytes:
    coder, piece = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS), bytes(10**4)
    return b"".join(coder.compress(piece[:zeros]) for _ in range(max(1, zeros // len(piece)))) + coder.flush()


def _array(value: np.ndarray, field: Array, draw: random.Random) -> np.ndarray:
    match draw.randrange(6):
        case 0:
            return np.full_like(value, _of(value, draw))
        case 1 if value.size:
            changed_ = value.copy()
            changed_.reshape(-1)[draw.randrange(value.size)] = _of(value, draw)
            return changed_
        case 2 if value.ndim:
            return value[: draw.randrange(len(value) + 1)]
        case 3 if value.ndim and value.size:
            return np.concatenate([value] * draw.choice((2, 5)))
        case 4:
            dtype = draw.choice(field.dtypes)
            return np.full([draw.choice(SIZES), *(2,) * ((field.rank or draw.choice((1, 2, 4))) - 1)], 1, dtype)
    return np.zeros_like(value)


def _of(value: np.ndarray, draw: random.Random) -> Any:
    if value.dtype.kind == "f":
        return draw.choice(REALS)
    return draw.choice(NUMBERS) % (np.iinfo(value.dtype).max + 1)


def _tensors(value: Any, draw: random.Random) -> dict[str, np.ndarray]:
    arrays = dict(value)
    name = draw.choice(list(arrays)) if arrays else "a"
    match draw.randrange(6):
        case 0:
            arrays.pop(name, None)
        case 1:
            arrays[draw.choice(("", "new", "x" * 10_000, f"{name}.weight"))] = np.ones((2, 3), np.float32)
        case 2:
            return {key: np.full_like(array, draw.choice(REALS)) for key, array in arrays.items()}
        case 3 if arrays:
            arrays[name] = arrays[name].reshape(-1)
        case 4:
            return {f"n{number}": np.zeros(0, np.float32) for number in range(draw.choice((0, 1, 5000)))}
        case _ if arrays:
            arrays[name] = np.full_like(arrays[name], draw.choice(REALS))
    return arrays


# --- to whom ---

#: A whole network of less than a megabyte.
SMALL: dict[str, Any] = {"model__width": 0.25}


class Lying(InProcessTransport):
    """Devices in this process, one of which lies once in a round. ``seconds``: what devices took."""

    def __init__(self, make_worker: Callable[[int], DeviceWorker], draw: random.Random) -> None:
        super().__init__(make_worker)
        self._draw = draw
        self._before_the_lie = draw.choice((0, 0, 0, 1, 2, 3))
        self.seconds = 0.0

    def exchange(self, device: int, requests: Sequence[bytes], deadline: float | None) -> Answer:
        began = time.process_time()
        answer = super().exchange(device, requests, deadline)
        self._before_the_lie -= device == LIAR
        if device == LIAR and answer.replies and self._before_the_lie == -1:
            replies = list(answer.replies)
            at = self._draw.randrange(len(replies)) if self._draw.randrange(4) == 0 else len(replies) - 1
            replies[at] = changed(decode(replies[at])[0], self._draw)
            answer = dataclasses.replace(answer, replies=replies)
        self.seconds += time.process_time() - began
        return answer


class Server:
    """A round of a method with an honest device and one that lies."""

    def __init__(self, method: str, **changes: Any) -> None:
        config = tiny_config(method, **{**SMALL, "quorum": 0.0, "sampled_devices": 4} | changes)
        self._prepared = prepare(config, lambda _: None)
        self._workers = {device: self._prepared.worker(device) for device in (HONEST, LIAR)}

    def __call__(self, draw: random.Random) -> tuple[str, float]:
        prepared, config = self._prepared, self._prepared.task.config
        transport = Lying(self._workers.__getitem__, draw)
        model, halves = copy.deepcopy((prepared.model, prepared.halves))
        method = METHOD_CLASSES[config.method](
            Context(
                task=prepared.task,
                channel=Channel(transport, Ledger(), quorum=config.quorum),
                model=model,
                halves=halves,
                bundle=prepared.bundle,
                early=prepared.early,
                torch_device=prepared.torch_device,
                samples=[20] * 4 if draw.randrange(2) else None,
            )
        )
        method.channel.ever_answered = True
        method.channel.start_round()
        began = time.process_time()
        method.train_round(1, [HONEST, LIAR])
        seconds = time.process_time() - began - transport.seconds
        notes = method.channel.notes
        assert all(note.startswith(f"device {LIAR}: ") and note.isprintable() for note in notes), notes
        arrays, _ = method.state()
        for name, array in arrays.items():
            assert array.dtype.kind != "f" or np.isfinite(array).all(), f"{name} is not finite"
        return ("left out" if notes else "taken"), seconds


class Device:
    """A device that is asked for something."""

    def __init__(self, kind: str) -> None:
        self._prepared = prepare(tiny_config("ecofed", **SMALL), lambda _: None)
        self._kind, task = kind, self._prepared.task
        own = self._prepared.parts[0]
        train = self._prepared.dataset.train
        self._requests = list(_requests(self._prepared))
        self._worker_for: dict[type[Message], DeviceWorker | OnnxWorker] = {}
        for method in METHODS:  # a device answers what its own method asks for
            task = dataclasses.replace(task, config=task.config.replace(method=method))
            images = (task, 0, train.images_NHWC[own], train.labels_N[own])
            torch_worker = dataclasses.replace(self._prepared, task=task).worker
            worker = torch_worker(0) if kind == "torch" else OnnxWorker(task, LocalImages(*images))
            self._worker_for |= dict.fromkeys((*side_of(method).answers, InstallNetwork), worker)

    def __call__(self, draw: random.Random) -> tuple[str, float]:
        request = draw.choice(self._requests)
        worker = self._worker_for[type(request)]
        worker.handle(encode(self._requests[0]).data)  # the front, which refresh and statistics need
        data = changed(request, draw)
        if isinstance(request, InstallFront) and draw.randrange(4):
            data = encode(InstallFront(bundle=changed_bundle(request.bundle, draw))).data
        began = time.process_time()
        reply, _ = decode(worker.handle(data))
        seconds = time.process_time() - began
        return ("refused" if isinstance(reply, Failure) else "answered"), seconds


def _requests(prepared: Prepared) -> Iterator[Message]:
    bundle = prepared.bundle
    assert bundle is not None
    bundle = bundle.for_device(prepared.task.config.codec.bits)
    front, whole = state_arrays(prepared.halves.front), state_arrays(prepared.model)
    features = int(np.prod(bundle.activation_shape))
    auxiliary = {
        "linear.weight": np.zeros((prepared.task.classes, features), np.float32),
        "linear.bias": np.zeros(prepared.task.classes, np.float32),
    }
    yield InstallFront(bundle=bundle.encode())
    yield Refresh(round=1, view=0, front_id=bundle.id, want_labels=True)
    yield AskStatistics(round=1, front_id=bundle.id, rows=1, columns=1)
    yield SendImages(round=1, quality=75, size=0)
    yield TrainWhole(round=1, weights=whole)
    yield StartSplit(round=1, front=front)
    yield TrainLocally(round=1, front=front, auxiliary=auxiliary)
    yield TrainDistilled(round=1, front=front, auxiliary=auxiliary)
    yield ServerLogits(round=1, logits_NK=np.zeros((20, prepared.task.classes), np.float32))
    yield InstallNetwork(round=1, network=b"onnx")


EARLY = {"model__name": "vgg11", "model__width": 0.125, "model__head_width": 8, "ecofed__device_cuts": "block1"}
TARGETS: dict[str, Callable[[], Callable[[random.Random], tuple[str, float]]]] = {
    "classic-fl": lambda: Server("classic-fl"),
    "vanilla-dpfl": lambda: Server("vanilla-dpfl"),
    "lgl": lambda: Server("lgl"),
    "fedgkt": lambda: Server("fedgkt"),
    "ecofed": lambda: Server("ecofed", codec__entropy="range"),
    "ecofed-float32": lambda: Server("ecofed", codec__name="float32", codec__entropy="deflate"),
    "ecofed-minmax": lambda: Server("ecofed", codec__name="minmax", codec__bits=8, codec__entropy="range"),
    "ecofed-top-k": lambda: Server("ecofed", codec__name="top-k", codec__entropy="range"),
    "ecofed-early": lambda: Server("ecofed", **EARLY),
    "send-images": lambda: Server("send-images"),
    "closed-form": lambda: Server("closed-form"),
    "device-torch": lambda: Device("torch"),
    "device-onnx": lambda: Device("onnx"),
}


def one_case(name: str, target: Callable[[random.Random], tuple[str, float]], case: int) -> str:
    """One lie. Returns what became of it.

    Raises:
        AssertionError: it took too long or too much, or others were hurt. Whatever a handler raises.
    """
    draw = random.Random(f"{name} {case}")
    before = _peak_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ending, seconds = target(draw)
    taken = _peak_bytes() - before
    assert seconds <= SECONDS, f"{seconds:.2f} s"
    assert taken <= BYTES, f"{taken >> 20} MB"
    return ending


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main() -> None:
    """The command line; the exit code is 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120, help="for all targets together")
    parser.add_argument("--only", choices=sorted(TARGETS), help="one target")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--cases", type=int, default=10**9, help="at most so many of each target")
    arguments = parser.parse_args()
    failed: set[str] = set()
    chosen = [arguments.only] if arguments.only else list(TARGETS)
    for name in chosen:
        target, endings = TARGETS[name](), Counter[str]()
        target(random.Random(0))  # what is loaded once is no case's
        until = time.monotonic() + arguments.seconds / len(chosen)
        case = arguments.first
        while case < arguments.first + arguments.cases and (time.monotonic() < until or case == arguments.first):
            try:
                endings[one_case(name, target, case)] += 1
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                kind = f"{name}: {type(error).__name__} in {Path(where.filename).name}:{where.lineno}"
                if kind not in failed:
                    failed.add(kind)
                    print(f"{kind} ({str(error)[:200]}); again with: --only {name} --first {case} --cases 1")
                    if arguments.cases == 1:
                        raise
            case += 1
        print(f"{name}: {case - arguments.first:,} cases, {dict(endings)}", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
