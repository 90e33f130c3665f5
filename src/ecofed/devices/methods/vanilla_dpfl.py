"""vanilla-dpfl on the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ecofed.config.task import Task
from ecofed.devices.local_data import LocalData
from ecofed.devices.training import DIVERGED, LocalTrainer, array
from ecofed.errors import DeviceError
from ecofed.models import load_arrays, parameter_arrays
from ecofed.models.optimisers import SGD
from ecofed.wire import ApplyGradient, FrontTrained, Message, SplitBatch, StartSplit


class SplitTrainer(LocalTrainer):
    """Trains the front, batch by batch, with gradients from the server."""

    answers: ClassVar[dict[type[Message], str]] = {StartSplit: "start_split", ApplyGradient: "apply_gradient"}

    def __init__(self, task: Task, data: LocalData) -> None:
        super().__init__(task, data)
        self._split: _SplitSession | None = None

    def start_split(self, request: StartSplit) -> SplitBatch | FrontTrained:
        """Take the front, send the first activation."""
        front = self.front
        load_arrays(front, request.front)
        self._split = _SplitSession(front, self.sgd(front), self.data.batches(request.round), request.round)
        return self._next_activation(self._split)

    def apply_gradient(self, request: ApplyGradient) -> SplitBatch | FrontTrained:
        """Finish the backward pass of the last batch, send the next activation."""
        session = self._split
        if session is None or session.h_BCHW is None or (request.round, request.step) != (session.round, session.step):
            raise DeviceError(f"gradient for round {request.round} step {request.step} was not expected")
        gradient_BCHW = torch.from_numpy(request.gradient_BCHW)
        if gradient_BCHW.shape != session.h_BCHW.shape:
            raise DeviceError(f"gradient of shape {tuple(gradient_BCHW.shape)}, not {tuple(session.h_BCHW.shape)}")
        session.optimiser.zero_grad()
        session.h_BCHW.backward(gradient_BCHW.to(session.h_BCHW.device))  # type: ignore[no-untyped-call]
        session.optimiser.step()
        session.step += 1
        return self._next_activation(session)

    def _next_activation(self, session: _SplitSession) -> SplitBatch | FrontTrained:
        batch = next(session.batches, None)
        if batch is None:
            self._split = None
            return FrontTrained(round=session.round, samples=len(self.data), front=parameter_arrays(session.front))
        samples_B, view = batch
        session.h_BCHW = session.front(self.data.inputs(samples_B, view))
        if not bool(torch.isfinite(session.h_BCHW).all()):
            raise DeviceError(DIVERGED)
        return SplitBatch(
            round=session.round,
            step=session.step,
            activation_BCHW=array(session.h_BCHW),
            labels_B=self.data.labels_N[samples_B],
        )


class _SplitSession:
    """vanilla-dpfl between two messages."""

    def __init__(
        self, front: nn.Module, optimiser: SGD, batches: Iterator[tuple[np.ndarray, int]], round_: int
    ) -> None:
        self.front = front
        self.optimiser = optimiser
        self.batches = batches
        self.round = round_
        self.step = 0
        self.h_BCHW: Tensor | None = None
