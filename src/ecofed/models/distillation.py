"""The distillation loss of FedGKT."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def distillation_loss(student_NK: Tensor, teacher_NK: Tensor, temperature: float) -> Tensor:
    """``T^2 * KL(softmax(teacher / T) || softmax(student / T))``, mean over the batch (Hinton et al., 2015)."""
    student = F.log_softmax(student_NK / temperature, dim=1)
    teacher = F.softmax(teacher_NK / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean") * temperature**2
