"""Codes of 1-8 bits in bytes, the first code in the low bits. Every row starts on a byte boundary."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def pack(codes_NE: np.ndarray, bits: int) -> np.ndarray:
    """Pack uint8 codes below ``2**bits`` into rows of ``ceil(E * bits / 8)`` bytes."""
    if bits == 8:
        return codes_NE
    if bits == 1:
        return np.packbits(codes_NE, axis=1, bitorder="little")
    if 8 % bits == 0:  # whole codes to a byte: shifts instead of single bits, several times faster
        per_byte = 8 // bits
        missing = -codes_NE.shape[1] % per_byte
        padded = np.pad(codes_NE, ((0, 0), (0, missing))) if missing else codes_NE
        packed = padded[:, ::per_byte].copy()
        for place in range(1, per_byte):
            packed |= padded[:, place::per_byte] << np.uint8(place * bits)
        return packed
    # Eight codes fill ``bits`` whole bytes: they are put side by side in a 64-bit integer, whose low bytes are kept.
    samples, entries = codes_NE.shape
    groups = np.pad(codes_NE, ((0, 0), (0, -entries % 8))).reshape(samples, -(-entries // 8), 8)
    words = np.zeros(groups.shape[:2], "<u8")
    for place in range(8):
        words |= groups[:, :, place].astype("<u8") << np.uint64(place * bits)
    packed = words.view(np.uint8).reshape(*groups.shape[:2], 8)[:, :, :bits].reshape(samples, groups.shape[1] * bits)
    return packed[:, : -(-entries * bits // 8)]


def unpack(rows: np.ndarray, bits: int, entries: int) -> np.ndarray:
    """Inverse of :func:`pack`: uint8 codes (N, entries)."""
    if bits == 8:
        return rows
    if 8 % bits == 0:
        per_byte = 8 // bits
        # One look-up a byte gives all of its codes at once: a view of the table's rows as wider integers.
        codes = _codes_of_byte(bits).take(rows).view(np.uint8)
        return codes.reshape(len(rows), rows.shape[1] * per_byte)[:, :entries]
    groups = -(-entries // 8)
    padded = np.pad(rows, ((0, 0), (0, groups * bits - rows.shape[1]))).reshape(len(rows), groups, bits)
    words = np.zeros((len(rows), groups, 8), np.uint8)
    words[:, :, :bits] = padded
    shifted = words.view("<u8") >> np.arange(0, 8 * bits, bits, dtype=np.uint64)
    codes = shifted.astype(np.uint8) & np.uint8((1 << bits) - 1)
    return codes.reshape(len(rows), groups * 8)[:, :entries]


@lru_cache(maxsize=3)
def _codes_of_byte(bits: int) -> np.ndarray:
    """For each byte its ``8 / bits`` codes, as one unsigned integer of so many bytes; shape (256,)."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    codes = (np.arange(256, dtype=np.uint8)[:, None] >> shifts) & np.uint8((1 << bits) - 1)
    return np.ascontiguousarray(codes).view(f"u{len(shifts)}").reshape(256)
