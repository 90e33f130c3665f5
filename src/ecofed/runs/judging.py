"""What a run's network is judged by: the server's test images, what was held out of uploads, and devices themselves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ecofed.methods import Evaluator, Method
from ecofed.methods.validation import HeldOutEvaluator
from ecofed.results.scores import RunScores, Scores, scores_of_devices
from ecofed.runs.preparation import Prepared


class Judges:
    """Of one run. Its rounds are judged by the test images; where it has none, by what was held out."""

    def __init__(self, method: Method, prepared: Prepared) -> None:
        tested = prepared.test_set()
        self._test = None if tested is None else Evaluator(method, *tested, prepared.test_owners())
        self._held_out = HeldOutEvaluator(method) if method.config.validation.on_server else None

    def each_round(self) -> tuple[float | None, float | None]:
        """Accuracy (0-1) and mean cross-entropy after a round; ``None`` where there is nothing to judge by yet."""
        judge = self._test or self._held_out
        return (None, None) if judge is None else judge()

    def scores(self, counted: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> RunScores:
        """Of the network after the last round. ``counted``: what devices have found out about it."""
        if self._held_out is not None:
            self._held_out()
        return RunScores(test=_last(self._test), held_out=_last(self._held_out), on_devices=scores_of_devices(counted))


def _last(judge: Evaluator | HeldOutEvaluator | None) -> Scores | None:
    return None if judge is None else judge.scores
