"""ecofed on the device: a frozen front, inference only. numpy only; who runs the front is left to others."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ecofed.activations import Codec, EncodedActivation, compress, configured_codec, early_codec
from ecofed.activations.clipping import ball
from ecofed.config.task import Task, upload_order
from ecofed.devices.frozen_front import OnFront
from ecofed.devices.protection import AddNoise
from ecofed.errors import DeviceError
from ecofed.wire import FrontBundle, InstallFront, Message, Refresh, RefreshNew, Upload


class Uploader(OnFront):
    """Uploads coded activations when asked."""

    answers: ClassVar[dict[type[Message], str]] = {
        InstallFront: "install",
        Refresh: "refresh",
        RefreshNew: "refresh_new",
    }

    def refresh(self, request: Refresh) -> Upload:
        """One augmented view of every sample: front, codec, upload."""
        return self._upload(request, 0, labelled=request.want_labels)

    def refresh_new(self, request: RefreshNew) -> Upload:
        """The same of what the device has got since it uploaded its first samples.

        Raises:
            DeviceError: it has fewer than that.
        """
        if self.front.task.config.privacy.labels == "counts":
            raise DeviceError("asked which images are new, where only counts of classes may be told")
        if request.first > (count := len(self.front.data)):
            raise DeviceError(f"asked for samples from number {request.first} on; this device has {count}")
        return self._upload(request, request.first, labelled=True)

    def _upload(self, request: Refresh | RefreshNew, first: int, *, labelled: bool) -> Upload:
        bundle, task, data = self.front.held(request.front_id), self.front.task, self.front.data
        order_N = first + upload_order(task.config.seed, data.device, request.view, len(data) - first)
        codec = codec_for(task, bundle)
        own, noise = task.config.privacy, None
        if own.epsilon is not None:
            limits_C = bundle.upper[min(bundle.upper)]
            within = ball(limits_C, bundle.activation_shape[1:], own.clip)
            noise = data.protection.noise_for(within, first, request.view, front=bundle.id)
        encoded = self._encode(codec, order_N, request.view, noise)
        return Upload(
            round=request.round,
            view=request.view,
            front_id=bundle.id,
            samples=len(order_N),
            saturated_fraction=encoded.saturated_fraction,
            codes=compress(encoded.rows.tobytes(), len(order_N), codec, task.config.codec.entropy),
            scales=encoded.scales,
            labels_N=data.protection.labels()[order_N] if labelled else data.labels_N[:0],
        )

    def _encode(
        self,
        codec: Codec,
        order_N: np.ndarray,
        view: int,
        noise: AddNoise | None,
    ) -> EncodedActivation:
        """Codes of the samples in this order. Batches are the configured ones where they have statistics or scales."""
        config = self.front.task.config
        of_a_batch = config.normalisation == "batch" or codec.scales_of(1, config.batch_size)
        chunk = config.batch_size if of_a_batch else self.front.chunk
        parts = []
        for at in range(0, len(order_N), chunk):
            samples_B = order_N[at : at + chunk]
            h_BCHW = self.front.activations(samples_B, view)
            parts.append(codec.encode(h_BCHW if noise is None else noise(h_BCHW, samples_B), config.batch_size))
        return EncodedActivation.joined(parts, codec)


def codec_for(task: Task, bundle: FrontBundle) -> Codec:
    """The configured codec with the bundle's constants; a front that stops early has a codec of its own."""
    if bundle.completed_to:
        own = task.config.ecofed
        return early_codec(own, bundle.activation_shape, bundle.upper.get(own.early_bits))
    codec = task.config.codec
    return configured_codec(codec, bundle.activation_shape, bundle.upper.get(codec.bits))
