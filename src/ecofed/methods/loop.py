"""The round loop that every method shares: sample devices, let the method run the round, test, record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ecofed.activations import answers_by_the_batch
from ecofed.config.network_input import TEST_BATCH, images_at_once
from ecofed.config.registry import broken
from ecofed.config.registry.contract import kind_of
from ecofed.config.schema import Config
from ecofed.costs.clock import RoundTime
from ecofed.costs.exchange import Exchange
from ecofed.errors import DeviceError
from ecofed.methods.base import Method, RoundOutcome, check_converging
from ecofed.methods.channel import Channel
from ecofed.methods.refusals import AskedWronglyError, BelowQuorumError, DivergedError
from ecofed.models.draws import draws, keyed_draws
from ecofed.models.registry import input_side
from ecofed.randomness import generator
from ecofed.results import LAST_ROUNDS, RoundRecord
from ecofed.results.scores import Scores, Tally
from ecofed.results.untrained import SKIPPED
from ecofed.slow_work import counted

#: What a method makes of the test images is kept up to this size, and made anew for each evaluation above.
KEPT_BYTES = 256 << 20
#: After so many rounds in a row without a single device a run stops: nobody is there.
LONELY_ROUNDS = 3


class Stopwatch(Protocol):
    """From what devices were sent and sent in a round, and the server's SGD steps on its buffer, to simulated time."""

    def __call__(
        self, exchanges: Sequence[Exchange], server_steps: int, *, round_: int | None, waited: bool
    ) -> RoundTime | None: ...


def sample_devices(config: Config, round_: int) -> list[int]:
    """The devices of a round: drawn without replacement, ascending; the same for every method."""
    draw = generator(config.seed, "sampled-devices", round_=round_)
    return sorted(int(device) for device in draw.choice(config.devices, config.sampled_devices, replace=False))


def is_evaluated(config: Config, round_: int) -> bool:
    """Every ``evaluate_every``-th round, and each of the last five."""
    return round_ % config.evaluate_every == 0 or round_ > config.rounds - LAST_ROUNDS


def test_batch(config: Config) -> int:
    """Images of one pass of a test. Statistics and scales of a batch need many, whatever their size."""
    return TEST_BATCH if answers_by_the_batch(config) else images_at_once(input_side(config.model))


class Evaluator:
    """Accuracy and loss on fixed test batches; what the method can compute once is computed once."""

    def __init__(
        self,
        method: Method,
        images: Callable[[slice], Tensor],
        labels_N: np.ndarray,
        device_N: np.ndarray | None = None,
    ) -> None:
        """``images``: test images as network input, some at a time; ``device_N``: whose they are, if that is known."""
        self._device_N = device_N
        self._method, self._images, self._at_once = method, images, test_batch(method.config)
        self._labels_N = torch.from_numpy(labels_N.astype(np.int64)).to(method.context.torch_device)
        self._kept: list[Tensor] | None = None
        self.scores: Scores | None = None
        """Of the network as it was at the last evaluation."""
        method.model.eval()
        with torch.no_grad():
            first = next(iter(self._made()))
            if first.nbytes * len(labels_N) <= KEPT_BYTES * len(first):
                self._kept = list(self._made())

    def _made(self) -> Iterator[Tensor]:
        device = self._method.context.torch_device
        starts = range(0, len(self._labels_N), self._at_once)
        for at in counted(starts, len(starts), "testing"):
            x_BCHW = self._images(slice(at, at + self._at_once))
            yield self._method.test_input(x_BCHW.to(device, memory_format=torch.channels_last))

    @torch.no_grad()
    def __call__(self) -> tuple[float, float]:
        """Test accuracy (0-1) and mean cross-entropy."""
        method = self._method
        modules = (method.model, method.halves.front, method.halves.back)
        for module in modules:
            module.eval()
        correct, loss, tally = 0, 0.0, Tally(method.context.task.classes)
        starts = range(0, len(self._labels_N), self._at_once)
        for start, inputs in zip(starts, self._kept or self._made(), strict=True):
            own = slice(start, start + self._at_once)
            y_B = self._labels_N[own]
            logits_BK = method.logits(inputs)
            correct += int((logits_BK.argmax(dim=1) == y_B).sum())
            loss += float(F.cross_entropy(logits_BK, y_B, reduction="sum"))
            add_answers(tally, logits_BK, y_B, None if self._device_N is None else self._device_N[own])
        for module in modules:
            module.train()
        self.scores = tally.scores()
        return correct / len(self._labels_N), loss / len(self._labels_N)


def add_answers(tally: Tally, logits_NK: Tensor, labels_N: Tensor, device_N: np.ndarray | None = None) -> None:
    """Count what a network answered to some images; ``device_N``: whose they are."""
    answers_N, confidence_N = logits_NK.argmax(dim=1), F.softmax(logits_NK.double(), dim=1).amax(dim=1)
    tally.add(labels_N.cpu().numpy(), answers_N.cpu().numpy(), confidence_N.cpu().numpy(), device_N)


def train(
    method: Method,
    evaluate: Callable[[], tuple[float | None, float | None]],
    *,
    first_round: int = 1,
    clock: Stopwatch | None = None,
) -> Iterator[RoundRecord]:
    """Run rounds ``first_round`` to ``config.rounds``; one record after each.

    ``clock`` tells the simulated time of a round.

    A round with fewer devices than the quorum trains nothing: its bytes count, its record says who was missing.

    Raises:
        DeviceError: nobody answered for three rounds in a row, or all devices say that they cannot do what is asked.
    """
    config, channel = method.config, method.channel
    lonely = 0
    layers_draw = draws(config.model.name, lambda: (method.model, method.context.task))
    channel.ever_answered |= first_round > 1
    for round_ in range(first_round, config.rounds + 1):
        started, device_seconds = time.perf_counter(), channel.device_seconds
        before = {direction: channel.ledger.total(direction) for direction in ("uplink", "downlink")}
        sampled = sample_devices(config, round_)
        channel.start_round(round_)
        try:
            with keyed_draws(layers_draw, config.seed, "server-layers", round_=round_):
                outcome = _outcome(method, round_, sampled)
            took_part = sorted(channel.took_part)
        except AskedWronglyError as error:
            raise broken("method", config.method, f"train_round asks {error}") from None
        except BelowQuorumError as error:
            outcome = RoundOutcome(trained=False, notes=[f"{SKIPPED}{error}"])
            took_part = []
        lonely = lonely + 1 if channel.asked and not channel.answered else 0
        if lonely == LONELY_ROUNDS:
            raise DeviceError(
                f"no device answered in rounds {round_ - lonely + 1} to {round_} ({channel.notes[-1]}); "
                "continue with --resume when devices can be reached"
            )
        spent = channel.device_seconds - device_seconds
        server_seconds = time.perf_counter() - started - spent
        accuracy, loss = evaluate() if is_evaluated(config, round_) else (None, None)
        if loss is not None and not math.isfinite(loss):
            _check_network(method)
        simulated = None
        if clock is not None:
            simulated = clock(channel.exchanges, outcome.server_steps, round_=round_, waited=channel.waited)
        yield RoundRecord(
            round=round_,
            devices=sampled if method.asks_devices else [],
            took_part=took_part,
            uplink_bytes=channel.ledger.total("uplink") - before["uplink"],
            downlink_bytes=channel.ledger.total("downlink") - before["downlink"],
            train_loss=outcome.train_loss,
            test_accuracy=accuracy,
            test_loss=loss,
            device_seconds=spent,
            server_seconds=server_seconds,
            simulated_seconds=None if simulated is None else simulated.seconds,
            device_joules=None if simulated is None else simulated.joules,
            timeline=simulated.timeline() if simulated is not None and round_ == 1 else None,
            saturated_fraction=outcome.saturated_fraction,
            refreshed=outcome.refreshed,
            trained=_trained(outcome, channel),
            notes=[*channel.notes, *outcome.notes],
        )


def _outcome(method: Method, round_: int, sampled: Sequence[int]) -> RoundOutcome:
    """Of a round. Raises :class:`ConfigError` for a plug-in's method that returns something else."""
    outcome: object = method.train_round(round_, sampled)
    if not isinstance(outcome, RoundOutcome):
        rule = f"train_round returned {kind_of(outcome)}; it must return a RoundOutcome"
        raise broken("method", method.config.method, rule)
    if problem := _misfit(outcome):
        raise broken("method", method.config.method, f"train_round returned a RoundOutcome {problem}")
    if outcome.train_loss is not None:
        check_converging(outcome.train_loss)
    return outcome


def _misfit(outcome: RoundOutcome) -> str:
    """What of it no record could hold, and no later reader could read; empty: nothing."""
    for name in ("train_loss", "saturated_fraction"):
        value: object = getattr(outcome, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            return f"whose {name} is {kind_of(value)}; it must be float(...) of it, or None"
    for name in ("refreshed", "trained"):
        if not isinstance(value := getattr(outcome, name), bool | None):
            return f"whose {name} is {kind_of(value)}; it must be True, False or None"
    steps, notes = outcome.server_steps, outcome.notes
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        return f"whose server_steps is {steps!r}; it must be a whole number, 0 or more"
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        return f"whose notes are {kind_of(notes)}; they must be a list of texts"
    return ""


def _check_network(method: Method) -> None:
    """Raise :class:`DivergedError` if the network has entries that are none: nobody could use it."""
    for name, array in method.network().items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            what = f"the network's '{name}' has entries that are not finite numbers"
            raise DivergedError(f"{what}: training diverged; lower learning_rate")


def _trained(outcome: RoundOutcome, channel: Channel) -> bool | None:
    """Whether a round has trained something, as far as one can tell."""
    if outcome.trained is not None:
        return outcome.trained
    if outcome.train_loss is not None:
        return True
    return False if channel.asked and not channel.answered else None
