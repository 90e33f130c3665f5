"""What uploads are good for, beside what they give away: how well a linear classifier reads labels from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecofed.auditing.steps import Workbench
from ecofed.auditing.uploads import uploads_images
from ecofed.config.methods import facts_of
from ecofed.files.json_values import Fraction
from ecofed.pretraining.probe import ridge_accuracy

#: Public images that it is fitted on, and others that it is tested on.
MOST = 5000


@dataclass(frozen=True, kw_only=True)
class Probed:
    """``None``: no upload is of a single image, or it is the image itself."""

    accuracy: Fraction | None = None


def probed(bench: Workbench) -> Probed:
    """Fitted on one half of the public images' uploads, tested on the other; those bear no noise, as test images do."""
    target = bench.target
    method = target.config.method
    if not uploads_images(method) or facts_of(method).images_leave_device:
        return Probed()
    fitted = tested = bench.public
    if target.config.privacy.epsilon is not None:
        images_NHWC, labels_N, _ = target.alike()
        tested = target.without_noise().pairs(images_NHWC, labels_N, "uploads of public images without noise")
    half = min(MOST, len(fitted) // 2)
    fitted, tested = fitted.part(np.arange(half)), tested.part(np.arange(half, 2 * half))
    fitted_NF, tested_MF = (each.decoded(slice(None)).reshape(len(each), -1) for each in (fitted, tested))
    classes = target.prepared.task.classes
    return Probed(accuracy=ridge_accuracy(fitted_NF, fitted.labels_N, tested_MF, tested.labels_N, classes))
