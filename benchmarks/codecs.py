"""What codecs and entropy coding do with a front's activations of real images: bytes, error, speed.

    python benchmarks/codecs.py [--front vgg11-w0.5-rgb] [--data cifar10] [--images 500]

Speeds are ratios: how many times faster than the front itself, on one thread, an image is coded and decoded.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from ecofed.activations import Codec, compress, decompress, make_codec
from ecofed.data import load_dataset, to_input
from ecofed.models.fronts import build_front
from ecofed.pretraining.shipped import shipped_front
from ecofed.wire import FrontBundle

BATCH = 20
COLUMNS = ("codec", "entropy", "bytes an image", "squared error", "coded at", "decoded at")


def seconds(action: Callable[[], object], repeats: int = 5) -> float:
    """The best of several times: others use this machine, too."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def codecs(bundle: FrontBundle) -> Iterator[tuple[str, Codec]]:
    """Every codec that the bundle has limits for, with the name that the table gives it."""
    for bits in sorted(bundle.upper):
        yield f"uniform, {bits} bits", make_codec("uniform", bits, bundle.activation_shape, bundle.upper[bits])
        if bits in (2, 3, 4):
            yield f"lloyd-max, {bits} bits", make_codec("lloyd-max", bits, bundle.activation_shape, bundle.upper[bits])
        if bits == 2:
            yield "top-k, 2 bits of 10 %", make_codec("top-k", bits, bundle.activation_shape, bundle.upper[bits])
    yield "minmax, 8 bits", make_codec("minmax", 8, bundle.activation_shape)


def rows(codec: Codec, h_NCHW: np.ndarray, front_seconds: float) -> Iterator[tuple[str, ...]]:
    """One row of the table for each entropy coding."""
    count = len(h_NCHW)
    encoded = codec.encode(h_NCHW, BATCH)
    codes = encoded.rows.tobytes()
    scale_N = np.repeat(encoded.scales, BATCH)[:count]
    error = np.square(codec.decode(encoded.rows, scale_N) - h_NCHW).mean() / np.square(h_NCHW).mean()
    encoding = seconds(lambda: codec.encode(h_NCHW, BATCH))
    decoding = seconds(lambda: [codec.decode(encoded.rows[at : at + BATCH], scale_N[at : at + BATCH])
                                for at in range(0, count, BATCH)])  # fmt: skip
    for entropy in ("none", "deflate", "range"):
        data = compress(codes, count, codec, entropy)
        coding = encoding + seconds(lambda e=entropy: compress(codes, count, codec, e), 2)  # type: ignore[misc]
        opening = decoding + seconds(lambda e=entropy, d=data: decompress(d, count, codec, e), 2)  # type: ignore[misc]
        yield (
            entropy,
            f"{len(data) / count:,.0f}",
            f"{error:.4f}",
            f"{front_seconds / coding:.1f}x",
            f"{front_seconds / opening:.1f}x",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--front", default="vgg11-w0.5-rgb", help="a shipped front")
    parser.add_argument("--data", default="cifar10", help="a data set's name or folder")
    parser.add_argument("--images", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bundle, dataset = shipped_front(arguments.front).load(), load_dataset(arguments.data)
    x_NCHW = torch.from_numpy(to_input(dataset.train.images_NHWC[: arguments.images], bundle.mean, bundle.std))
    front = build_front(bundle, bundle.normalisation)
    with torch.no_grad():
        h_NCHW = np.concatenate([front(batch).numpy() for batch in torch.split(x_NCHW, 100)])
        front_seconds = seconds(lambda: [front(batch) for batch in torch.split(x_NCHW, 100)], 3)
    print(f"{arguments.front}, {len(h_NCHW)} images of {dataset.title}\n")
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS))
    for name, codec in codecs(bundle):
        for row in rows(codec, h_NCHW, front_seconds):
            print("| " + " | ".join((name, *row)) + " |", flush=True)


if __name__ == "__main__":
    main()
