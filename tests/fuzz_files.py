"""Edited files by the thousand: ``make fuzz``. Anything but one line of a documented error is a failure.

Networks, checkpoints, results, fronts, device bundles, settings and pictures are written as valid files, changed where
a hand or a broken disk would change them, and written again **with right checksums**, so that they are read.
A file of at most a megabyte may take a second of processor time and 64 MB. A failure prints the case that made it:
``python tests/fuzz_files.py --only model --first 1234 --cases 1``.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gzip
import json
import os
import random
import resource
import struct
import sys
import tarfile
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecofed.config import Settings
from ecofed.config.presets import preset_names, preset_text
from ecofed.config.task import Task
from ecofed.costs.availability import read_trace
from ecofed.costs.profiles import load_device
from ecofed.data import load_dataset
from ecofed.data.formats import FORMATS
from ecofed.errors import EcoFedError
from ecofed.files.tensor_files import pack, unpack
from ecofed.methods.restoring import restore
from ecofed.onnx import DeviceBundle
from ecofed.onnx.front_graphs import front_to_onnx
from ecofed.reports.html import report_html
from ecofed.reports.joining import load
from ecofed.reports.tables import markdown, plain_text
from ecofed.runs.checkpoints import CHECKPOINT_FILE, Checkpoint
from ecofed.runs.exporting import network_file
from ecofed.runs.prediction import OnnxNetwork
from ecofed.runs.saved_model import MODEL_FILE, load_model
from ecofed.wire import FrontBundle

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "data"))

from data_builders import cifar_records, encode, pictures, write_archive, write_idx, write_rows

from methods.tiny import StopAfter, run, started, tiny_config

SECONDS, BYTES = 1.0, 64 << 20

#: What a hand or an attacker would put where something else stood.
ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        7,
        1.5,
        -0.0,
        1e-300,
        1e300,
        2**31,
        2**32,
        2**53,
        2**63 - 1,
        2**63,
        -(2**63),
        10**25,
    ),
    *("", "a", "x" * 5000, "\x1b[2J\u202e\0", "nan", "../../etc/passwd", "1e999", "[red]", "block1", "head", "group"),
    *([], {}, [[]], [None], [0] * 300, {"a": {"b": {"c": 1}}}, [[1, 2], [3]], {"": 0}),
)
#: JSON that Python's own writer would not write.
RAW = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "[" * 3000 + "]" * 3000, '{"a":1,"a":2}', "")
_MARK = "@raw@"


def changed_json(value: Any, draw: random.Random, raw: bool = True) -> str:
    """A value as JSON text, changed in one to three places."""
    value = json.loads(json.dumps(value))
    put: list[str] = []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        holder, key = draw.choice(list(_places(value)))
        match draw.randrange(6):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 0 | 1:
                holder[key] = [holder[key]] * draw.choice((1, 2, 50))
            case 2 if isinstance(holder, dict):
                holder[draw.choice(("", "new", f"{key} ", "__class__"))] = holder[key]
            case 3 if raw:
                put.append(draw.choice(RAW))
                holder[key] = f"{_MARK}{len(put) - 1}{_MARK}"
            case 4 if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
                holder[key] = draw.choice((-holder[key], holder[key] + 1, holder[key] * 10**6, holder[key] / 3))
            case _:
                holder[key] = copy.deepcopy(draw.choice(ODD))
    text = json.dumps(value)
    for number, content in enumerate(put):
        text = text.replace(f'"{_MARK}{number}{_MARK}"', content)
    return text


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in nested dicts and lists; one of a long list."""
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))[:3]
    for key, inner in items:
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def changed_arrays(arrays: dict[str, np.ndarray], draw: random.Random) -> dict[str, np.ndarray]:
    """Arrays of which one has another content, type, shape or name."""
    arrays = dict(arrays)
    name = draw.choice(sorted(arrays))
    array = arrays[name]
    match draw.randrange(8):
        case 0:
            del arrays[name]
        case 1:
            arrays[draw.choice((f"{name}x", "x", "", name.rpartition("/")[0], "upper", "model.new"))] = array
        case 2:
            arrays[name] = array.astype(draw.choice((np.int8, np.int64, np.float16, np.float64, np.uint8, np.bool_)))
        case 3:
            arrays[name] = array.reshape(-1)[: draw.randrange(array.size + 1)]
        case 4:
            arrays[name] = array[None]
        case 5:
            arrays[name] = np.zeros(draw.choice(((), (0,), (1,), (1, 1, 1, 1), (3, 0, 2))), array.dtype)
        case _:
            flat = array.reshape(-1).copy()
            values = (np.nan, np.inf, -1, 3e38, 0, 255) if array.dtype.kind == "f" else (0, 1, 100)
            if flat.size:
                with np.errstate(over="ignore"):
                    flat[draw.randrange(flat.size) :] = draw.choice(values)
            arrays[name] = flat.reshape(array.shape)
    return arrays


def changed_bytes(data: bytes, draw: random.Random) -> bytes:
    """Bytes that a broken disk or a bad copy would leave."""
    content = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at = draw.randrange(len(content)) if content else 0
        match draw.randrange(6):
            case 0:
                del content[at : at + draw.choice((1, 4, 100, len(content)))]
            case 1:
                content[at:at] = draw.randbytes(draw.choice((1, 4, 100)))
            case 2:
                content[at : at + 4] = struct.pack("<I", draw.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 20)))
            case 3:
                content[at : at + 8] = b"\xff" * 8
            case 4 if len(content) > 8:
                content[-8:-4] = struct.pack("<I", draw.choice((0, 5, 0xFFFFFFFF, len(content))))
            case _ if content:
                content[at] ^= 1 << draw.randrange(8)
    return bytes(content)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A kind of file: writes a changed one into a folder, and reads it as a user's command would."""

    write: Callable[[Path, random.Random], None]
    read: Callable[[Path], None]


class Files:
    """Valid files to start from, made once."""

    def __init__(self, folder: Path) -> None:
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        self.run, self.stopped = folder / "run", folder / "stopped"
        run(tiny_config("ecofed", rounds=2), out=self.run, report=False)
        with contextlib.suppress(KeyboardInterrupt):
            run(tiny_config("ecofed"), out=self.stopped, observer=StopAfter(2), report=False)
        self.config = tiny_config("ecofed")
        self.method, prepared = started(self.config)
        assert prepared.bundle is not None
        self.bundle = prepared.bundle
        self.onnx = network_file(load_model(self.run))
        self.device = folder / "device"
        task = Task(config=self.config, in_channels=1, classes=10, mean=(0.5,), std=(0.5,), flip=False)
        DeviceBundle(task=task, front=front_to_onnx(self.bundle, "frozen"), bundle=self.bundle).save(self.device)
        self.bundle.save(folder / "front.safetensors")
        self.front = folder / "front.safetensors"
        write_rows(folder / "some.parquet", [{"bytes": encode(p), "path": None} for p in pictures(9)], [0, 1, 2] * 3)
        self.parquet = (folder / "some.parquet").read_bytes()
        write_idx(folder / "idx", "train", pictures(6, 28, 1)[..., 0], np.arange(6), packed=False)
        self.idx = {path.name: path.read_bytes() for path in (folder / "idx").iterdir()}
        names = [
            f"cifar-10-batches-bin/{name}.bin" for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")
        ]
        write_archive(folder / "cifar-10-binary.tar.gz", dict.fromkeys(names, cifar_records(pictures(3), np.arange(3))))
        self.tar = gzip.decompress((folder / "cifar-10-binary.tar.gz").read_bytes())

        self._warm_up(folder / "valid")

    def _warm_up(self, folder: Path) -> None:
        """Have everything imported: no case pays for that."""
        folder.mkdir()
        (folder / "train.parquet").write_bytes(self.parquet)
        self._read_data(folder, "parquet")
        (folder / "network.onnx").write_bytes(self.onnx)
        self._read_onnx(folder)
        self._read_model(self.run)
        self._read_result(self.run)
        self._read_checkpoint(self.stopped)
        self._use_front(self.front)
        self._use_device(self.device)

    def targets(self) -> dict[str, Target]:
        return {
            "model": Target(write=self._model, read=self._read_model),
            "checkpoint": Target(write=self._checkpoint, read=self._read_checkpoint),
            "result": Target(write=self._result, read=self._read_result),
            "front": Target(write=self._front, read=lambda folder: self._use_front(folder / "front.safetensors")),
            "device": Target(write=self._device, read=lambda folder: self._use_device(folder)),
            "onnx": Target(write=self._onnx, read=self._read_onnx),
            "toml": Target(write=self._toml, read=self._read_toml),
            "parquet": Target(write=self._parquet, read=lambda folder: self._read_data(folder, "parquet")),
            "idx": Target(write=self._idx, read=lambda folder: self._read_data(folder, "idx")),
            "cifar": Target(write=self._cifar, read=lambda folder: self._read_data(folder, "cifar")),
        }

    def _tensors(self, source: Path, target: Path, draw: random.Random, *, nested: str = "") -> None:
        if draw.random() < 0.15:
            target.write_bytes(changed_bytes(source.read_bytes(), draw))
            return
        packed = unpack(source)
        text, arrays = packed.description, packed.arrays
        if draw.random() < 0.35:
            arrays = changed_arrays(arrays, draw)
        elif nested and draw.random() < 0.7:
            values = json.loads(text)
            text = json.dumps(values | {nested: changed_json(json.loads(values[nested]), draw)})
        else:
            text = changed_json(json.loads(text), draw)
        target.write_bytes(pack(arrays, text))

    def _model(self, folder: Path, draw: random.Random) -> None:
        self._tensors(self.run / MODEL_FILE, folder / MODEL_FILE, draw, nested="task")

    def _read_model(self, folder: Path) -> None:
        load_model(folder).logits(np.zeros((2, 28, 28, 1), np.uint8))

    def _checkpoint(self, folder: Path, draw: random.Random) -> None:
        self._tensors(self.stopped / CHECKPOINT_FILE, folder / CHECKPOINT_FILE, draw)

    def _read_checkpoint(self, folder: Path) -> None:
        checkpoint = Checkpoint.read(folder, self.config.to_dict())
        if checkpoint is not None:
            restore(self.method, checkpoint.arrays, checkpoint.values, folder / CHECKPOINT_FILE)

    def _result(self, folder: Path, draw: random.Random) -> None:
        values = json.loads((self.run / "result.json").read_text())
        (folder / "result.json").write_text(changed_json(values, draw), encoding="utf-8", errors="surrogatepass")
        if draw.random() < 0.3:
            summary = {"schema": "ecofed-summary/1", "runs": [{"result": "result.json"}], "notes": [], "command": ""}
            (folder / "summary.json").write_text(changed_json(summary, draw))

    def _read_result(self, folder: Path) -> None:
        result = load(folder)
        report_html(result, [])
        plain_text(result)
        markdown(result)

    def _front(self, folder: Path, draw: random.Random) -> None:
        self._tensors(self.front, folder / "front.safetensors", draw)

    def _use_front(self, file: Path) -> None:
        front_to_onnx(FrontBundle.load(file), "frozen")

    def _device(self, folder: Path, draw: random.Random) -> None:
        for file in self.device.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        file = folder / "device.json"
        file.write_text(changed_json(json.loads(file.read_text()), draw), encoding="utf-8", errors="surrogatepass")

    def _use_device(self, folder: Path) -> None:
        DeviceBundle.load(folder)

    def _onnx(self, folder: Path, draw: random.Random) -> None:
        (folder / "network.onnx").write_bytes(changed_bytes(self.onnx, draw))

    def _read_onnx(self, folder: Path) -> None:
        OnnxNetwork(folder / "network.onnx")(np.zeros((2, 28, 28, 1), np.uint8))

    def _toml(self, folder: Path, draw: random.Random) -> None:
        text = preset_text(draw.choice(preset_names()))
        words = (
            "[" * 2000,
            "a." * 2000,
            "9" * 5000,
            "0x" + "f" * 5000,
            "nan",
            "'''",
            "\x00",
            "[a]\n[a]\n",
            "= = ",
            '"\\u001b"',
        )
        match draw.randrange(3):
            case 0:
                at = draw.randrange(len(text))
                text = text[:at] + draw.choice(words) + text[at:]
            case 1:
                lines = text.splitlines()
                number = draw.randrange(len(lines))
                lines[number] = f"{lines[number].partition('=')[0]}= {draw.choice((*words, '[]', '{}', '-1', '1e300'))}"
                text = "\n".join(lines)
            case _:
                text = changed_bytes(text.encode(), draw).decode("latin-1")
        for name in ("settings.toml", "profile.toml"):
            (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")
        rows = [f"{draw.choice(ODD)},{draw.choice(ODD)},{draw.randrange(9)}" for _ in range(3)]
        (folder / "trace.csv").write_text(
            "device,first_round,last_round\n0,1,2\n" + "\n".join(rows), encoding="utf-8", errors="surrogatepass"
        )

    def _read_toml(self, folder: Path) -> None:
        for read in (
            lambda: Settings.load(folder / "settings.toml"),
            lambda: load_device(str(folder / "profile.toml")),
            lambda: read_trace(folder / "trace.csv", 10),
        ):
            with contextlib.suppress(EcoFedError):
                read()

    def _parquet(self, folder: Path, draw: random.Random) -> None:
        (folder / "train.parquet").write_bytes(changed_bytes(self.parquet, draw))

    def _idx(self, folder: Path, draw: random.Random) -> None:
        changed = draw.choice(sorted(self.idx))
        for name, content in self.idx.items():
            data = changed_bytes(content, draw) if name == changed else content
            (folder / f"{name}.gz").write_bytes(gzip.compress(data, 1))

    def _cifar(self, folder: Path, draw: random.Random) -> None:
        data = bytearray(self.tar)
        if draw.random() < 0.7:  # a header with a right checksum
            at = 512 * draw.randrange(len(data) // 512)
            member = tarfile.TarInfo(draw.choice(("cifar-10-batches-bin/data_batch_1.bin", "x", "")))
            member.size = draw.choice((0, 1, 3073, 1 << 30, 1 << 32))
            member.type = draw.choice((b"0", b"5", b"S", b"L", b"K", b"x", b"g", b"1", b"Z"))
            data[at : at + 512] = member.tobuf(tarfile.GNU_FORMAT)[:512]
        packed = gzip.compress(changed_bytes(bytes(data), draw) if draw.random() < 0.5 else bytes(data), 1)
        if draw.random() < 0.2:
            packed = changed_bytes(packed, draw)
        (folder / "cifar-10-binary.tar.gz").write_bytes(packed)

    def _read_data(self, folder: Path, layout: str) -> None:
        if FORMATS[layout].find(folder):
            load_dataset(str(folder), note=lambda _: None)


def one_case(name: str, target: Target, case: int, folder: Path) -> str:
    """Write and read one changed file. Returns how it ended: ``taken``, or the class of the refusal.

    Raises:
        AssertionError: it took too long or too much, or the refusal is not one clean line. Whatever the reading raises.
    """
    for left in folder.iterdir():
        left.unlink()
    target.write(folder, random.Random(f"{name} {case}"))
    before, began = _peak_bytes(), time.process_time()
    refusal = None
    try:
        target.read(folder)
    except EcoFedError as error:
        refusal = error
    seconds, taken = time.process_time() - began, _peak_bytes() - before
    assert seconds <= SECONDS, f"{seconds:.2f} s"
    assert taken <= BYTES, f"{taken >> 20} MB"
    if refusal is None:
        return "taken"
    assert str(refusal), "an empty message"
    assert str(refusal).isprintable(), f"not one clean line: {refusal!r}"
    return type(refusal).__name__


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120, help="for all kinds together")
    parser.add_argument("--only", help="one kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--cases", type=int, default=10**9, help="at most so many of each kind")
    arguments = parser.parse_args()
    failed: set[str] = set()
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "case").mkdir()
        targets = Files(Path(place)).targets()
        chosen = [arguments.only] if arguments.only else sorted(targets)
        for name in chosen:
            endings: Counter[str] = Counter()
            until = time.monotonic() + arguments.seconds / len(chosen)
            case = arguments.first
            while case < arguments.first + arguments.cases and (time.monotonic() < until or case == arguments.first):
                try:
                    endings[one_case(name, targets[name], case, Path(place) / "case")] += 1
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
