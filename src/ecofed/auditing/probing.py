"""What uploads are good for, beside what they give away: how well a linear classifier reads labels from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecofed.auditing.steps import Workbench
from ecofed.auditing.uploads import Uploaded, uploads_images
from ecofed.config.methods import facts_of
from ecofed.files.json_values import Fraction
from ecofed.pretraining.probe import ridge_accuracy

#: Public images that it is fitted on, and others that it is tested on.
MOST = 5000


@dataclass(frozen=True, kw_only=True)
class Probed:
    """Of uploads of public images, the shares whose class and whose device are told. ``None``: no upload is of a single
    image, or it is the image itself; or nobody says whose images they are."""

    accuracy: Fraction | None = None
    device_told: Fraction | None = None
    device_guessed: Fraction | None = None
    """Of who always says the most frequent one."""


def probed(bench: Workbench) -> Probed:
    """Fitted on one half of the public images' uploads, tested on the other: where the class is asked, on those of
    images as test images are, which are not shifted and bear no noise."""
    target = bench.target
    method = target.config.method
    if not uploads_images(method) or facts_of(method).images_leave_device:
        return Probed()
    whole = bench.public
    half = min(MOST, len(whole) // 2)
    fitted_N, tested_N = np.arange(half), np.arange(half, 2 * half)
    images_NHWC, labels_N, _ = target.alike()
    fitted, tested = whole, target.as_tested().pairs(images_NHWC, labels_N, "uploads of public images as they are")
    classes = target.prepared.task.classes
    accuracy = _right(fitted.part(fitted_N), tested.part(tested_N), fitted.labels_N, tested.labels_N, classes)
    owners_N = target.owners()
    if owners_N is None:
        return Probed(accuracy=accuracy)
    of_N = owners_N[whole.samples_N] + 1  # those of no device of the run are one of their own
    told = _right(whole.part(fitted_N), whole.part(tested_N), of_N, of_N, int(of_N.max()) + 1)
    most = np.bincount(of_N[fitted_N]).argmax()
    return Probed(accuracy=accuracy, device_told=told, device_guessed=float((of_N[tested_N] == most).mean()))


def _right(fitted: Uploaded, tested: Uploaded, fitted_N: np.ndarray, tested_N: np.ndarray, kinds: int) -> float:
    """Of the second half; the numbers to tell are of all images."""
    half = len(fitted)
    fitted_NF, tested_MF = (each.decoded(slice(None)).reshape(len(each), -1) for each in (fitted, tested))
    return ridge_accuracy(fitted_NF, fitted_N[:half], tested_MF, tested_N[half : 2 * half], kinds)
