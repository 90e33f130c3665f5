"""Devices that stop at an earlier layer: the server runs the rest of the frozen front on what they upload.

The buffer then holds what the device itself would have uploaded, codes of activations at the common cut: exactly that
where the earlier activation travels as it is, nearly that where it is quantised. Training knows no difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ecofed.activations import Codec, EncodedActivation, early_codec
from ecofed.config.network_input import images_at_once
from ecofed.config.schema import Config
from ecofed.models import build_middle
from ecofed.wire import FrontBundle


class Completion:
    """The rest of a front, for the devices that hold its first part.

    Args:
        early: what those devices are sent; ``early.completed_to`` is the front's own cut.
        front: the whole front.
        codec: the common one, at the front's end.
        config: the run.
        torch_device: where the server computes.
    """

    def __init__(
        self, early: FrontBundle, front: FrontBundle, codec: Codec, config: Config, torch_device: torch.device
    ) -> None:
        self.bundle = early
        self._early_codec = early_codec(
            config.ecofed, early.activation_shape, early.upper.get(config.ecofed.early_bits)
        )
        self._codec = codec
        self._config = config
        self._torch_device = torch_device
        # As in a device's own pass, where one-channel images leave the layout open: sums depend on it.
        self._layout = torch.channels_last if front.in_channels > 1 else torch.contiguous_format
        self._middle = build_middle(front, early.cut, config.normalisation).to(torch_device)

    @property
    def uploaded(self) -> Codec:
        """The codec of what arrives."""
        return self._early_codec

    def complete(self, rows: np.ndarray) -> EncodedActivation:
        """From rows (N, row_bytes) of the earlier activation to those that the whole front would have given.

        Raises:
            WireError: activations that overflow on the way.
        """
        batch_size = self._config.batch_size
        of_a_batch = self._config.normalisation == "batch" or self._codec.scales_of(1, batch_size)
        # As on devices: sums depend on the shape of a batch.
        size = batch_size if of_a_batch else images_at_once(self.bundle.input_size)
        parts = [
            self._codec.encode(self._run(self._early_codec.decode(rows[at : at + size])), batch_size)
            for at in range(0, len(rows), size)
        ]
        return EncodedActivation.joined(parts, self._codec)

    @torch.no_grad()
    def _run(self, h_NCHW: np.ndarray) -> np.ndarray:
        x_NCHW: Tensor = torch.from_numpy(np.require(h_NCHW, requirements=["C", "W"])).to(self._torch_device)
        return np.asarray(self._middle(x_NCHW.contiguous(memory_format=self._layout)).cpu().numpy())


def completions_of(
    dealt: Sequence[FrontBundle | None], front: FrontBundle, codec: Codec, config: Config, torch_device: torch.device
) -> list[Completion | None]:
    """What the server does for devices that stop early, dealt as their fronts are; one for each front."""
    made: dict[str, Completion] = {}
    for early in dealt:
        if early is not None and early.cut not in made:
            made[early.cut] = Completion(early, front, codec, config, torch_device)
    return [None if early is None else made[early.cut] for early in dealt]
