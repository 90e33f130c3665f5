"""What a network costs to run and to train, layer by layer: plain numbers, counted elsewhere from the network itself.

``B`` is a batch's sample count. Entries are float32: four bytes. One multiplication and one addition are two FLOPs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ecofed.activations import configured_codec, early_codec
from ecofed.config.codecs import CodecConfig
from ecofed.config.methods import EcoFedConfig
from ecofed.costs.profiles import Machine
from ecofed.wire.sizes import Shapes

_ENTRY_BYTES = 4
#: Passes over the parameters in one training step: read forward, read backward, write the gradient, and SGD with
#: momentum (read gradient, read and write momentum, read and write the parameter).
_TRAINING_PASSES = 8


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a network, for one sample."""

    name: str
    flops: int
    """Of the forward pass: multiplications and additions of convolutions and matrix products."""
    parameters: int
    """Trainable entries."""
    input_entries: int
    output_entries: int
    saved_bytes: int
    """What PyTorch keeps for the backward pass."""
    at_input: bool = False
    """Whether it reads the segment's input: the backward pass ends here, unless that input's gradient is wanted."""

    def forward_seconds(self, machine: Machine, batch: int, flops_per_second: float) -> float:
        """Computing or moving data, whichever takes longer, and the fixed cost of a call."""
        moved = _ENTRY_BYTES * (batch * (self.input_entries + self.output_entries) + self.parameters)
        return _roofline(batch * self.flops, moved, machine, flops_per_second) + machine.call_overhead_seconds

    def training_flops(self, *, input_gradient: bool = False) -> int:
        """Forward, gradient of the parameters, and gradient of the input where something below needs it."""
        backward = (self.parameters > 0) + (input_gradient or not self.at_input)
        return self.flops * (1 + backward)

    def training_seconds(self, machine: Machine, batch: int, *, input_gradient: bool = False) -> float:
        """Forward, backward and update of one batch."""
        moved = _ENTRY_BYTES * (
            3 * batch * (self.input_entries + self.output_entries) + _TRAINING_PASSES * self.parameters
        )
        flops = batch * self.training_flops(input_gradient=input_gradient)
        seconds = _roofline(flops, moved, machine, machine.training_flops_per_second)
        return seconds + 3 * machine.call_overhead_seconds


def _roofline(flops: float, moved_bytes: float, machine: Machine, flops_per_second: float) -> float:
    return max(flops / flops_per_second, moved_bytes / machine.memory_bytes_per_second)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A network, or a part of one, as somebody runs it."""

    layers: tuple[Layer, ...]
    live_bytes: int
    """The most that activations take at one time in inference, one sample."""
    tensors: Shapes = field(default_factory=dict)
    """Shapes of parameters and statistics, by name: what is sent down."""
    parameters: Shapes = field(default_factory=dict)
    """Shapes of the trainable ones: what comes back from training."""

    @property
    def flops(self) -> int:
        """Of the forward pass of one sample."""
        return sum(layer.flops for layer in self.layers)

    @property
    def state_bytes(self) -> int:
        return _ENTRY_BYTES * sum(math.prod(shape) for shape in self.tensors.values())

    @property
    def parameter_bytes(self) -> int:
        return _ENTRY_BYTES * sum(math.prod(shape) for shape in self.parameters.values())

    def training_flops(self) -> int:
        """Of forward and backward pass of one sample."""
        return sum(layer.training_flops() for layer in self.layers)

    def inference_seconds(self, machine: Machine, batch: int) -> float:
        """One pass without gradients."""
        return sum(layer.forward_seconds(machine, batch, machine.inference_flops_per_second) for layer in self.layers)

    def forward_seconds(self, machine: Machine, batch: int) -> float:
        """The forward half of a training step."""
        return sum(layer.forward_seconds(machine, batch, machine.training_flops_per_second) for layer in self.layers)

    def training_seconds(self, machine: Machine, batch: int, *, input_gradient: bool = False) -> float:
        """A whole training step; with ``input_gradient`` the gradient of the segment's input is computed too."""
        return sum(layer.training_seconds(machine, batch, input_gradient=input_gradient) for layer in self.layers)

    def inference_memory(self, batch: int) -> int:
        """Weights, and the activations that are alive together."""
        return self.state_bytes + batch * self.live_bytes

    def training_memory(self, batch: int) -> int:
        """Weights, gradients, momentum, and what is kept for the backward pass."""
        saved = batch * sum(layer.saved_bytes for layer in self.layers)
        return self.state_bytes + 2 * self.parameter_bytes + saved


def code_size(settings: CodecConfig, shape_CHW: tuple[int, int, int]) -> tuple[int, bool]:
    """Bytes of one sample's codes, and whether each batch has a scale of its own; an error for an unknown codec."""
    codec = configured_codec(settings, shape_CHW, np.ones(shape_CHW[0], np.float32))
    return codec.row_bytes, codec.scales_of(1, 1) > 0


def early_row_bytes(settings: EcoFedConfig, shape_CHW: tuple[int, int, int]) -> int:
    """Bytes of one sample's codes at an earlier layer."""
    return early_codec(settings, shape_CHW, np.ones(shape_CHW[0], np.float32)).row_bytes


@dataclass(frozen=True, kw_only=True)
class EarlyFront:
    """What an ecofed device does that stops before the common cut, and what it leaves to the server."""

    cut: str
    front: Segment
    middle: Segment
    """The rest of the frozen front, with its bottleneck where it has one."""
    bundle_bytes: int
    row_bytes: int
    sent_row_bytes: float | None = None
    """As :attr:`Workload.sent_row_bytes`."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A network cut in two, as the five methods use it."""

    whole: Segment
    front: Segment
    back: Segment
    auxiliary: Segment
    """The linear classifier on the activation (lgl, fedgkt)."""
    frozen_front: Segment
    """What an ecofed device runs: the front, with its bottleneck where it has one."""
    activation_shape: tuple[int, int, int]
    """(C, H, W) at the cut."""
    upload_shape: tuple[int, int, int]
    """(C, H, W) that ecofed's codec is given: that of the frozen front."""
    bundle_bytes: int
    """The encoded front bundle."""
    row_bytes: int
    """One sample's codes (ecofed)."""
    sent_row_bytes: float | None = None
    """What travels of one sample on average where only trying can tell: entropy-coded codes, compressed images."""
    scaled_batches: bool
    """Whether the codec sends one scale for each batch."""
    classes: int
    early: Sequence[EarlyFront | None] = (None,)
    """What device ``d`` runs: ``early[d % len(early)]``; ``None``: the whole front."""
    coded: bool = False
    """Whether the trained network is the frozen front and the back, rather than the network uncut."""
    network_bytes: int = 0
    """The trained network as it is delivered to devices; 0: it is not, or that is not known yet."""

    @property
    def trained(self) -> tuple[Segment, ...]:
        """What runs the trained network."""
        return (self.frozen_front, self.back) if self.coded else (self.whole,)

    def kind(self, device: int) -> int:
        """The device's place in :attr:`early`; equal for devices that do the same."""
        return self.early.index(self.early[device % len(self.early)])
