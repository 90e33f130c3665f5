"""Files: written whole or not at all, read as text whatever editor wrote them, and JSON that every reader takes.

What is written first lies under a name that nobody can foresee, in the same folder; it is flushed to the disk and
renamed. So a crash leaves the old file or the new one, a full disk leaves nothing behind, and a link that somebody put
there is not followed. Errors name the file that was meant.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import math
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from ecofed.errors import ConfigError, StorageError
from ecofed.errors.foreign_text import json_escaped
from ecofed.files.reading import content_of

_SUFFIX = ".tmp"
#: Of the file's own name, so that the temporary one is never too long for a folder.
_KEPT_OF_NAME = 100
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_DAY_SECONDS = 86400.0


# --- writing ---


@contextmanager
def writing(path: str | Path, *, mode: int = 0o666, durable: bool = True) -> Iterator[BinaryIO]:
    """A stream whose content becomes the file when the block ends, and nothing when the block raises.

    Args:
        path: its folder is made.
        mode: of the new file from its first byte on, less the umask. ``0o600`` for secrets.
        durable: flush file and folder to the disk. ``False`` for what can be made again, or is flushed later.

    Raises:
        StorageError: it cannot be written; names ``path``.
    """
    place = Path(path)
    with _named(place), _unfinished(place, mode) as (stream, temporary):
        yield stream
        _finish(stream, durable=durable)
        os.replace(temporary, place)
        if durable:
            flush_folder(place.parent)


def write_bytes(path: str | Path, content: bytes, *, mode: int = 0o666, durable: bool = True) -> Path:
    """Write a file with :func:`writing`. Returns its path."""
    with writing(path, mode=mode, durable=durable) as stream:
        stream.write(content)
    return Path(path)


def write_text(path: str | Path, text: str) -> Path:
    """Write UTF-8 text with :func:`writing`. Returns the file's path."""
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, values: object, *, indent: int = 1) -> Path:
    """Write readable JSON (see :func:`json_text`) in UTF-8. Returns the file's path."""
    # What UTF-8 does not have (half a surrogate pair) becomes \udXXX, which is JSON too.
    return write_text(path, json_text(values, indent=indent, ascii_only=False) + "\n")


def holds_json(path: Path, values: object) -> bool:
    """Whether a file says just this already, so that it need not be written."""
    text = json_text(values, indent=1, ascii_only=False) + "\n"
    try:
        return content_of(path) == text.encode("utf-8", "backslashreplace")
    except OSError:
        return False


def write_together(contents: Mapping[Path, bytes], *, modes: Mapping[Path, int] | None = None) -> None:
    """Write files that are of no use alone: all are complete before the first takes its place.

    The last one takes its place last. When that fails for one, those that were not there before are removed again.

    Raises:
        StorageError: one cannot be written; names it.
    """
    with ExitStack() as stack:
        finished: list[tuple[Path, Path]] = []
        for place, content in contents.items():
            stack.enter_context(_named(place))
            stream, temporary = stack.enter_context(_unfinished(place, (modes or {}).get(place, 0o666)))
            with _named(place):
                stream.write(content)
                _finish(stream, durable=True)
            finished.append((temporary, place))
        new: list[Path] = []
        try:
            for temporary, place in finished:
                was_there = place.exists()
                with _named(place):
                    os.replace(temporary, place)
                if not was_there:
                    new.append(place)
        except BaseException:
            for place in new:
                with contextlib.suppress(OSError):
                    place.unlink()
            raise
        for folder in {place.parent for place in contents}:
            flush_folder(folder)


def append_text(path: Path, text: str) -> None:
    """Add text to a file; on a full disk it is as long as before.

    Raises:
        StorageError: it cannot be written, or is a link.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    with _named(path), os.fdopen(os.open(path, flags | _BINARY, 0o666), "ab", buffering=0) as file:
        before, left = os.fstat(file.fileno()).st_size, text.encode("utf-8", "backslashreplace")
        try:
            while left:
                left = left[file.write(left) :]
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(before)
            raise


def append_at(path: Path, length: int, content: bytes) -> None:
    """Add bytes after the first ``length`` ones of a file, whose others go. They survive a power cut.

    Raises:
        StorageError: it cannot be written, or is a link.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, flags | _BINARY, 0o666), "r+b") as file:
            file.truncate(length)
            file.seek(length)
            file.write(content)
            _finish(file, durable=True)


def flush(path: Path) -> None:
    """Have a file that is written survive a power cut.

    Raises:
        StorageError: the disk reports an error.
    """
    with _named(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that was killed while it wrote has left; for the one that owns the folder."""
    _remove_left(folder, "*")


def remove_unfinished_of(path: Path) -> None:
    """The same of one file, for the one that owns it: others in its folder may be written by somebody."""
    _remove_left(path.parent, glob.escape(_kept_of(path)))


def remove_abandoned(folder: Path) -> None:
    """The same in a folder that nobody owns, where others may be writing: of what nobody has written to for a day."""
    _remove_left(folder, "*", before=time.time() - _DAY_SECONDS)


def _remove_left(folder: Path, names: str, before: float = math.inf) -> None:
    with contextlib.suppress(OSError):
        for left_over in folder.glob(f".{names}.{'[0-9a-f]' * 16}{_SUFFIX}"):
            if before == math.inf or left_over.stat().st_mtime < before:
                left_over.unlink(missing_ok=True)


def _kept_of(path: Path) -> str:
    return os.fsencode(path.name)[:_KEPT_OF_NAME].decode("utf-8", "ignore")


@contextmanager
def _unfinished(place: Path, mode: int) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file beside ``place``, gone at the end unless it was renamed."""
    place.parent.mkdir(parents=True, exist_ok=True)
    # A device or a folder there is not ours to replace. A link is: it is the name that is replaced, not what it names.
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(place.stat().st_mode):
            raise IsADirectoryError(None, "it is a folder" if place.is_dir() else "it is not a regular file")
    temporary = place.with_name(f".{_kept_of(place)}.{os.urandom(8).hex()}{_SUFFIX}")
    stream = os.fdopen(os.open(temporary, _NEW | _BINARY, mode), "wb")
    try:
        with stream:
            yield stream, temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _finish(stream: BinaryIO, *, durable: bool) -> None:
    """Everything to the file, here and not in ``close``, whose errors come too late."""
    stream.flush()
    if durable:
        os.fsync(stream.fileno())


def flush_folder(folder: Path) -> None:
    """Have the names in a folder survive a power cut, where the system can do that."""
    with contextlib.suppress(OSError):  # not every system opens folders, not every file system flushes them
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of the operating system name the file that was meant."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error


# --- JSON ---


def json_text(
    values: object,
    *,
    indent: int | None = None,
    ascii_only: bool = True,
    sort_keys: bool = False,
    separators: tuple[str, str] | None = None,
    default: Callable[[Any], Any] | None = None,
) -> str:
    """Values as JSON. A number that is not finite (a diverged loss) becomes ``null``, because JSON has no NaN.

    ``ascii_only``: whatever stream it is printed on, it arrives. Otherwise, too, what a terminal would obey is escaped.
    """
    dumps = partial(
        json.dumps,
        indent=indent,
        ensure_ascii=ascii_only,
        sort_keys=sort_keys,
        separators=separators,
        default=default,
        allow_nan=False,
    )
    try:
        text = dumps(values)
    except (ValueError, TypeError):  # a number that is not finite, or a mapping that is no dict
        text = dumps(_finite(values))
    return json_escaped(text)


def plain(value: Any) -> Any:
    """As :func:`dataclasses.asdict`, without copying every number: there are ten a device, and many devices."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return value[:] if all(type(item) is int for item in value) else [plain(item) for item in value]
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


# --- reading ---

#: What a shell hands over as a file, ``<(...)``, has somebody who writes to it.
_HANDED = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
_OTHER_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read_text(path: str | Path) -> str:
    """UTF-8 text of a user's file: without the mark that some editors put at the start, with ``\\n`` ending lines.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8; the message says what it is where that can be told.
    """
    try:
        handed = str(path).startswith(_HANDED)
        data = Path(path).read_bytes() if handed else content_of(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    other = next((name for mark, name in _OTHER_MARKS.items() if data.startswith(mark)), None)
    if other is None and b"\0" in data:
        other = "UTF-16, or no text at all"
    if other is not None:
        raise ConfigError(f"{path}: is {other}; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}: line {line} is not UTF-8 text; save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
