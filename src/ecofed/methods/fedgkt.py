"""FedGKT (He et al., NeurIPS 2020): two-way knowledge distillation across the cut.

A device trains front and auxiliary classifier for its whole local epoch, distilling from the server's last logits for
it; then it uploads activations, labels and its own logits. The server trains a back on them, distilling from the
device's logits, and answers with its own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ecofed.config.methods import FedGKTFacts
from ecofed.config.schema import Config
from ecofed.costs.steps import Step, Stop, Work, activation, epochs, labels, split
from ecofed.costs.workload import Workload
from ecofed.errors import DeviceError
from ecofed.methods.base import Context, RoundOutcome, check_converging, expect, mean, under
from ecofed.methods.channel import Ask
from ecofed.methods.lgl import LocalLossMethod, Trained
from ecofed.methods.plausible import check_size
from ecofed.models import WeightedAverage, load_arrays, state_arrays
from ecofed.models.distillation import distillation_loss
from ecofed.wire import Acknowledge, Distilled, Message, ServerLogits, TrainDistilled
from ecofed.wire.sizes import ArrayShape


class FedGKT(FedGKTFacts, LocalLossMethod):
    """Activations and logits up, logits down."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._logits: dict[int, np.ndarray] = {}
        """What each device distils from next; kept here too, so that a resumed run can send it again."""
        self._to_resend: set[int] = set()

    def train_round(self, round_: int, sampled: Sequence[int]) -> RoundOutcome:
        fronts, auxiliaries, backs, losses = WeightedAverage(), WeightedAverage(), WeightedAverage(), []
        answers: dict[int, np.ndarray] = {}
        samples = {}
        request = TrainDistilled(
            round=round_, front=state_arrays(self.halves.front), auxiliary=state_arrays(self.auxiliary)
        )
        for device, done in self.channel.visit_and_train(
            sampled,
            lambda device: self._opening(device, request),
            self._checked,
            lambda checked: self._train_back(*checked),
        ):
            samples[device] = done.samples
            self._to_resend.discard(device)
            losses += done.losses
            if done.losses:
                answers[device] = np.concatenate(done.logits)
                weight = self.weight(len(done.reply.labels_N))
                fronts.add(done.reply.front, weight)
                auxiliaries.add(done.reply.auxiliary, weight)
                backs.add(state_arrays(done.back), weight)
        self.counts.keep(samples)
        if losses:
            load_arrays(self.halves.front, fronts.result())
            load_arrays(self.auxiliary, auxiliaries.result())
            load_arrays(self.halves.back, backs.result())
        self._answer(round_, answers)
        return RoundOutcome(train_loss=mean(losses), trained=bool(losses))

    def _train_back(self, reply: Distilled, samples: int) -> Trained[Distilled]:
        """On a copy: a device on whose activations training diverges costs only itself."""
        labels_N = self.labels(reply.labels_N)
        back = copy.deepcopy(self.halves.back).train()
        optimiser = self.sgd(back)
        losses, server_logits = [], []
        for batch in self.batches(len(labels_N)):
            logits_BK = back(self.tensor(reply.activation_NCHW[batch]))
            loss = self._loss(logits_BK, labels_N[batch], self.tensor(reply.logits_NK[batch]))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(float(loss.detach()))
            check_converging(losses[-1])
            server_logits.append(logits_BK.detach().cpu().numpy())
        self.check_trained(back, self.halves.back)
        return Trained(reply, back, samples, losses, server_logits)

    def _loss(self, logits_BK: Tensor, y_B: Tensor, device_logits_BK: Tensor) -> Tensor:
        config = self.config.fedgkt
        distilled = distillation_loss(logits_BK, device_logits_BK, config.temperature)
        return F.cross_entropy(logits_BK, y_B) + config.alpha * distilled

    def _opening(self, device: int, request: TrainDistilled) -> list[Ask]:
        train = Ask(request=request, reply=Distilled)
        if device not in self._to_resend:
            return [train]
        logits = ServerLogits(round=request.round, logits_NK=self._logits[device])
        return [Ask(request=logits, reply=Acknowledge, retransmission=True), train]

    def _checked(self, device: int, replies: Sequence[Message]) -> tuple[Distilled, int]:
        """What it sent, and how many samples it has."""
        reply = replies[-1]
        assert isinstance(reply, Distilled)
        samples = self.check_upload(device, reply, 1)
        if reply.logits_NK.shape != (len(reply.labels_N), self.context.task.classes):
            raise DeviceError(f"logits of shape {reply.logits_NK.shape} for {len(reply.labels_N)} labels")
        check_size("logits", reply.logits_NK)
        return reply, samples

    def _answer(self, round_: int, answers: Mapping[int, np.ndarray]) -> None:
        """The server's logits go down; who cannot be reached is sent them when it takes part again."""

        def opening(device: int) -> list[Ask]:
            return [Ask(request=ServerLogits(round=round_, logits_NK=answers[device]), reply=Acknowledge)]

        self._logits |= answers
        reached = dict(self.channel.visit(list(answers), opening, lambda _device, replies: replies, optional=True))
        self._to_resend |= answers.keys() - reached.keys()

    def device_forgot(self, device: int) -> None:
        if device in self._logits:
            self._to_resend.add(device)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, values = super().state()
        return arrays | {f"logits/{device}": array for device, array in self._logits.items()}, values

    def load_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        super().load_state(arrays, values)
        self._logits = {
            int(device): expect(f"logits/{device}", array, np.float32, len(array), self.context.task.classes)
            for device, array in under("logits/", arrays).items()
        }
        self._to_resend = set(self._logits)

    @classmethod
    def visit(cls, config: Config, work: Workload, stop: Stop) -> Iterator[Step]:
        parts, batches = (work.front, work.auxiliary), split(stop.samples, config.batch_size)
        logits_NK = ArrayShape((stop.samples, work.classes))
        yield Step(
            request=TrainDistilled,
            down={"front": work.front.tensors, "auxiliary": work.auxiliary.tensors},
            device=[Work("train", parts, epochs(config, stop.samples)), Work("infer", parts, batches)],
            reply=Distilled,
            up={
                "front": work.front.parameters,
                "auxiliary": work.auxiliary.parameters,
                "activation_NCHW": activation(work, stop.samples),
                "labels_N": labels(work, stop.samples),
                "logits_NK": logits_NK,
            },
            server=[Work("train", (work.back,), batches)],
            streamed=True,
        )
        if stop.samples and not stop.lost:
            yield Step(request=ServerLogits, down={"logits_NK": logits_NK}, reply=Acknowledge)
