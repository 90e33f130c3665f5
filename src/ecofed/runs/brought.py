"""What a fleet's own pictures were, as far as its devices have told: the server never saw them, and dealt out none."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ecofed.methods import Method
from ecofed.methods.transport import Transport
from ecofed.results import DataSummary, Floors


def bringing(transport: Transport) -> Collection[int]:
    """The devices behind it that have said that they bring pictures of their own."""
    found: Collection[int] = getattr(transport, "own_data", ())  # only real devices can
    return found


def as_told(dealt: DataSummary, method: Method, own: Collection[int]) -> DataSummary:
    """The summary of a run whose devices ``own`` brought pictures of their own.

    How many they have follows from their replies, and which labels from uploads that the server keeps; otherwise a
    device's row is empty. Of devices that took their share of the run's data set everything stands as it was dealt.
    """
    counts, samples = [list(row) for row in dealt.label_counts], [sum(row) for row in dealt.label_counts]
    for device in {*own, *(device for device, count in enumerate(samples) if not count)}:
        told_K = method.told_labels(device)
        counts[device] = [0] * len(dealt.classes) if told_K is None else told_K.tolist()
        samples[device] = max(method.counts.of(device) or 0, sum(counts[device]))
    return replace(
        dealt,
        label_counts=counts,
        train_samples=sum(samples),
        floors=_scaled(dealt.floors, sum(samples), dealt.train_samples),
        brought=max(len(own), dealt.brought),
    )


def _scaled(floors: Floors, samples: int, dealt: int) -> Floors:
    """As if theirs took as much as those that the server has, each in the mean."""
    if not dealt:
        return Floors(raw_bytes=0, compressed_bytes=None, compressed_as=None)
    sent = floors.compressed_bytes
    return replace(
        floors,
        raw_bytes=floors.raw_bytes * samples // dealt,
        compressed_bytes=None if sent is None else sent * samples // dealt,
        jpeg_bytes={what: size * samples // dealt for what, size in floors.jpeg_bytes.items()},
    )
