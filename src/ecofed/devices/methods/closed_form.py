"""closed-form on the device: sums over a frozen front's features. numpy only."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ecofed.activations.clipping import SENSITIVITY, ball
from ecofed.activations.noisy_sums import norm_of_sums, packed_for_noise, sum_features, unpacked_noise
from ecofed.activations.statistics import pack_triangle
from ecofed.devices.frozen_front import OnFront
from ecofed.errors import DeviceError
from ecofed.wire import AskStatistics, InstallFront, Message, Statistics


class Summer(OnFront):
    """Sends sums when asked."""

    answers: ClassVar[dict[type[Message], str]] = {InstallFront: "install", AskStatistics: "statistics"}

    def statistics(self, request: AskStatistics) -> Statistics:
        """Sums over pooled features of every sample."""
        bundle, task, data = self.front.held(request.front_id), self.front.task, self.front.data
        channels, height, width = bundle.activation_shape
        grid = (request.rows, request.columns)
        if 0 in grid or height % grid[0] or width % grid[1]:
            raise DeviceError(f"an activation of {height}x{width} cannot be divided into {grid[0]}x{grid[1]} parts")
        most = task.config.closed_form.features
        if channels * grid[0] * grid[1] > most:
            raise DeviceError(f"asked for {channels * grid[0] * grid[1]} features; this task has at most {most}")
        count = channels * grid[0] * grid[1] + 1
        whole = task.config.closed_form.sends == "second-moments"
        own = task.config.privacy
        noisy = None if own.epsilon is None else ball(bundle.upper[min(bundle.upper)], grid, own.clip)
        gram_DD, cross_DK = np.zeros((count, count)), np.zeros((count, task.classes))
        for at in range(0, len(data), self.front.chunk):
            samples_B = np.arange(at, min(at + self.front.chunk, len(data)))
            features_BD = sum_features(self.front.activations(samples_B, 0), grid, noisy)
            if whole:
                gram_DD += features_BD.T @ features_BD
            cross_DK += features_BD.T @ np.eye(task.classes)[data.labels_N[samples_B]]
        if noisy is not None:
            sums = np.concatenate([packed_for_noise(gram_DD if whole else gram_DD[:0, :0]), cross_DK.ravel()])
            asked = {
                "front": bundle.id,
                "grid": grid,
                "whole": whole,
                "limits": bundle.upper[min(bundle.upper)].tolist(),
            }
            sums = data.protection.sums(sums, SENSITIVITY * norm_of_sums(whole=whole), **asked)
            gram_DD, cross_DK = unpacked_noise(sums, cross_DK.shape, whole=whole)
        return Statistics(
            round=request.round,
            front_id=bundle.id,
            samples=len(data),
            gram=pack_triangle(gram_DD if whole else gram_DD[:0, :0]),
            cross_DK=cross_DK.astype(np.float32),
        )
