"""The replay buffer in memory and on disk: appending, drawing batches, checkpoints, largest memory.

    python benchmarks/replay_buffer.py

Each kind runs in a process of its own. Rows are random bytes, 500 an upload; batches of 20 are drawn from everything.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ecofed.activations import View, configured_buffer
from ecofed.config.methods import EcoFedConfig

UPLOAD_SAMPLES, BATCH = 500, 20


def measure(kind: str, samples: int, row_bytes: int, budget: int, batches: int) -> dict[str, float]:
    """Figures of one kind of buffer; seconds, and bytes of memory beyond those at the start."""
    draw = np.random.default_rng(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        settings = EcoFedConfig(buffer=kind, buffer_bytes=budget)  # type: ignore[arg-type]
        buffer = configured_buffer(settings, "front", Path(folder))
        started = time.perf_counter()
        for device in range(samples // UPLOAD_SAMPLES):
            rows = draw.integers(0, 256, (UPLOAD_SAMPLES, row_bytes), dtype=np.uint8)
            numbers = np.arange(UPLOAD_SAMPLES)
            view = View(rows=rows, scale_N=np.empty(0, np.float32), sample_N=numbers, labels_N=numbers % 10)
            buffer.put(device, 0, view, "front")
        appended = time.perf_counter()
        state_bytes = sum(array.nbytes for array in buffer.state().values())
        saved = time.perf_counter()
        pool = buffer.pool(buffer.devices)
        pooled = time.perf_counter()
        checksum = 0
        for rows_B in draw.integers(0, len(pool), (batches, BATCH)):
            checksum += int(pool.rows[rows_B].sum())
        drawn = time.perf_counter()
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return {
        "append": appended - started,
        "checkpoint": saved - appended,
        "checkpoint bytes": state_bytes,
        "pool": pooled - saved,
        "draw": drawn - pooled,
        "memory": grown,
        "checksum": checksum,
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--row-bytes", type=int, default=256)
    parser.add_argument("--budget", type=int, default=64 << 20, help="ecofed.buffer_bytes")
    parser.add_argument("--batches", type=int, default=5000)
    parser.add_argument("--kind", choices=("memory", "disk"), help="measure in this process, print JSON")
    options = parser.parse_args()
    figures = (options.samples, options.row_bytes, options.budget, options.batches)
    if options.kind:
        print(json.dumps(measure(options.kind, *figures)))
        return
    results = {}
    for kind in ("memory", "disk"):
        done = subprocess.run([sys.executable, *sys.argv, "--kind", kind], capture_output=True, text=True, check=True)
        results[kind] = json.loads(done.stdout)
    memory, disk = results["memory"], results["disk"]
    assert memory["checksum"] == disk["checksum"], "the two buffers gave different rows"
    mib, rows = 1 << 20, options.batches * BATCH
    print(f"{options.samples:,} samples of {options.row_bytes} B, {options.samples * options.row_bytes / mib:.0f} MiB")
    print(f"memory grew by (MiB)      in memory {memory['memory'] / mib:6.0f}   on disk {disk['memory'] / mib:6.0f}")
    print(
        f"in a checkpoint (MiB)     in memory {memory['checkpoint bytes'] / mib:6.0f}   "
        f"on disk {disk['checkpoint bytes'] / mib:6.2f}"
    )
    for what, count in (("append", options.samples), ("draw", rows)):
        print(
            f"{what} (samples/s)".ljust(26)
            + f"in memory {count / memory[what]:,.0f}   on disk {count / disk[what]:,.0f}"
            f"   ({disk[what] / memory[what]:.1f} x the time)"
        )


if __name__ == "__main__":
    main()
