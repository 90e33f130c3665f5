"""Data sets on the Hugging Face hub, through its own client (which honours ``HF_ENDPOINT`` and ``HF_HUB_OFFLINE``).

Without a network this fails within seconds: one probe with a short timeout, in a thread of its own because name
resolution cannot be given one.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from ecofed.errors.installation import install_command

PROBE_SECONDS = 8.0
DOWNLOAD_SECONDS = 900.0
#: Of one file. The known sets are far smaller; what is larger is not what was asked for.
MAX_BYTES = 8 << 30

_SHARDS = ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet")
_TRUE = {"1", "true", "yes", "on"}

T = TypeVar("T")


#: When a hub did not answer, by its address: each method of a comparison would wait for it again.
_silent: dict[str, float] = {}
_SILENT_SECONDS = 300.0


def download(repository: str, subfolder: str, *, network: bool = True, insist: bool = False) -> tuple[Path | None, str]:
    """The folder in the hub's own cache with both parquet files, downloaded if need be; or ``None`` and the reason.

    A hub that gave no answer is not asked again for some minutes, unless the caller insists.
    """
    if find_spec("huggingface_hub") is None:
        return None, f"huggingface_hub is not installed: {install_command('train')}"
    local = _local(repository, subfolder)
    if local is not None:
        return local, ""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE:
        return None, "HF_HUB_OFFLINE is set"
    if not network:
        return None, "not downloaded yet"
    address = os.environ.get("HF_ENDPOINT", "")
    if not insist and time.monotonic() - _silent.get(address, -math.inf) < _SILENT_SECONDS:
        return None, "not reachable: it gave no answer before"
    try:
        _within(PROBE_SECONDS, lambda: _probe(repository, f"{subfolder}/{_SHARDS[0]}"))
        files = _within(DOWNLOAD_SECONDS, lambda: [_file(repository, f"{subfolder}/{name}") for name in _SHARDS])
    # The client's own errors, httpx's and the operating system's: whichever it is, the hub cannot be used.
    except Exception as error:
        if isinstance(error, TimeoutError):
            _silent[address] = time.monotonic()
        return None, _reason(error)
    _silent.pop(address, None)
    return files[0].parent, ""


def unusable() -> str:
    """Why the hub cannot be asked at all, or nothing."""
    if find_spec("huggingface_hub") is None:
        return f"huggingface_hub is not installed: {install_command('train')}"
    return "HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE else ""


def asked(work: Callable[[], T]) -> T:
    """Answer of a short question; raises what it raises, and :class:`TimeoutError` where none comes."""
    return _within(4 * PROBE_SECONDS, work)


def client() -> Any:
    """The hub's own client."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)


def missing_errors() -> tuple[type[Exception], ...]:
    """What the client raises where a branch or a file is not there."""
    from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError

    return (RevisionNotFoundError, EntryNotFoundError)


def fetched(repository: str, filename: str, revision: str) -> Path:
    """A file in the hub's own cache, downloaded if need be."""
    return _within(DOWNLOAD_SECONDS, lambda: _file(repository, filename, revision=revision))


def why(error: Exception) -> str:
    """What the client could not do, in a line."""
    return _reason(error)


def _local(repository: str, subfolder: str) -> Path | None:
    files: list[Path] = []
    # "Not in the cache" is an error of the client's own.
    with contextlib.suppress(Exception):
        files = [_file(repository, f"{subfolder}/{name}", local_files_only=True) for name in _SHARDS]
    return files[0].parent if files else None


def _file(repository: str, filename: str, *, local_files_only: bool = False, revision: str | None = None) -> Path:
    from huggingface_hub import hf_hub_download

    arguments: dict[str, Any] = {"repo_type": "dataset", "etag_timeout": PROBE_SECONDS, "revision": revision}
    # The client reads these two when it is imported; read again, so that a change in this process counts.
    if os.environ.get("HF_ENDPOINT"):
        arguments["endpoint"] = os.environ["HF_ENDPOINT"]
    if os.environ.get("HF_HUB_CACHE"):
        arguments["cache_dir"] = os.environ["HF_HUB_CACHE"]
    return Path(hf_hub_download(repository, filename, local_files_only=local_files_only, **arguments))


def _probe(repository: str, filename: str) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    endpoint = os.environ.get("HF_ENDPOINT") or None
    url = hf_hub_url(repository, filename, repo_type="dataset", endpoint=endpoint)
    size = get_hf_file_metadata(url, timeout=PROBE_SECONDS / 2).size
    if size is not None and size > MAX_BYTES:
        raise ValueError(f"{filename} has {size:,} bytes there, more than {MAX_BYTES:,}")


def _within(seconds: float, work: Callable[[], T]) -> T:
    """Run ``work`` in a daemon thread and give up on it after ``seconds``. Raises what it raises."""
    results: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    if errors:
        raise errors[0]
    return results[0]


def _reason(error: Exception) -> str:
    text = (str(error) or type(error).__name__).splitlines()[0].strip()
    return f"not reachable: {text[:100]}"
