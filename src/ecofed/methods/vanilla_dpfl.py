"""Vanilla device-partitioned federated learning: SplitFed (Thapa et al., AAAI 2022).

For every batch the device sends its front's activation, the server runs the back, and the gradient at the cut goes
down again. v1: each device has its own copy of the back, averaged after the round. v2: one back, devices in turn.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from ecofed.config.methods import VanillaDPFLFacts
from ecofed.config.schema import Config
from ecofed.costs.steps import Step, Stop, Work, activation, epochs, labels
from ecofed.costs.workload import Workload
from ecofed.errors import DeviceError
from ecofed.methods.base import Method, RoundOutcome, check_converging, mean
from ecofed.methods.channel import Ask
from ecofed.models import WeightedAverage, load_arrays, state_arrays
from ecofed.models.optimisers import SGD
from ecofed.wire import ApplyGradient, FrontTrained, Message, SplitBatch, StartSplit


class VanillaDPFL(VanillaDPFLFacts, Method):
    """Activation up and gradient down, batch by batch."""

    def train_round(self, round_: int, sampled: Sequence[int]) -> RoundOutcome:
        shared = self.config.vanilla_dpfl.version == "v2"
        fronts, backs, losses, samples = WeightedAverage(), WeightedAverage(), [], {}
        opening = StartSplit(round=round_, front=state_arrays(self.halves.front))
        shared_back = copy.deepcopy(self.halves.back).train()
        shared_momentum = self.sgd(shared_back).state_dict()

        def converse(device: int, reply: Message) -> Conversation:
            # On copies: a visit that breaks off leaves no trace.
            back = copy.deepcopy(shared_back if shared else self.halves.back).train()
            optimiser = self.sgd(back)
            if shared:
                optimiser.load_state_dict(shared_momentum)
            batch_losses: list[float] = []
            seen, most = 0, self.counts.most(device) * self.config.local_epochs
            while isinstance(reply, SplitBatch):
                seen += len(reply.labels_B)
                if not 0 < len(reply.labels_B) <= self.config.batch_size or seen > most:
                    raise DeviceError(f"a batch of {len(reply.labels_B)} samples, {seen} with those before it")
                labels_B = self.labels(reply.labels_B)
                self.check_activation(reply.activation_BCHW, len(labels_B))
                if reply.step != len(batch_losses):
                    raise DeviceError(f"batch {reply.step} where batch {len(batch_losses)} was expected")
                h_BCHW = self.tensor(reply.activation_BCHW).requires_grad_()
                loss = F.cross_entropy(back(h_BCHW), labels_B)
                check_converging(float(loss.detach()))
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                batch_losses.append(float(loss.detach()))
                assert h_BCHW.grad is not None
                gradient = ApplyGradient(round=round_, step=reply.step, gradient_BCHW=h_BCHW.grad.cpu().numpy())
                reply = self.channel.ask(device, gradient, SplitBatch, FrontTrained)
            assert isinstance(reply, FrontTrained)
            self.counts.check(device, reply.samples)
            if reply.samples * self.config.local_epochs != seen:
                raise DeviceError(f"says that it has {reply.samples} samples, and sent {seen}")
            self.check_weights(reply.front, self.halves.front)
            self.check_trained(back, self.halves.back)
            return Conversation(reply, back, optimiser, batch_losses)

        for device, done in self.channel.visit(
            sampled,
            lambda _: [Ask(request=opening, reply=(SplitBatch, FrontTrained))],
            lambda device, replies: converse(device, replies[0]),
            independent=not shared,
        ):
            losses += done.losses
            samples[device] = done.trained.samples
            if done.trained.samples:
                fronts.add(done.trained.front, self.weight(done.trained.samples))
                backs.add(state_arrays(done.back), self.weight(done.trained.samples))
            if shared:
                shared_back, shared_momentum = done.back, done.optimiser.state_dict()
        self.counts.keep(samples)
        if losses:
            load_arrays(self.halves.front, fronts.result())
            load_arrays(self.halves.back, state_arrays(shared_back) if shared else backs.result())
        return RoundOutcome(train_loss=mean(losses), trained=bool(losses))

    @classmethod
    def in_turn(cls, config: Config) -> bool:
        return config.vanilla_dpfl.version == "v2"

    @classmethod
    def visit(cls, config: Config, work: Workload, stop: Stop) -> Iterator[Step]:
        """Each request but the first brings the gradient of the batch before; the last reply brings the front."""
        sent: int | None = None
        for batch in (*epochs(config, stop.samples), None):
            h_BCHW = None if sent is None else activation(work, sent)
            backward = [] if sent is None else [Work("backward", (work.front,), [sent])]
            forward = [] if batch is None else [Work("forward", (work.front,), [batch])]
            yield Step(
                request=StartSplit if sent is None else ApplyGradient,
                down={"front": work.front.tensors} if sent is None else {"gradient_BCHW": h_BCHW},
                device=[*backward, *forward],
                reply=FrontTrained if batch is None else SplitBatch,
                up={"front": work.front.parameters}
                if batch is None
                else {"activation_BCHW": activation(work, batch), "labels_B": labels(work, batch)},
                server=[] if batch is None else [Work("train with input", (work.back,), [batch])],
            )
            sent = batch


@dataclass(frozen=True)
class Conversation:
    """What one device's batches came to."""

    trained: FrontTrained
    back: nn.Module
    optimiser: SGD
    losses: list[float]
