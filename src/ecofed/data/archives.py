"""Packed files from elsewhere, unpacked within bounds: a file of a megabyte may hold a petabyte of zeros.

What a file may unpack to depends on its size. Pictures as raw bytes shrink to a half or a tenth; what shrinks to less
than a twentieth is no set of pictures, or can be unpacked by hand.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ecofed.errors import DataError

MOST_TIMES_LARGER = 24
ALWAYS_ALLOWED_BYTES = 4 << 20
MAX_MEMBERS = 1000

_BLOCK = 512
_CHUNK = 1 << 20
# Names, types and sizes of a header; numbers are octal text.
_NAME, _SIZE, _CHECKSUM, _TYPE = slice(0, 100), slice(124, 136), slice(148, 156), slice(156, 157)
_REGULAR = (b"0", b"\0")


class Unpacked:
    """The content of a gzip file, from front to back; a context manager. Every failure is a :class:`DataError`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.at = 0
        self._most = ALWAYS_ALLOWED_BYTES + MOST_TIMES_LARGER * file.stat().st_size
        self._stream = gzip.open(file)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def read(self, count: int) -> bytes:
        """``count`` bytes, or fewer at the end. More than the file may hold are refused before memory is taken."""
        if self.at + count > self._most:
            raise DataError(
                f"{self.file}: unpacks to more than {MOST_TIMES_LARGER} times its size, which pictures do not; "
                "fetch it again, or unpack it yourself"
            )
        try:
            data = self._stream.read(count)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self.file}: cannot be read ({error}); fetch it again") from error
        self.at += len(data)
        return data

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes, or what is left of them; they count as read."""
        while count > 0 and (passed := len(self.read(min(count, _CHUNK)))):
            count -= passed


@dataclass(frozen=True, kw_only=True)
class Member:
    """One entry of a tar archive. :meth:`read` works until the next one is asked for."""

    name: str
    size: int
    is_file: bool
    """A plain one: neither a folder nor a link, nor one with holes, whose size says nothing of its bytes."""
    source: Unpacked

    def read(self) -> bytes:
        """Its content; :class:`DataError` where the archive ends early."""
        content = self.source.read(self.size)
        if len(content) < self.size:
            raise DataError(f"{self.source.file}: ends within {self.name}; fetch it again")
        return content


def tar_members(source: Unpacked) -> Iterator[Member]:
    """The entries of a tar archive in its plain form; what extends it (long names, attributes) is passed over.

    Not the standard library's reader: that takes headers of any length into memory and makes what they say of it.

    Raises:
        DataError: a header that is none, or more than :data:`MAX_MEMBERS` of them.
    """
    for _ in range(MAX_MEMBERS):
        header = source.read(_BLOCK)
        if not header.strip(b"\0"):
            return  # two empty blocks end an archive, or it ends with its last member
        try:
            if len(header) < _BLOCK:
                raise ValueError("it ends early")
            size, kept = (int(header[place].strip(b" \0") or b"0", 8) for place in (_SIZE, _CHECKSUM))
            if size < 0 or kept != sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" "):
                raise ValueError("its checksum is wrong")
        except ValueError as error:
            raise DataError(f"{source.file}: not a tar archive that can be read ({error}); fetch it again") from error
        name = header[_NAME].partition(b"\0")[0].decode("utf-8", "replace")
        end = source.at + -(-size // _BLOCK) * _BLOCK
        yield Member(name=name, size=size, is_file=header[_TYPE] in _REGULAR, source=source)
        source.skip(end - source.at)
    raise DataError(f"{source.file}: more than {MAX_MEMBERS:,} members; fetch it again")
