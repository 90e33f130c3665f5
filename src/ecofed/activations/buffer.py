"""The replay buffer: coded activations that the server keeps and trains on.

Held as codes, decoded a batch at a time: 50,000 samples of VGG11's 8,192 entries at 4 bits are 205 MB, not 1.6 GB.
Keyed by (device, view); a buffer belongs to one front and one codec, and a new front starts a new buffer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ecofed.errors import WireError


class Rows(Protocol):
    """N rows that can be counted and drawn: an array, or one that lies on disk in pieces."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows_B: Any, /) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class View:
    """One upload: N samples of one device; or several, pooled."""

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
        self._views: dict[int, dict[int, View]] = {}

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
        while self.views_kept is not None and len(kept) > self.views_kept:
            del kept[min(kept)]

    def remove(self, device: int, view: int | None = None) -> None:
        """Take a device's view out, or all of them; ``KeyError`` where there is none."""
        kept = self._views[device]
        for number in [view] if view is not None else list(kept):
            del kept[number]
        if not kept:
            del self._views[device]

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

    def pool(self, devices: list[int]) -> View:
        """All buffered rows of these devices (at least one, all buffered) as one view, in device and view order."""
        views = [view for device in devices for view in self.views_of(device).values()]
        return View(
            rows=self._joined([view.rows for view in views]),
            scale_N=np.concatenate([view.scale_N for view in views]),
            sample_N=np.concatenate([view.sample_N for view in views]),
            labels_N=np.concatenate([view.labels_N for view in views]),
        )

    def _kept(self, device: int, view: int, content: View) -> View:  # noqa: ARG002 - for buffers that store it
        """What is remembered of an upload."""
        return content

    def _joined(self, pieces: Sequence[Rows]) -> Rows:
        """The rows of several views as one."""
        return np.concatenate([np.asarray(piece) for piece in pieces])

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
        self._views = {}
        for (device_number, view_number), fields in sorted(grouped.items()):
            self._views.setdefault(device_number, {})[view_number] = View(**fields)
