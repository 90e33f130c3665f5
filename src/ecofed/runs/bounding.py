"""A bounded buffer: which samples of all that devices have offered stay in it.

Every sample has a keyed draw, and those with the smallest stay: of each device, then of each class, then in all. So a
sample has the same chance whenever it came (reservoir sampling): with one of the three bounds, which stay depends
neither on the order of uploads nor on how often the bound was kept to meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from ecofed.activations import ReplayBuffer, View
from ecofed.config.schema import Config
from ecofed.randomness import generator


def bounded(buffer: ReplayBuffer, config: Config) -> Iterator[tuple[int, int, View]]:
    """Device, number and content of each view that is kept, with the rows that are."""
    views = [(device, number, view) for device in buffer.devices for number, view in buffer.views_of(device).items()]
    limits = (config.kept_per_device, config.kept_per_class, config.kept_samples)
    if limits == (None, None, None):
        yield from views
        return
    kept: dict[int, set[int]] = {}
    for device, sample in _chosen(views, limits, config.seed):
        kept.setdefault(device, set()).add(sample)
    for device, number, view in views:
        rows_N = np.flatnonzero(np.isin(view.sample_N, list(kept.get(device, ()))))
        if len(rows_N):
            yield device, number, _rows(view, rows_N)


def _chosen(
    views: list[tuple[int, int, View]], limits: tuple[int | None, int | None, int | None], seed: int
) -> list[tuple[int, int]]:
    """Device and sample of those that stay."""
    label_of = {
        (device, int(sample)): int(label)
        for device, _, view in views
        for sample, label in zip(view.sample_N, view.labels_N, strict=True)
    }
    draws = {
        device: generator(seed, "reservoir", device=device).random(1 + max(s for d, s in label_of if d == device))
        for device in {device for device, _ in label_of}
    }
    staying = sorted(label_of, key=lambda key: (draws[key[0]][key[1]], key))
    whose, of_class, of_all = {key: key[0] for key in label_of}, label_of, dict.fromkeys(label_of, 0)
    for limit, group_of in zip(limits, (whose, of_class, of_all), strict=True):
        if limit is not None:
            staying = _first(staying, group_of, limit)
    return staying


def _first(keys: list[tuple[int, int]], group_of: Mapping[tuple[int, int], int], limit: int) -> list[tuple[int, int]]:
    """Those that are among the first ``limit`` of their group."""
    counts: Counter[int] = Counter()
    within = []
    for key in keys:
        counts[group_of[key]] += 1
        if counts[group_of[key]] <= limit:
            within.append(key)
    return within


def _rows(view: View, rows_N: np.ndarray) -> View:
    return View(
        rows=view.rows[rows_N],
        scale_N=view.scale_N[rows_N] if len(view.scale_N) else view.scale_N,
        sample_N=view.sample_N[rows_N],
        labels_N=view.labels_N[rows_N],
    )
