"""What is inside a Flower message: one uint8 array of our own encoded messages, and a word about them.

One array, because Flower sends arrays in chunks and everything else in one piece.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from ecofed.config.task import Task
from ecofed.errors import WireError
from ecofed.files.disk import json_text
from ecofed.files.json_values import parse, read_as
from ecofed.wire import HEADER_BYTES, payload_length

#: Flower's name for a message's purpose: ``query`` and an action of ours.
HELLO = "hello"
REQUESTS = "requests"

#: Of one visit. A method asks for two or three things at a time.
MAX_MESSAGES = 100

_ARRAYS, _WORDS, _DATA = "ecofed", "ecofed-words", "messages"


def pack(messages: Sequence[bytes], **words: str | int) -> RecordDict:
    """Our messages, and words (status, device number) for the adapter itself."""
    records = RecordDict({_ARRAYS: ArrayRecord({_DATA: array(b"".join(messages))})})
    if words:
        records[_WORDS] = ConfigRecord(dict(words))
    return records


def unpack(content: RecordDict) -> tuple[list[bytes], dict[str, Any]]:
    """Inverse of :func:`pack`. Bytes that are not a message stay one piece, for the decoder to refuse.

    Raises:
        WireError: the records are not ours.
    """
    try:
        data = content.array_records[_ARRAYS][_DATA].data
        words = dict(content.config_records[_WORDS]) if _WORDS in content.config_records else {}
    except (KeyError, AttributeError) as error:
        raise WireError(f"a Flower message without {error}: the other side is not this version of ecofed") from error
    messages: list[bytes] = []
    at = 0
    while at < len(data):
        if len(messages) == MAX_MESSAGES:
            raise WireError(f"a Flower message of more than {MAX_MESSAGES} messages")
        try:
            end = at + HEADER_BYTES + payload_length(data[at : at + HEADER_BYTES])
        except WireError:
            end = len(data)
        messages.append(data[at:end])
        at = end
    return messages, words


def array(data: bytes) -> Array:
    """Bytes as Flower carries them: as they are, without numpy's file header."""
    return Array(dtype="uint8", shape=(len(data),), stype="ecofed", data=data)


@dataclass(frozen=True, kw_only=True)
class Invitation:
    """What a device is told once, before a run: the task, with which class has which number."""

    task: Task

    def encode(self) -> bytes:
        """JSON."""
        return json_text({"task": json.loads(self.task.to_json())}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Invitation:
        """Inverse of :meth:`encode`.

        Raises:
            WireError: malformed. ConfigError: settings that this version does not know.
        """
        try:
            values = read_as(dict[str, Any], parse(data))
            return cls(task=Task.from_values(values["task"], "task"))
        except (ValueError, KeyError) as error:
            raise WireError(f"malformed invitation ({error})") from error
