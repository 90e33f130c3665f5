"""EcoFed on the device: a frozen front, inference only. numpy only; who runs the front is left to a subclass."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from ecofed.activations import Codec, EncodedActivation, compress, configured_codec, early_codec
from ecofed.activations.statistics import pack_triangle, pooled_features
from ecofed.config.task import Task, upload_order
from ecofed.devices.local_images import LocalImages
from ecofed.errors import DeviceError, ModelError
from ecofed.wire import AskStatistics, FrontBundle, FrontInstalled, InstallFront, Refresh, Statistics, Upload

#: Images a pass where an activation depends on its own image alone. Fixed, because sums depend on the shape of a batch.
INFERENCE_CHUNK = 100


#: Of a layer. One image's activation in it may take 16 MB then.
MAX_CHANNELS = 4096


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

    def check_fits(self, bundle: FrontBundle) -> None:
        """Raise :class:`ModelError` unless the front takes this task's images, and is no larger than fronts are."""
        takes, wanted = (bundle.in_channels, bundle.input_size), (self._task.in_channels, self._task.input_size)
        if takes != wanted:
            raise ModelError(f"a front for images of {_told(takes)}; those here have {_told(wanted)}")
        widest = max((len(array) for array in bundle.weights.values() if array.ndim == 4), default=0)
        if widest > MAX_CHANNELS:
            raise ModelError(f"a front with a layer of {widest} channels; at most {MAX_CHANNELS} are allowed")

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
        most = self._task.config.closed_form.features
        if channels * grid[0] * grid[1] > most:
            raise DeviceError(f"asked for {channels * grid[0] * grid[1]} features; this task has at most {most}")
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


def _told(channels_and_size: tuple[int, int]) -> str:
    channels, size = channels_and_size
    return f"{size}x{size} pixels and {channels} channels"


def codec_for(task: Task, bundle: FrontBundle) -> Codec:
    """The configured codec with the bundle's constants; a front that stops early has a codec of its own."""
    settings = task.config.ecofed
    if bundle.completed_to:
        return early_codec(settings, bundle.activation_shape, bundle.upper.get(settings.early_bits))
    return configured_codec(settings, bundle.activation_shape, bundle.upper.get(settings.bits))
