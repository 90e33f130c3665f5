"""What a run's network is judged by: the server's test images, and what was held out of the devices' uploads."""

from __future__ import annotations

from ecofed.methods import Evaluator, Method
from ecofed.methods.validation import HeldOutEvaluator
from ecofed.runs.preparation import Prepared
from ecofed.scores import RunScores, Scores


class Judges:
    """Of one run. Its rounds are judged by the test images; where it has none, by what was held out."""

    def __init__(self, method: Method, prepared: Prepared) -> None:
        tested = prepared.test_set()
        self._test = None if tested is None else Evaluator(method, *tested)
        self._held_out = HeldOutEvaluator(method) if method.config.validation.fraction else None

    def each_round(self) -> tuple[float | None, float | None]:
        """Accuracy (0-1) and mean cross-entropy after a round; ``None`` where there is nothing to judge by yet."""
        judge = self._test or self._held_out
        return (None, None) if judge is None else judge()

    def scores(self) -> RunScores:
        """Of the network after the last round."""
        if self._held_out is not None:
            self._held_out()
        return RunScores(test=_last(self._test), held_out=_last(self._held_out))


def _last(judge: Evaluator | HeldOutEvaluator | None) -> Scores | None:
    return None if judge is None else judge.scores
