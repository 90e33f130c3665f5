"""A coverage-guided fuzzer (atheris) for messages, bundles, tensors, coded uploads and checkpoints: ``make fuzz``.

    python tests/wire/guided.py --seconds 60

It starts from valid examples, keeps what reaches new lines, and stops at the first outcome that is neither a success
nor the clean refusal that belongs there; atheris then prints the bytes, and keeps them in a folder of temporary files.
Time and memory are limited. The first byte of an input says what it is given to.
"""

from __future__ import annotations

import argparse
import resource
import struct
import sys
import tempfile
import zlib
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ecofed"]):
    import numpy as np
    from fuzz import example, example_bundle

    from ecofed.activations import compress, decompress, make_codec
    from ecofed.errors import CheckpointError, WireError
    from ecofed.runs.checkpoints import CHECKPOINT_FILE, Checkpoint
    from ecofed.wire import HEADER_BYTES, FrontBundle, decode
    from ecofed.wire.fields import read_tensors
    from ecofed.wire.messages import REGISTRY

SHAPE, SAMPLES, BATCH = (3, 4, 4), 5, 2
UPPER_C = np.array([0.5, 1.0, 2.0], np.float32)
CODECS = [
    (make_codec("uniform", 4, SHAPE, UPPER_C), "range"),
    (make_codec("uniform", 2, SHAPE, UPPER_C), "deflate"),
    (make_codec("lloyd-max", 2, SHAPE, UPPER_C), "range"),
    (make_codec("top-k", 4, SHAPE, UPPER_C), "deflate"),
    (make_codec("minmax", 8, SHAPE), "none"),
    (make_codec("float32", 8, SHAPE), "deflate"),
]
#: An empty folder for each run of this program.
FOLDER = Path(tempfile.gettempdir())
MAX_MEMORY_MIB, MAX_SECONDS_AN_INPUT = 1024, 10


def _framed(data: bytes) -> None:
    """A payload under a header that is right about it, so that mutations reach the fields."""
    kind, payload = data[0], data[1:]
    decode(struct.pack("<4sBBHQI", b"EcoF", 1, kind, 0, len(payload), zlib.crc32(payload)) + payload)


def _upload(data: bytes) -> None:
    """As the server treats an upload."""
    codec, entropy = CODECS[data[0] % len(CODECS)]
    scales = np.frombuffer(data[1:13].ljust(12, b"\0"), np.float32)[: codec.scales_of(SAMPLES, BATCH)]
    rows, scale_N = codec.open(decompress(data[13:], SAMPLES, codec, entropy), SAMPLES, scales, BATCH)
    decoded = codec.decode(rows, scale_N if len(scale_N) else None)
    assert decoded.shape == (SAMPLES, *SHAPE)
    assert decoded.dtype == np.float32


def _checkpoint(data: bytes) -> None:
    (FOLDER / CHECKPOINT_FILE).write_bytes(data)
    Checkpoint.read(FOLDER, {})


TARGETS = (decode, _framed, FrontBundle.decode, read_tensors, _upload, _checkpoint)


def seeds() -> list[bytes]:
    """Valid inputs for every target."""
    messages = [example(cls) for cls in REGISTRY.values()]
    found = [b"\0" + data for data in messages]
    found += [b"\1" + data[5:6] + data[HEADER_BYTES:] for data in messages]
    found += [b"\2" + example_bundle(), b"\3" + example(REGISTRY[10])[HEADER_BYTES + 12 :]]
    h_NCHW = np.random.default_rng(0).random((SAMPLES, *SHAPE), dtype=np.float32)
    for number, (codec, entropy) in enumerate(CODECS):
        encoded = codec.encode(h_NCHW, BATCH)
        coded = compress(encoded.rows.tobytes(), SAMPLES, codec, entropy)
        scales = encoded.scales.astype("<f4").tobytes().ljust(12, b"\0")
        found.append(b"\4" + bytes([number]) + scales + coded)
    Checkpoint(
        config={}, records=[], ledger={}, values={"a": 1}, arrays={"b": np.arange(6)}, wall_seconds=1.0, inputs={}
    ).write(FOLDER)
    found.append(b"\5" + (FOLDER / CHECKPOINT_FILE).read_bytes())
    return found


def one_input(data: bytes) -> None:
    """Any exception that leaves here ends the fuzzing."""
    if len(data) < 2:
        return
    try:
        TARGETS[data[0] % len(TARGETS)](data[1:])
    except (WireError, CheckpointError) as refusal:
        if "\n" in str(refusal):
            raise ValueError("a refusal of more than one line") from refusal


def limit_memory(more_bytes: int) -> None:
    """From here on, so much more address space than now; what would take it becomes a MemoryError, a finding."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    """The command line; the exit code is not 0 if something was found."""
    global FOLDER
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    FOLDER = Path(tempfile.mkdtemp(prefix="ecofed-fuzz-"))
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds()):
        (corpus / f"{number:03d}").write_bytes(seed)
        one_input(seed)
    limits = [f"-max_total_time={options.seconds}", f"-seed={options.seed}", "-max_len=4096", "-verbosity=1"]
    # libFuzzer's own limit reads the peak that a process inherits from the one that started it, so it is switched off.
    limits += ["-rss_limit_mb=0", f"-timeout={MAX_SECONDS_AN_INPUT}", f"-artifact_prefix={FOLDER}/"]
    limit_memory(MAX_MEMORY_MIB << 20)
    atheris.Setup([sys.argv[0], *limits, str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
