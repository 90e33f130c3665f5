"""How good a network is on the samples that were held out of what the server keeps."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ecofed.data import mixed_order
from ecofed.methods.base import Method
from ecofed.methods.loop import add_answers, test_batch
from ecofed.results.scores import Scores, Tally


class HeldOutEvaluator:
    """Accuracy and loss on the held-out samples of all devices that have uploaded so far."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self.scores: Scores | None = None
        """Of the last evaluation, by device too; ``None``: nothing had been held out yet."""

    @torch.no_grad()
    def __call__(self) -> tuple[float | None, float | None]:
        """Accuracy (0-1) and mean cross-entropy; ``None`` while nothing is held out."""
        method = self._method
        pooled = method.held_out()
        if pooled is None:
            return None, None
        modules = (method.model, method.halves.front, method.halves.back)
        for module in modules:
            module.eval()
        loss, tally = 0.0, Tally(method.context.task.classes)
        # A network that normalises by the batch needs mixed ones.
        order_N = mixed_order(len(pooled))
        for rows_B in np.array_split(order_N, -(-len(order_N) // test_batch(method.config))):
            logits_BK = method.logits(method.kept_input(pooled, rows_B))
            y_B = torch.from_numpy(pooled.labels_N[rows_B]).to(logits_BK.device)
            loss += float(F.cross_entropy(logits_BK, y_B, reduction="sum"))
            add_answers(tally, logits_BK, y_B, pooled.device_N[rows_B])
        for module in modules:
            module.train()
        self.scores = tally.scores()
        return self.scores.accuracy, loss / len(pooled)
