"""Get a known data set into the user's cache, without root: Debian's package first, then the Hugging Face hub."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from ecofed.data import hub
from ecofed.data.decoded import read_splits
from ecofed.data.formats import idx, parquet
from ecofed.data.hub_sets import is_hub_set
from ecofed.data.known import KNOWN
from ecofed.data.places import Found, cache_folder, find
from ecofed.errors import DataError, nearest

UPDATE_SECONDS = 180
DOWNLOAD_SECONDS = 600
_STALL_SECONDS = 15


def fetch(name: str, *, say: Callable[[str], None] = print) -> Path | None:
    """Bring a data set that is known, or the hub's (``hf:OWNER/NAME``), onto this machine; returns its folder.

    ``say`` is told what was done.

    ``None``: it is part of an installed package.

    A set that is here already is left alone, unless it is in the cache and cannot be read. The cache gets all of its
    files or none.
    Raises :class:`DataError` when it can be had nowhere, with the reason of each source.
    """
    if is_hub_set(name):
        found, message = find(name)
        if found is None:
            raise DataError(message)
        say(f"{found.name}: now in {found.path}")
        return found.path
    if name not in KNOWN:
        raise DataError(f"unknown data set '{name}'{nearest(name, KNOWN)}; known names are {', '.join(KNOWN)}")
    known = KNOWN[name]
    found, message = find(name, network=False)
    if found is not None and found.path is not None and _usable(found, say):
        say(f"{known.title}: already here ({found.place}): {found.path}")
        return found.path
    if known.from_package and found is not None:
        say(f"{known.title}: comes with scikit-learn and is ready to use; there is nothing to fetch")
        return None
    if known.hub is None:
        raise DataError(message)
    reasons: list[str] = []
    target = cache_folder() / "data" / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{target.parent}: cannot be made ({error.strerror}); name another place for the cache with "
            f"XDG_CACHE_HOME, or put the set's files in $ECOFED_DATA/{name}/"
        ) from None
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as temporary:
        staged = Path(temporary) / "staged"
        staged.mkdir()
        if known.debian_package is not None:
            reason = _from_debian(known.debian_package, Path(temporary), staged, say)
            if not reason:
                return _settle(staged, target, f"{known.title}: from Debian's package {known.debian_package}", say)
            reasons.append(f"Debian's package {known.debian_package} ({reason})")
        say(f"{known.title}: asking the Hugging Face hub for {known.hub[0]}")
        snapshot, reason = hub.download(*known.hub, insist=True)
        if snapshot is not None:
            for file in parquet.find(snapshot):
                shutil.copyfile(file, staged / file.name)
            return _settle(staged, target, f"{known.title}: from the Hugging Face hub, {known.hub[0]}", say)
        reasons.append(f"the Hugging Face hub ({reason})")
    raise DataError(
        f"{known.title} could not be fetched: {'; '.join(reasons)}; or put its files in $ECOFED_DATA/{name}/"
    )


def _usable(found: Found, say: Callable[[str], None]) -> bool:
    """Whether what was found can stay; a damaged copy in our own cache is replaced, a user's own files never are."""
    if found.place != "cache" or found.path is None or found.layout is None:
        return True
    try:
        read_splits(found.path, found.layout)
    except DataError as error:
        say(f"replacing what the cache holds: {error}")
        return False
    return True


def _settle(staged: Path, target: Path, message: str, say: Callable[[str], None]) -> Path:
    """Move the complete folder into place; nothing readable was there, or it would have been kept."""
    if target.exists():
        shutil.rmtree(target)
    os.replace(staged, target)
    say(f"{message}, now in {target}")
    return target


def _from_debian(package: str, work: Path, staged: Path, say: Callable[[str], None]) -> str:
    """Download and unpack a Debian package into ``staged``, in private folders. Returns why it failed, or nothing."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return "apt-get and dpkg-deb are not on this machine"
    for folder in ("state/lists/partial", "cache/archives/partial", "unpacked"):
        (work / folder).mkdir(parents=True)
    options = {
        "Dir::State": work / "state",
        "Dir::State::status": work / "state" / "status",
        "Dir::Cache": work / "cache",
        "Acquire::Retries": 0,
        "Acquire::http::Timeout": _STALL_SECONDS,
        "Acquire::https::Timeout": _STALL_SECONDS,
        "Acquire::Languages": "none",
        # Root would otherwise become a user who may not write here.
        "APT::Sandbox::User": "root",
    }
    (work / "state" / "status").touch()
    apt = ["apt-get", "--quiet", *(part for key, value in options.items() for part in ("-o", f"{key}={value}"))]
    say(f"asking Debian's archive for {package} (a private package list; nothing is installed)")
    # An update that reaches only some of its sources may still know the package: let the download decide.
    _command([*apt, "update"], work, UPDATE_SECONDS)
    reason = _command([*apt, "download", package], work, DOWNLOAD_SECONDS)
    archives = sorted(work.glob(f"{package}_*.deb"))
    if reason or not archives:
        return reason or "nothing was downloaded"
    reason = _command(["dpkg-deb", "-x", str(archives[0]), str(work / "unpacked")], work, DOWNLOAD_SECONDS)
    if reason:
        return reason
    for holder in sorted({file.parent for file in (work / "unpacked").rglob("*-ubyte*")}):
        for file in idx.find(holder):
            shutil.copyfile(file, staged / file.name)
    return "" if idx.find(staged) else "the package holds no idx files"


def _command(command: list[str], folder: Path, seconds: float) -> str:
    """Run a command; returns why it failed, or nothing."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{Path(command[0]).name} did not finish within {seconds:.0f} s"
    except OSError as error:
        return f"{Path(command[0]).name} could not be started ({error.strerror})"
    lines = [line.strip() for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()
    return "" if done.returncode == 0 else (lines[0][:160] if lines else f"exit code {done.returncode}")
