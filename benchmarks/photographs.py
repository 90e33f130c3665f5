"""What photographs cost: largest memory of a run, pictures decoded a second, and pictures a second of a front.

    python benchmarks/photographs.py memory [--photographs 1000,10000]
    python benchmarks/photographs.py speed
    python benchmarks/photographs.py device [--photographs 500]

``memory`` makes JPEG files of 213x160 pixels, and trains two short rounds on them with the preset ``photos``, in a
process of its own and with an empty cache. ``speed`` runs fronts with PyTorch and with ONNX Runtime, one thread,
as many pictures at once as devices take. ``device`` is a device of the preset ``photos`` without PyTorch, which sends
codes of its own folder: its speed, and the largest memory of its process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = 5
RUN = {
    "rounds": 2,
    "test_samples": 200,
    "threads": 1,
    "ecofed__server_steps": 25,
}
#: What runs: (network, width, side of the picture).
FRONTS = (
    ("vgg11", 0.5, 32),
    ("efficientnet-lite0", 1.0, 48),
    ("efficientnet-lite0", 1.0, 128),
)
SECONDS = 5.0


def make_photographs(folder: Path, count: int) -> None:
    """Smooth colours with some grain, which compress as photographs do."""
    draw = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"class{number % CLASSES}" / f"{number:05}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((213, 160), Image.Resampling.BICUBIC), np.int16)
        grain = draw.integers(-6, 7, (160, 213, 1), dtype=np.int16)
        Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(place, quality=90)


def measure_memory(folder: str) -> dict[str, float]:
    """In this process: seconds of reading the pictures, and megabytes (of 10^6 bytes) at the end."""
    import ecofed
    from ecofed.config.network_input import Frame
    from ecofed.data import load_dataset
    from ecofed.data.reading import Reading
    from ecofed.runs.observing import SilentObserver

    started = time.perf_counter(), time.process_time()
    data = load_dataset(folder, how=Reading(frame=Frame(image_size=128)), note=lambda _: None)
    pictures = len(data.train) + len(data.test)
    found = {"decoded": pictures / (time.process_time() - started[1]), "read": memory()}
    result = ecofed.run("photos", data__name=folder, observer=SilentObserver(), **RUN)
    assert result.totals.uplink_bytes > 0
    return found | {"megabytes": memory(), "seconds": time.perf_counter() - started[0]}


def memory() -> float:
    """The largest resident set so far. Not from getrusage: that one remembers the parent's from before the exec."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def print_memory(counts: list[int]) -> None:
    print(f"{'photographs':>12}{'decoded/s':>12}{'MB after reading':>18}{'MB at the end':>15}")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            make_photographs(Path(folder, "pictures"), count)
            command = [sys.executable, __file__, "memory", "--child", str(Path(folder, "pictures"))]
            done = subprocess.run(
                command, env={**os.environ, "XDG_CACHE_HOME": folder}, check=True, capture_output=True, text=True
            )
        found = json.loads(done.stdout)
        print(f"{count:>12,}{found['decoded']:>12.0f}{found['read']:>18.0f}{found['megabytes']:>15.0f}")


def print_speed() -> None:
    import torch

    from ecofed.config.network_input import images_at_once
    from ecofed.config.problem import ModelConfig
    from ecofed.models import build_front
    from ecofed.onnx import Session, front_to_onnx
    from ecofed.pretraining.published import published_front
    from ecofed.pretraining.shipped import shipped_front

    torch.set_num_threads(1)
    print(f"{'front':22}{'pixels':>8}{'PyTorch/s':>12}{'ONNX/s':>10}   (pictures a second of processor time)")
    for name, width, side in FRONTS:
        if name == "vgg11":
            bundle = shipped_front("vgg11-w0.5-rgb").load()
        else:
            bundle = published_front(ModelConfig(name=name), "block6", 3, input_size=side, code=None)
        x_NCHW = np.random.default_rng(0).standard_normal((images_at_once(side), 3, side, side), np.float32)
        front = build_front(bundle, "frozen").eval()
        session = Session(front_to_onnx(bundle, "frozen"), threads=1)
        with torch.inference_mode():
            in_torch = rate(front, torch.from_numpy(x_NCHW).contiguous(memory_format=torch.channels_last))
        print(f"{f'{name} x {width:g}':22}{side:>8}{in_torch:>12.0f}{rate(session, x_NCHW[:10]):>10.0f}")


def measure_device(folder: str) -> dict[str, float]:
    """In this process, one thread, PyTorch made impossible to import: one upload of the photographs in a folder."""
    sys.modules["torch"] = None  # type: ignore[assignment]
    from ecofed.config.task import Task
    from ecofed.data import load_dataset
    from ecofed.data.reading import task_reading
    from ecofed.devices import LocalImages, OnnxWorker
    from ecofed.wire import FrontBundle, InstallFront, Refresh, Upload, decode, encode

    task = Task.from_json(Path(folder, "task.json").read_text(encoding="utf-8"))
    bundle = FrontBundle.load(Path(folder, "front.safetensors"))
    started = time.process_time()
    own = load_dataset(task.config.data.name, how=task_reading(task), note=lambda _: None).train
    worker = OnnxWorker(task, LocalImages(task, 0, own.images_NHWC, own.labels_N))
    worker.handle(encode(InstallFront(bundle=bundle.for_device(8).encode())).data)
    installed, memory_before = time.process_time(), memory()
    reply, _ = decode(
        worker.handle(encode(Refresh(round=1, view=0, front_id=bundle.for_device(8).id, want_labels=True)).data)
    )
    assert isinstance(reply, Upload), reply
    seconds = time.process_time() - installed
    return {
        "read": memory_before,
        "megabytes": memory(),
        "bytes": len(reply.codes) / len(own),
        "installed": installed - started,
        "rate": len(own) / seconds,
    }


def print_device(photographs: int) -> None:
    from ecofed.config import Settings
    from ecofed.runs.preparation import prepare

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_photographs(folder / "pictures", photographs * 5 // 4)  # a fifth of a class is for tests
        settings = Settings.load("photos", [f"data.name={folder / 'pictures'}"])
        config = settings.for_method("ecofed")
        prepared = prepare(config, lambda _: None)
        assert prepared.bundle is not None
        prepared.bundle.save(folder / "front.safetensors")
        (folder / "task.json").write_text(prepared.task.to_json(), encoding="utf-8")
        command = [sys.executable, __file__, "device", "--child", name]
        environment = {**os.environ, "XDG_CACHE_HOME": name, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    print(f"{photographs} photographs, one upload at {found['bytes']:.0f} bytes each, one thread, no PyTorch")
    print(f"largest memory: {found['read']:.0f} MB after reading, {found['megabytes']:.0f} MB in all")
    print(f"photographs a second of processor time: {found['rate']:.0f}; before that {found['installed']:.1f} s")


def rate(run: Callable[[Any], object], pictures: Any) -> float:
    """Pictures a second of processor time: what else runs on the machine plays less of a role."""
    run(pictures)
    times, before = 0, time.process_time()
    while time.process_time() < before + SECONDS:
        run(pictures)
        times += 1
    return times * len(pictures) / (time.process_time() - before)


def main() -> None:
    parser = argparse.ArgumentParser(description="What photographs cost.")
    parser.add_argument("what", choices=("memory", "speed", "device"))
    parser.add_argument("--photographs", default="", help="how many (memory: 1000,10000; device: 500)")
    parser.add_argument("--child", metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        measure = measure_device if arguments.what == "device" else measure_memory
        print(json.dumps(measure(arguments.child)))
    elif arguments.what == "memory":
        print_memory([int(word) for word in (arguments.photographs or "1000,10000").split(",")])
    elif arguments.what == "device":
        print_device(int(arguments.photographs or 500))
    else:
        print_speed()


if __name__ == "__main__":
    main()
