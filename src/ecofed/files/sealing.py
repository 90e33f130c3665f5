"""What lies on the disk encrypted: AES-256 in Galois/Counter mode, with a key that lies elsewhere.

The key is 64 hexadecimal digits in the environment variable ``ECOFED_BUFFER_KEY``, or in the file that
``ECOFED_BUFFER_KEY_FILE`` names. It is never written, recorded or sent.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load, save

from ecofed.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY, KEY_FILE = "ECOFED_BUFFER_KEY", "ECOFED_BUFFER_KEY_FILE"
#: Before what is sealed whole; after it.
NONCE_BYTES, TAG_BYTES = 12, 16
#: Of what is sealed in one go; the cipher takes less than 2 GiB.
_PIECE_BYTES = 1 << 28
_SEALED = "sealed/"
_HEX = re.compile(r"[0-9a-fA-F]{64}")


class Seal:
    """A key that is at hand."""

    def __init__(self, cipher: AESGCM) -> None:
        self._cipher = cipher

    @classmethod
    def at_hand(cls, subject: str) -> Seal:
        """The key of this process's environment.

        Args:
            subject: what it is needed for, as an error begins.

        Raises:
            ConfigError: there is none, or it is no key. MissingExtraError: cryptography is not installed.
        """
        text, where = os.environ.get(KEY), KEY
        if text is None and (file := os.environ.get(KEY_FILE)):
            where = file
            try:
                text = Path(file).read_text("ascii")
            except (OSError, ValueError) as error:
                raise ConfigError(f"{KEY_FILE} = {file}: cannot be read ({error})") from error
        if text is None:
            raise ConfigError(
                f"{subject} is encrypted, and its key is not here; set {KEY_FILE} to the file that holds it "
                "('openssl rand -hex 32' makes a new one), outside of the run's folder"
            )
        if not _HEX.fullmatch(text.strip()):
            raise ConfigError(f"{where} holds no key: it must be 64 hexadecimal digits ('openssl rand -hex 32')")
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise MissingExtraError("cryptography", "encryption", "an encrypted buffer") from None
        return cls(AESGCM(bytes.fromhex(text.strip())))

    def seal(self, content: bytes, about: bytes, nonce: bytes | None = None) -> bytes:
        """Encrypt. ``about`` is not in the result, and must be the same when it is opened.

        Without a ``nonce``, which must never come twice, one is drawn and stands in front.
        """
        drawn = secrets.token_bytes(NONCE_BYTES) if nonce is None else nonce
        sealed = self._cipher.encrypt(drawn, content, about)
        return drawn + sealed if nonce is None else sealed

    def open(self, sealed: bytes, about: bytes, nonce: bytes | None = None, *, subject: str) -> bytes:
        """Inverse of :meth:`seal`.

        Raises:
            ConfigError: another key, or content that was changed; names ``subject``.
        """
        from cryptography.exceptions import InvalidTag

        content = sealed if nonce is not None else sealed[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce or sealed[:NONCE_BYTES], content, about)
        except (InvalidTag, ValueError) as error:
            raise ConfigError(
                f"{subject} does not open with this key: it was encrypted with another one, or was changed"
            ) from error


def seal_if(wanted: bool, subject: str = "the buffer of a run with encrypt_buffer=true") -> Seal | None:
    """The key at hand where something is to be encrypted; errors as for :meth:`Seal.at_hand`."""
    return Seal.at_hand(subject) if wanted else None


def sealed_arrays(arrays: Mapping[str, np.ndarray], seal: Seal, about: str) -> dict[str, np.ndarray]:
    """Arrays as others, uint8, which tell nothing of them but how large they are together."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    content = save(whole)
    pieces = [content[at : at + _PIECE_BYTES] for at in range(0, len(content), _PIECE_BYTES)]
    sealed = [seal.seal(piece, _named(about, at, len(pieces))) for at, piece in enumerate(pieces)]
    return {f"{_SEALED}{number}": np.frombuffer(piece, np.uint8) for number, piece in enumerate(sealed)}


def opened_arrays(arrays: Mapping[str, np.ndarray], about: str, subject: str) -> dict[str, np.ndarray]:
    """Inverse of :func:`sealed_arrays`; arrays that are not sealed stay as they are.

    Raises:
        ConfigError: the key is not at hand, or does not open them. ValueError: they are incomplete.
    """
    if f"{_SEALED}0" not in arrays:
        return dict(arrays)
    seal = Seal.at_hand(subject)
    pieces = [arrays.get(f"{_SEALED}{number}") for number in range(len(arrays))]
    opened = [
        seal.open(piece.tobytes(), _named(about, at, len(pieces)), subject=subject)
        for at, piece in enumerate(pieces)
        if piece is not None
    ]
    if len(opened) != len(pieces):
        raise ValueError("a part of what is encrypted is missing")
    return dict(load(b"".join(opened)))


def _named(about: str, number: int, count: int) -> bytes:
    return f"{about} {number} of {count}".encode()
