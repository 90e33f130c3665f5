"""EcoFed on the device: a frozen front, inference only. numpy only; who runs the front is left to a subclass."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from ecofed.activations import Codec, EncodedActivation, compress, configured_codec, early_codec
from ecofed.activations.statistics import pack_triangle, pooled_features
from ecofed.devices.local_images import LocalImages
from ecofed.errors import DeviceError
from ecofed.task import Task, upload_order
from ecofed.wire import AskStatistics, FrontBundle, FrontInstalled, InstallFront, Refresh, Statistics, Upload

#: Images a pass where an activation depends on its own image alone. Fixed, because sums depend on the shape of a batch.
INFERENCE_CHUNK = 100


class FrozenFront(ABC):
    """Keeps the front it was sent and uploads coded activations when asked."""

    chunk = INFERENCE_CHUNK

    def __init__(self, task: Task, data: LocalImages) -> None:
        self._task = task
        self._data = data
        self._bundle: FrontBundle | None = None

    @abstractmethod
    def load(self, bundle: bytes) -> FrontBundle:
        """Make this the front that :meth:`activations` runs.

        Raises:
            WireError: not a front bundle. ModelError: a front that this device cannot run.
        """

    @abstractmethod
    def activations(self, samples_B: np.ndarray, view: int) -> np.ndarray:
        """Run the front over one augmented view of these samples: (B, C, H, W) float32."""

    def install(self, request: InstallFront) -> FrontInstalled:
        """Replace the front."""
        self._bundle = self.load(request.bundle)
        return FrontInstalled(front_id=self._bundle.id)

    def refresh(self, request: Refresh) -> Upload:
        """One augmented view of every sample: front, codec, upload."""
        if self._bundle is None:
            raise DeviceError("no front is installed on this device")
        if request.front_id != self._bundle.id:
            raise DeviceError(f"asked for front {request.front_id}; this device holds {self._bundle.id}")
        data = self._data
        order_N = upload_order(self._task.config.seed, data.device, request.view, len(data))
        codec = codec_for(self._task, self._bundle)
        encoded = self._encode(codec, order_N, request.view)
        return Upload(
            round=request.round,
            view=request.view,
            front_id=self._bundle.id,
            samples=len(data),
            saturated_fraction=encoded.saturated_fraction,
            codes=compress(encoded.rows.tobytes(), len(data), codec, self._task.config.ecofed.entropy),
            scales=encoded.scales,
            labels_N=data.labels_N[order_N] if request.want_labels else data.labels_N[:0],
        )

    def statistics(self, request: AskStatistics) -> Statistics:
        """closed-form: sums over pooled features of every sample."""
        if self._bundle is None or request.front_id != self._bundle.id:
            raise DeviceError(f"asked for front {request.front_id}, which this device does not hold")
        channels, height, width = self._bundle.activation_shape
        grid = (request.rows, request.columns)
        if 0 in grid or height % grid[0] or width % grid[1]:
            raise DeviceError(f"an activation of {height}x{width} cannot be divided into {grid[0]}x{grid[1]} parts")
        count = channels * grid[0] * grid[1] + 1
        gram_DD, cross_DK = np.zeros((count, count)), np.zeros((count, self._task.classes))
        for at in range(0, len(self._data), self.chunk):
            samples_B = np.arange(at, min(at + self.chunk, len(self._data)))
            features_BD = pooled_features(self.activations(samples_B, 0), grid)
            gram_DD += features_BD.T @ features_BD
            cross_DK += features_BD.T @ np.eye(self._task.classes)[self._data.labels_N[samples_B]]
        return Statistics(
            round=request.round,
            front_id=self._bundle.id,
            samples=len(self._data),
            gram=pack_triangle(gram_DD),
            cross_DK=cross_DK.astype(np.float32),
        )

    def _encode(self, codec: Codec, order_N: np.ndarray, view: int) -> EncodedActivation:
        """Codes of the samples in this order. Batches are the configured ones where they have statistics or scales."""
        config = self._task.config
        of_a_batch = config.normalisation == "batch" or codec.scales_of(1, config.batch_size)
        chunk = config.batch_size if of_a_batch else self.chunk
        parts = [
            codec.encode(self.activations(order_N[at : at + chunk], view), config.batch_size)
            for at in range(0, len(order_N), chunk)
        ]
        return EncodedActivation.joined(parts, codec)


def codec_for(task: Task, bundle: FrontBundle) -> Codec:
    """The configured codec with the bundle's constants; a front that stops early has a codec of its own."""
    settings = task.config.ecofed
    if bundle.completed_to:
        return early_codec(settings, bundle.activation_shape, bundle.upper.get(settings.early_bits))
    return configured_codec(settings, bundle.activation_shape, bundle.upper.get(settings.bits))
