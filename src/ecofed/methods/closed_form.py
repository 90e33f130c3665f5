"""A classifier in closed form on frozen features (AFL, He et al., CVPR 2025; Fed3R, Fani et al., ICML 2024).

A device runs the frozen front once, pools each activation to a few features f (with a constant 1), and sends only the
sums F^T F and F^T Y over its samples. Sums of sums are exact, so the server solves the ridge regression of all devices'
data together: no rounds, no learning rate, and no loss from skew. What it cannot do is learn features.
Shape legend: N samples, D features with the constant, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ecofed.activations.clipping import ONE, SENSITIVITY, ball
from ecofed.activations.codecs.base import TIMES_THE_LIMIT
from ecofed.activations.noisy_sums import check_noisy, denoised, gram_of_ball, norm_of_sums
from ecofed.activations.statistics import (
    check_sums,
    feature_grid,
    gram_from_means,
    outer_of_means,
    triangle_size,
    unpack_triangle,
)
from ecofed.config.methods import ClosedFormFacts
from ecofed.config.network_input import images_at_once
from ecofed.config.schema import Config
from ecofed.costs.agenda import OnceAgenda
from ecofed.costs.steps import FRONT_ID, Step, Stop, Work, split
from ecofed.costs.workload import Workload
from ecofed.errors import WireError
from ecofed.files.json_values import Count, read_as
from ecofed.methods.base import Context, Method, RoundOutcome, expect, under
from ecofed.methods.channel import Ask
from ecofed.models import build_front, state_arrays
from ecofed.models.pooled import PooledClassifier
from ecofed.models.registry import input_side
from ecofed.wire import AskStatistics, FrontInstalled, InstallFront, Message, Statistics
from ecofed.wire.sizes import ArrayShape


class ClosedForm(ClosedFormFacts, Method):
    """A front down once, sums up once. Labels leave the device only as sums over each class."""

    agenda = OnceAgenda

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        assert context.bundle is not None
        self.bundle = context.bundle.for_device(self.limits_sent(context.config, context.bundle.upper))
        self.front = build_front(self.bundle, self.config.normalisation).to(context.torch_device)
        self._largest = TIMES_THE_LIMIT * max(float(limits.max()) for limits in self.bundle.upper.values())
        self._grid = feature_grid(self.bundle.activation_shape, self.config.closed_form.features)
        width = self.bundle.activation_shape[0] * self._grid[0] * self._grid[1] + 1
        self._gram_DD: np.ndarray = np.zeros((width, width))
        """F^T F; of class means the sum of s s^T / n over devices and classes, with sums s of n features."""
        self._cross_DK: np.ndarray = np.zeros((width, context.task.classes))
        self._devices_K: np.ndarray = np.zeros(context.task.classes)
        """How many devices have images of a class."""
        own = self.config.privacy
        self._ball = (
            None if own.epsilon is None else ball(self.bundle.upper[min(self.bundle.upper)], self._grid, own.clip)
        )
        """Where features lie that bear noise; ``None``: there is none, and sums are exact."""
        end = PooledClassifier(
            self.bundle.activation_shape, self._grid, context.task.classes, in_ball=self._ball is not None
        )
        self.end = end.to(context.torch_device).eval().requires_grad_(False)
        if self._ball is not None:
            self.end.set_ball(self._ball.middle[:, 0, 0], self._ball.radius)
        self._take(np.zeros(self._cross_DK.shape))
        self._deviation = 0.0
        """Of the noise of one device's sums."""
        if self._ball is not None:
            whole = self.config.closed_form.sends == "second-moments"
            uploads = self.uploads_at_most(self.config) or 1
            self._deviation = SENSITIVITY * norm_of_sums(whole=whole) * own.multiplier(uploads)
        self._samples = 0
        self._heard: set[int] = set()

    def train_round(self, round_: int, sampled: Sequence[int]) -> RoundOutcome:
        asked = [device for device in sampled if device not in self._heard]
        counted = self.config.front.delivery == "download"
        asks = [
            Ask(request=InstallFront(bundle=self.bundle.encode()), reply=FrontInstalled, counted=counted),
            Ask(
                request=AskStatistics(round=round_, front_id=self.bundle.id, rows=self._grid[0], columns=self._grid[1]),
                reply=Statistics,
            ),
        ]
        # All of them first: a round below the quorum leaves no trace.
        opened = self.channel.visit(asked, lambda _: asks, self._opened, settled=len(sampled) - len(asked))
        for device, (samples, gram_DD, cross_DK) in list(opened):
            self._heard.add(device)
            self.counts.keep({device: samples})
            self._samples += samples
            self._gram_DD += gram_DD
            self._cross_DK += cross_DK
            self._devices_K += cross_DK[-1] > 0.5
        self._solve()
        return RoundOutcome(refreshed=bool(asked), trained=self._samples > 0)

    def _opened(self, device: int, replies: Sequence[Message]) -> tuple[int, np.ndarray, np.ndarray]:
        reply = replies[-1]
        assert isinstance(reply, Statistics)
        if reply.front_id != self.bundle.id:
            raise WireError(f"statistics of front {reply.front_id}, not {self.bundle.id}")
        width = len(self._gram_DD)
        expected = (_entries(self.config, width),)
        if reply.gram.shape != expected or reply.cross_DK.shape != self._cross_DK.shape:
            raise WireError(f"statistics of shapes {reply.gram.shape} and {reply.cross_DK.shape} for {width} features")
        self.counts.check(device, reply.samples)
        cross_DK = reply.cross_DK.astype(np.float64)
        if self._ball is not None:
            check_noisy(reply.gram, cross_DK, reply.samples, self._deviation)
            whole = len(reply.gram) > 0
            return reply.samples, unpack_triangle(reply.gram, width) if whole else np.zeros((width, width)), cross_DK
        if self.config.closed_form.sends == "class-means":
            return reply.samples, outer_of_means(cross_DK, reply.samples, self._largest), cross_DK
        gram_DD = unpack_triangle(reply.gram, width)
        check_sums(gram_DD, cross_DK, reply.samples, self._largest)
        return reply.samples, gram_DD, cross_DK

    def _solve(self) -> None:
        """Ridge regression of one-hot labels; the constant is not penalised."""
        if not self._samples:
            return
        if self._ball is not None:
            self._solve_noisy()
            return
        gram_DD = self._gram_DD
        if self.config.closed_form.sends == "class-means":
            gram_DD = gram_from_means(self._gram_DD, self._cross_DK, self._devices_K)
        penalty_D = np.full(len(gram_DD), self.config.closed_form.ridge * np.trace(gram_DD) / len(gram_DD))
        penalty_D[-1] = 1e-6 * self._samples
        self._take(_solved(gram_DD + np.diag(penalty_D), self._cross_DK))

    def _solve_noisy(self) -> None:
        """The same of sums that bear noise, which is taken into account."""
        if self.config.closed_form.sends == "class-means":
            gram_DD, of_noise = gram_of_ball(self._cross_DK, self._samples), 0.0
        else:
            gram_DD, of_noise = denoised(self._gram_DD, self._deviation * math.sqrt(len(self._heard)))
        penalty_D = np.full(len(gram_DD), of_noise + self.config.closed_form.ridge * np.trace(gram_DD) / len(gram_DD))
        penalty_D[-1] = 1e-6 * self._samples
        self._take(_solved(gram_DD + np.diag(penalty_D), self._cross_DK))

    def _take(self, weights_DK: np.ndarray) -> None:
        """Regression weights into the network's last layer.

        One-hot targets are no log-odds: a factor of ten makes the test loss comparable, and changes no decision.
        """
        one = 1.0 if self._ball is None else ONE
        self.end.set_weights(10 * weights_DK[:-1].T, 10 * one * weights_DK[-1])

    @classmethod
    def visit(cls, config: Config, work: Workload, stop: Stop) -> Iterator[Step]:
        rows, columns = feature_grid(work.upload_shape, config.closed_form.features)
        width = work.upload_shape[0] * rows * columns + 1
        yield Step(
            request=InstallFront,
            down={"bundle": work.bundle_bytes},
            reply=FrontInstalled,
            up={"front_id": FRONT_ID},
            counted=config.front.delivery == "download",
        )
        yield Step(
            request=AskStatistics,
            down={"front_id": FRONT_ID},
            device=[Work("infer", (work.frozen_front,), split(stop.samples, images_at_once(input_side(config.model))))],
            reply=Statistics,
            up={
                "front_id": FRONT_ID,
                "gram": ArrayShape((_entries(config, width),), "f4"),
                "cross_DK": ArrayShape((width, work.classes), "f4"),
            },
        )

    @classmethod
    def kept_row_bytes(cls, work: Workload) -> int:  # noqa: ARG003
        return 0  # sums, of no sample

    # --- the network, and what a resumed run needs ---

    def test_input(self, x_NCHW: Tensor) -> Tensor:
        return self.end.features(self.front(x_NCHW))

    def logits(self, x_NCHW: Tensor) -> Tensor:
        output_NK: Tensor = self.end.pooled_classifier(x_NCHW)
        return output_NK

    def network(self) -> dict[str, np.ndarray]:
        """The front, and the classifier on its pooled features."""
        return state_arrays(self.front) | state_arrays(self.end)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays = {"sums/gram": self._gram_DD, "sums/cross": self._cross_DK, "sums/devices": self._devices_K}
        return arrays, {"heard": sorted(self._heard), "samples": self._samples}

    def load_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        sums = under("sums/", arrays)
        self._gram_DD = expect("sums/gram", sums["gram"], np.float64, *self._gram_DD.shape)
        self._cross_DK = expect("sums/cross", sums["cross"], np.float64, *self._cross_DK.shape)
        devices_K = sums.get("devices", self._devices_K)  # not in checkpoints of earlier versions
        self._devices_K = expect("sums/devices", devices_K, np.float64, *self._devices_K.shape)
        self._heard = set(read_as(list[Count], values["heard"], "values.heard"))
        self._samples = read_as(Count, values["samples"], "values.samples")
        self._solve()


def _entries(config: Config, width: int) -> int:
    """Of the sums of products that a device sends."""
    return 0 if config.closed_form.sends == "class-means" else triangle_size(width)


def _solved(penalised_DD: np.ndarray, cross_DK: np.ndarray) -> np.ndarray:
    try:
        weights_DK: np.ndarray = np.linalg.solve(penalised_DD, cross_DK)
    except np.linalg.LinAlgError:  # fewer samples than features and next to no penalty: the smallest solution
        weights_DK = np.linalg.lstsq(penalised_DD, cross_DK)[0]
    return weights_DK
