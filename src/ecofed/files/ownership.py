"""One owner of a folder at a time: whoever writes results there holds a lock that the kernel keeps.

The lock lies on the file ``.owner`` in the folder, which names the process that holds it. A process that ends in
whatever way (``kill -9``) has given it back; the file that it leaves is the next owner's. Who only reads needs no lock,
and a folder that cannot be written has no owner, since nothing can be written by anybody else either.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecofed.errors import InUseError, StorageError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

#: In a folder that has an owner; it says nothing about what else the folder holds.
OWNER_FILE = ".owner"

_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
#: The owner names itself right after it took the lock; nobody waits longer to read who it is.
_NAMED_WITHIN_SECONDS = 1.0
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)


#: One of these lies in a folder that a command wrote results to, or in a folder of it (that of a comparison's run, an
#: audit's steps): what is there can be continued.
_RESULTS = (
    *("result.json", "summary.json", "frontier.json", "audit.json", "steps", "tuning.json", "trials.jsonl"),
    *("unfinished.json", "checkpoint.safetensors", "metrics.jsonl"),
)


def holds_results(folder: Path) -> bool:
    """Whether a command has begun to write results to this folder, as far as names tell."""
    try:
        places = [folder, *(entry for entry in folder.iterdir() if entry.is_dir())]
        return any((place / name).exists() for place in places for name in _RESULTS)
    except OSError:
        return True


@contextmanager
def owned(
    folder: Path, name: str = OWNER_FILE, *, subject: Path | None = None, wait_seconds: float = 0.0
) -> Iterator[None]:
    """Be the only process (and the only thread) that writes into a folder, until the block ends.

    Args:
        folder: is made; one that was made here and is empty at the end is removed again.
        name: of the file that is locked.
        subject: what a refusal says is in use, if not the folder.
        wait_seconds: how long to wait for another owner to be done.

    Raises:
        InUseError: another has it, and keeps it; names the process. StorageError: there cannot be such a folder, or
            such a file.
    """
    new = not folder.exists()
    descriptor = _take(folder, name, subject or folder, wait_seconds)
    try:
        yield
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.unlink(folder / name)  # while it is held, so that it is nobody else's
            _unlock(descriptor)
            os.close(descriptor)
        if new:
            with contextlib.suppress(OSError):
                os.rmdir(folder)


@contextmanager
def owned_file(path: Path) -> Iterator[None]:
    """As :func:`owned`, for one file that is worked on for long."""
    with owned(path.parent, f".{path.name}{OWNER_FILE}", subject=path):
        yield


def refuse_if_owned(folder: Path) -> None:
    """Raise :class:`InUseError` if a process has this folder now. Nothing is written."""
    try:
        descriptor = os.open(folder / OWNER_FILE, os.O_RDONLY | _FLAGS)
    except OSError:
        return
    try:
        if not _locked(descriptor):
            raise _in_use(folder, _owner(descriptor))
        _unlock(descriptor)
    finally:
        os.close(descriptor)


def _take(folder: Path, name: str, subject: Path, wait_seconds: float) -> int | None:
    """A descriptor that holds the lock; ``None`` in a folder that cannot be written."""
    end = time.monotonic() + wait_seconds
    named_by = max(end, time.monotonic() + _NAMED_WITHIN_SECONDS)
    while True:
        descriptor = _open(folder, name)
        if descriptor is None:
            return None
        try:
            if _locked(descriptor):
                if _is_there(descriptor, folder / name):
                    _sign(descriptor)
                    return descriptor
            else:  # named by nobody or by a dead process: it is about to be named, or somebody is only looking
                owner, now = _owner(descriptor), time.monotonic()
                if now > named_by or (owner is not None and now >= end):
                    raise _in_use(subject, owner)
                time.sleep(0.01)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(folder: Path, name: str) -> int | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return os.open(folder / name, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666)
        except FileNotFoundError:  # the folder was removed by an owner who had made it
            folder.mkdir(parents=True, exist_ok=True)
            return os.open(folder / name, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666)
        except OSError as error:
            if error.errno not in _NOT_WRITABLE:
                raise
        with contextlib.suppress(FileNotFoundError):  # another user's can be locked all the same
            return os.open(folder / name, os.O_RDONLY | _FLAGS)
    except OSError as error:
        raise StorageError(f"{folder / name}: cannot be written ({error.strerror or error})") from error
    return None


def _locked(descriptor: int) -> bool:
    """Try to lock. A file system without locks is warned about."""
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # far behind what others read
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        warnings.warn(
            f"this file system has no locks ({error.strerror}): do not run two commands with the same --out",
            stacklevel=2,
        )
    return True


def _unlock(descriptor: int) -> None:
    """At once, and not only when the last process that inherited the descriptor has ended."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_there(descriptor: int, path: Path) -> bool:
    """Whether the locked file is still the one of that name: its last owner removed it when it was done."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # of another user: locked, but not ours to write
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"{os.getpid()} {platform.node()}\n".encode("utf-8", "replace"))


def _owner(descriptor: int) -> str | None:
    """The process that signed, if it can be alive."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    process, _, host = os.read(descriptor, 1000).decode("utf-8", "replace").strip().partition(" ")
    if not (process.isascii() and process.isdecimal() and 0 < int(process[:12]) < 1 << 31):
        return None
    if host != platform.node():
        return f"process {process} on {host}"
    if sys.platform == "win32":  # where a signal 0 is not a question
        return f"process {process}"
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return None
    except OSError:  # another user's
        pass
    return f"process {process}"


def _in_use(subject: Path, owner: str | None) -> InUseError:
    who = owner or "another process"
    return InUseError(f"{subject} is in use by {who}; wait until it has ended, or choose another with --out")
