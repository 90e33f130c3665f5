"""The replay buffer: coded activations that the server keeps and trains on.

Held as codes, decoded a batch at a time: 50,000 samples of VGG11's 8,192 entries at 4 bits are 205 MB, not 1.6 GB.
Keyed by (device, view); a buffer belongs to one front and one codec, and a new front starts a new buffer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecofed.activations.pool import Pool, Rows
from ecofed.errors import WireError


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """One upload: N samples of one device."""

    rows: Rows
    """Codes, uint8, (N, row_bytes); ``rows[rows_B]`` is an array."""
    scale_N: np.ndarray
    """Each row's scale, float32, (N,), or empty."""
    sample_N: np.ndarray
    """Which of the device's samples each row is, int64."""
    labels_N: np.ndarray
    """int64."""

    def __len__(self) -> int:
        return len(self.rows)


class ReplayBuffer:
    """Views of devices, for one front and codec.

    ``views_kept``: how many of a device's latest views stay (``None``: all); an upload beyond that replaces the oldest.
    """

    def __init__(self, front_id: str, views_kept: int | None = 1) -> None:
        self.front_id = front_id
        self.views_kept = views_kept
        self.folder: Path | None = None
        """Where it lies; ``None``: in memory."""
        self._views: dict[int, dict[int, View]] = {}
        self._changed: set[tuple[int, int]] = set()

    def put(self, device: int, view: int, content: View, front_id: str) -> None:
        """Store an upload.

        Raises:
            WireError: it was made with another front, or its fields are not one a row.
        """
        if front_id != self.front_id:
            raise WireError(f"device {device} uploaded activations of front {front_id}, not {self.front_id}")
        lengths = {
            len(content.rows),
            len(content.sample_N),
            len(content.labels_N),
            len(content.scale_N) or len(content),
        }
        if len(lengths) > 1:
            raise WireError(f"device {device} uploaded a view whose fields have lengths {sorted(lengths)}")
        kept = self._views.setdefault(device, {})
        kept[view] = self._kept(device, view, content)
        self._changed.add((device, view))
        while self.views_kept is not None and len(kept) > self.views_kept:
            self.remove(device, min(kept))

    def remove(self, device: int, view: int | None = None) -> None:
        """Take a device's view out, or all of them; ``KeyError`` where there is none."""
        kept = self._views[device]
        for number in [view] if view is not None else list(kept):
            del kept[number]
            self._changed.add((device, number))
        if not kept:
            del self._views[device]

    def changes(self) -> list[tuple[int, int]]:
        """Device and number of each view that was put or removed since this was asked the last time, ascending."""
        changed, self._changed = sorted(self._changed), set()
        return changed

    @property
    def devices(self) -> list[int]:
        """Devices with at least one buffered sample, ascending."""
        return sorted(device for device, kept in self._views.items() if any(len(view) for view in kept.values()))

    def views_of(self, device: int) -> dict[int, View]:
        """The device's views, by view number, oldest first."""
        return dict(sorted(self._views.get(device, {}).items()))

    def latest(self, device: int) -> View:
        """The device's newest view; ``KeyError`` without one."""
        kept = self._views[device]
        return kept[max(kept)]

    def label_counts(self, device: int, classes: int) -> np.ndarray:
        """How many different samples of each class the device's views have, int64 (K,)."""
        views = self.views_of(device).values()
        _, first_N = np.unique(np.concatenate([view.sample_N for view in views]), return_index=True)
        labels_N = np.concatenate([view.labels_N for view in views])[first_N]
        return np.bincount(labels_N.astype(np.int64), minlength=classes).astype(np.int64)

    def told_labels(self, device: int, classes: int) -> np.ndarray | None:
        """As :meth:`label_counts`; ``None`` of a device without uploads."""
        return self.label_counts(device, classes) if device in self._views else None

    def pool(self, devices: list[int]) -> Pool:
        """All buffered rows of these devices (at least one, all buffered), in device and view order."""
        views = [(device, view) for device in devices for view in self.views_of(device).values()]
        whose, lengths = [device for device, _ in views], [len(view) for _, view in views]
        return Pool([view for _, view in views], np.array(whose, np.int64), np.array(lengths, np.int64))

    def _kept(self, device: int, view: int, content: View) -> View:  # noqa: ARG002 - for buffers that store it
        """What is remembered of an upload."""
        return content

    def __len__(self) -> int:
        return sum(len(view) for kept in self._views.values() for view in kept.values())

    def state(self) -> dict[str, np.ndarray]:
        """Arrays of all views, named ``<device>/<view>/<field>``; :meth:`load_state` reads them back."""
        arrays: dict[str, np.ndarray] = {}
        for device, kept in self._views.items():
            for number, view in kept.items():
                for field in ("rows", "scale_N", "sample_N", "labels_N"):
                    arrays[f"{device}/{number}/{field}"] = np.asarray(getattr(view, field))
        return arrays

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Replace the content by what :meth:`state` returned."""
        grouped: dict[tuple[int, int], dict[str, np.ndarray]] = {}
        for name, array in arrays.items():
            device, number, field = name.split("/")
            grouped.setdefault((int(device), int(number)), {})[field] = array
        self._replace({key: View(**fields) for key, fields in sorted(grouped.items())})

    def _replace(self, views: Mapping[tuple[int, int], View]) -> None:
        """The whole content, by device and view."""
        self._changed |= {(device, number) for device, kept in self._views.items() for number in kept} | views.keys()
        self._views = {}
        for (device, number), view in views.items():
            self._views.setdefault(device, {})[number] = view
