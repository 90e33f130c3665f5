"""What a device costs: installed size, memory and speed of an upload of 500 images, with PyTorch and without.

    python benchmarks/device.py [--model vgg11] [--width 1.0] [--images 500]

Each worker runs in a process of its own, one thread; the ONNX one runs with PyTorch made impossible to import.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np

KINDS = {"onnx": "device", "torch": "train"}


def measure(kind: str, front: Path, images: int) -> dict[str, float]:
    """In this process: one upload; its seconds, and the largest memory ever used, in megabytes of 10^6 bytes."""
    if kind == "onnx":
        sys.modules["torch"] = None  # type: ignore[assignment] - makes every import of it fail
    from ecofed.config.schema import Config
    from ecofed.config.task import Task
    from ecofed.devices import LocalImages, OnnxWorker
    from ecofed.wire import FrontBundle, InstallFront, Refresh, Upload, decode, encode

    bundle = FrontBundle.load(front)
    config = Config().replace(codec__bits=8)
    task = Task(config=config, in_channels=3, classes=10, mean=bundle.mean, std=bundle.std, flip=True)
    pictures = np.random.default_rng(0).integers(0, 256, (images, 32, 32, 3)).astype(np.uint8)
    labels = np.zeros(images, np.int64)
    if kind == "onnx":
        worker = OnnxWorker(task, LocalImages(task, 0, pictures, labels))
    else:
        import torch

        from ecofed.devices import DeviceWorker, LocalData

        torch.set_num_threads(1)
        worker = DeviceWorker(task, LocalData(task, 0, pictures, labels))
    worker.handle(encode(InstallFront(bundle=bundle.encode())).data)
    before = _memory()
    started = time.perf_counter()
    request = Refresh(round=1, view=0, front_id=bundle.id, want_labels=True)
    reply, _ = decode(worker.handle(encode(request).data))
    seconds = time.perf_counter() - started
    assert isinstance(reply, Upload), reply
    return {"seconds": seconds, "before_megabytes": before, "megabytes": _memory()}


def _memory() -> float:
    """The largest resident set so far. Not from getrusage: that one remembers the parent's from before the exec."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def installed_megabytes(extra: str) -> float:
    """Files of ecofed, of its dependencies with ``extra``, and of theirs."""
    waiting, seen, total = [("ecofed", extra)], set(), 0
    while waiting:
        name, wanted = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # a dependency of another platform
        total += sum(Path(str(file.locate())).stat().st_size for file in distribution.files or () if _exists(file))
        for requirement in distribution.requires or ():
            of_extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
            if of_extra is None or of_extra[1] == wanted:
                dependency = re.match(r"[\w.-]+", requirement)
                assert dependency is not None
                waiting.append((re.sub(r"[-_.]+", "-", dependency[0]).lower(), ""))
    return total / 1e6


def _exists(file: metadata.PackagePath) -> bool:
    return Path(str(file.locate())).is_file()


def write_front(path: Path, model: str, width: float) -> None:
    """A front with random weights; speed and memory do not depend on their values."""
    from ecofed.config.problem import ModelConfig
    from ecofed.models import activation_shape, default_cut, empty_front, initialise
    from ecofed.wire import FrontBundle

    cut = default_cut(model)
    front = empty_front(ModelConfig(name=model, width=width, head_width=1), 3, cut, "frozen")
    initialise(front, 0)
    shape = activation_shape(front.eval(), 3)
    FrontBundle(
        model=model,
        width=width,
        cut=cut,
        in_channels=3,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        activation_shape=shape,
        weights={name: value.numpy() for name, value in front.state_dict().items()},
        upper={8: np.ones(shape[0], np.float32)},
    ).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a device costs, with PyTorch and without.")
    parser.add_argument("--model", default="vgg11")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--child", nargs=2, metavar=("KIND", "FRONT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        kind, front = arguments.child
        print(json.dumps(measure(kind, Path(front), arguments.images)))
        return
    with tempfile.TemporaryDirectory() as folder:
        front = Path(folder) / "front.safetensors"
        write_front(front, arguments.model, arguments.width)
        print(f"{arguments.model} x {arguments.width:g}, {arguments.images} images, one thread")
        print(f"{'worker':8}{'installed':>12}{'before':>10}{'peak RSS':>10}{'images/s':>10}")
        for kind, extra in KINDS.items():
            command = [sys.executable, __file__, "--child", kind, str(front), "--images", str(arguments.images)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            figures = json.loads(done.stdout)
            speed = arguments.images / figures["seconds"]
            print(
                f"{kind:8}{installed_megabytes(extra):9.0f} MB{figures['before_megabytes']:7.0f} MB"
                f"{figures['megabytes']:7.0f} MB{speed:10.0f}"
            )


if __name__ == "__main__":
    main()
