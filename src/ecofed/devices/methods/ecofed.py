"""ecofed on the device: a frozen front, inference only. numpy only; who runs the front is left to others."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ecofed.activations import Codec, EncodedActivation, compress, configured_codec, early_codec
from ecofed.config.task import Task, upload_order
from ecofed.devices.frozen_front import OnFront
from ecofed.wire import FrontBundle, InstallFront, Message, Refresh, Upload


class Uploader(OnFront):
    """Uploads coded activations when asked."""

    answers: ClassVar[dict[type[Message], str]] = {InstallFront: "install", Refresh: "refresh"}

    def refresh(self, request: Refresh) -> Upload:
        """One augmented view of every sample: front, codec, upload."""
        bundle, task, data = self.front.held(request.front_id), self.front.task, self.front.data
        order_N = upload_order(task.config.seed, data.device, request.view, len(data))
        codec = codec_for(task, bundle)
        encoded = self._encode(codec, order_N, request.view)
        return Upload(
            round=request.round,
            view=request.view,
            front_id=bundle.id,
            samples=len(data),
            saturated_fraction=encoded.saturated_fraction,
            codes=compress(encoded.rows.tobytes(), len(data), codec, task.config.codec.entropy),
            scales=encoded.scales,
            labels_N=data.labels_N[order_N] if request.want_labels else data.labels_N[:0],
        )

    def _encode(self, codec: Codec, order_N: np.ndarray, view: int) -> EncodedActivation:
        """Codes of the samples in this order. Batches are the configured ones where they have statistics or scales."""
        config = self.front.task.config
        of_a_batch = config.normalisation == "batch" or codec.scales_of(1, config.batch_size)
        chunk = config.batch_size if of_a_batch else self.front.chunk
        parts = [
            codec.encode(self.front.activations(order_N[at : at + chunk], view), config.batch_size)
            for at in range(0, len(order_N), chunk)
        ]
        return EncodedActivation.joined(parts, codec)


def codec_for(task: Task, bundle: FrontBundle) -> Codec:
    """The configured codec with the bundle's constants; a front that stops early has a codec of its own."""
    if bundle.completed_to:
        own = task.config.ecofed
        return early_codec(own, bundle.activation_shape, bundle.upper.get(own.early_bits))
    codec = task.config.codec
    return configured_codec(codec, bundle.activation_shape, bundle.upper.get(codec.bits))
