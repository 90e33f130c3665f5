"""How good a network is on labelled images: how many it gets right, of each class, how sure it is, on each device.

Counts are what is kept; accuracies are fractions 0-1, and ``None`` of nothing. The interval says how far an accuracy
may be from that on all images of the kind, because it was found on so many only (Wilson, JASA 22, 1927); how results
differ from seed to seed it does not say.
Shape legend: N images, K classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ecofed.files.json_values import Count, Fraction

#: Of the normal distribution, for an interval of 95 %.
Z_95 = 1.959964
#: Confidences from 0 to 1 are sorted into so many bins of equal width (Guo et al., ICML 2017).
BINS = 15
#: Shares of the devices.
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
#: With more classes there is no confusion matrix: nobody reads it, and it is longer than all else in a result.
MOST_CLASSES = 200


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Whether a network that says 0.8 is right in 8 of 10 cases. Lists have an entry a bin, lowest confidence first."""

    error: Fraction
    """Expected calibration error: the mean distance of confidence and accuracy over the images."""
    samples: list[Count]
    accuracy: list[Fraction | None]
    confidence: list[Fraction | None]
    """Mean of what the network said: the largest entry of its softmax."""


@dataclass(frozen=True, kw_only=True)
class DeviceScores:
    """How results differ among devices; lists have an entry for each of ``devices``, those that have images."""

    devices: list[Count]
    """Their numbers, ascending."""
    samples: list[Count]
    right: list[Count]
    accuracy: list[Fraction]
    mean: Fraction
    """Of the devices' accuracies, each counting the same; ``deviation`` is their standard deviation."""
    deviation: Fraction
    worst_tenth: Fraction
    """Mean accuracy of the worst tenth of the devices, at least one."""
    quantiles: dict[str, Fraction]
    """By share of the devices: ``0`` is the worst device, ``0.5`` the median, ``1`` the best."""
    low: list[Fraction] = field(default_factory=list)
    """The lower end of each accuracy's 95 % interval, for so few samples; ``high`` is the upper one. Empty in results
    of earlier versions."""
    high: list[Fraction] = field(default_factory=list)

    def without(self, devices: Container[int]) -> DeviceScores | None:
        """Without the entries of these; what was found of all together stays. ``None``: there are no others."""
        rest = [row for row, device in enumerate(self.devices) if device not in devices]
        lists = {name: value for name, value in vars(self).items() if isinstance(value, list) and value}
        kept: dict[str, Any] = {name: [value[row] for row in rest] for name, value in lists.items()}
        return dataclasses.replace(self, **kept) if rest else None


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Of one network on some images."""

    samples: Count
    right: Count
    accuracy: Fraction | None
    low: Fraction | None
    """The lower end of the accuracy's 95 % interval, for so many samples; ``high`` is the upper one."""
    high: Fraction | None
    class_samples: list[Count]
    """Images of each class."""
    class_right: list[Count]
    class_accuracy: list[Fraction | None]
    confusion: list[list[Count]] | None = None
    """``confusion[class][answer]``; ``None`` above 200 classes, and where only counts are known."""
    calibration: Calibration | None = None
    """``None`` where only counts are known, or the network's answers are no finite numbers."""

    devices: DeviceScores | None = None
    """``None`` where nobody knows whose images they are."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def fits(self, classes: int) -> bool:
        """Whether its lists have as many entries as there are classes."""
        lists: list[Sequence[Any]] = [self.class_samples, self.class_right, self.class_accuracy]
        if self.confusion is not None:
            lists += [self.confusion, *self.confusion]
        bins = self.calibration
        even = bins is None or len(bins.samples) == len(bins.accuracy) == len(bins.confidence)
        own = self.devices
        if own is not None and not len(own.devices) == len(own.samples) == len(own.right) == len(own.accuracy) > 0:
            return False
        if own is not None and not len(own.low) == len(own.high) in (0, len(own.devices)):
            return False
        return even and all(len(row) == classes for row in lists)


@dataclass(frozen=True, kw_only=True)
class RunScores:
    """Of the network that a run ended with: after its last round, not the mean of the last evaluations."""

    test: Scores | None = None
    """On the test images."""
    held_out: Scores | None = None
    """On the samples that were held out of what devices have uploaded."""
    on_devices: Scores | None = None
    """On the samples that devices hold out, as they have counted themselves."""

    def without(self, devices: Container[int]) -> RunScores:
        """Without what these devices' own samples have shown of each."""
        changed: dict[str, Any] = {}
        for name in ("held_out", "on_devices"):
            scores: Scores | None = getattr(self, name)
            if scores is not None and scores.devices is not None:
                changed[name] = dataclasses.replace(scores, devices=scores.devices.without(devices))
        return dataclasses.replace(self, **changed)

    def fits(self, classes: int) -> bool:
        """Whether their lists have as many entries as there are classes."""
        found = [getattr(self, field.name) for field in dataclasses.fields(self)]
        return all(scores.fits(classes) for scores in found if scores is not None)


class Tally:
    """Counts answers, some at a time."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._confusion_KK: np.ndarray = np.zeros((classes, classes), np.int64)
        self._bin_samples: np.ndarray = np.zeros(BINS, np.int64)
        self._bin_right: np.ndarray = np.zeros(BINS, np.int64)
        self._bin_confidence: np.ndarray = np.zeros(BINS)
        self._devices: dict[int, tuple[int, int]] = {}

    def add(
        self,
        labels_N: np.ndarray,
        answers_N: np.ndarray,
        confidence_N: np.ndarray,
        device_N: np.ndarray | None = None,
    ) -> None:
        """Labels, answers (whole numbers below K), how sure the network is of each answer (0-1), and whose images they
        are, where that is known (-1: a stranger's)."""
        np.add.at(self._confusion_KK, (labels_N, answers_N), 1)
        with np.errstate(invalid="ignore"):
            bins_N = np.clip(np.nan_to_num(np.ceil(confidence_N * BINS)).astype(np.int64) - 1, 0, BINS - 1)
        np.add.at(self._bin_samples, bins_N, 1)
        np.add.at(self._bin_right, bins_N, labels_N == answers_N)
        np.add.at(self._bin_confidence, bins_N, confidence_N)
        for device in () if device_N is None else np.unique(device_N[device_N >= 0]).tolist():
            own_N = device_N == device
            samples, right = self._devices.get(device, (0, 0))
            self._devices[device] = (samples + int(own_N.sum()), right + int((labels_N == answers_N)[own_N].sum()))

    def scores(self) -> Scores:
        """Of all that was added."""
        counted = counted_scores(self._confusion_KK.sum(axis=1), np.diagonal(self._confusion_KK))
        confusion = self._confusion_KK.tolist() if self._classes <= MOST_CLASSES else None
        devices = spread_among(self._devices)
        return dataclasses.replace(counted, confusion=confusion, calibration=self._calibration(), devices=devices)

    def _calibration(self) -> Calibration | None:
        total = int(self._bin_samples.sum())
        if not total or not np.isfinite(self._bin_confidence).all():
            return None
        return Calibration(
            error=min(1.0, float(np.abs(self._bin_right - self._bin_confidence).sum()) / total),
            samples=self._bin_samples.tolist(),
            accuracy=shares(self._bin_right, self._bin_samples),
            confidence=shares(np.minimum(self._bin_confidence, self._bin_samples), self._bin_samples),
        )


def counted_scores(samples_K: Sequence[int] | np.ndarray, right_K: Sequence[int] | np.ndarray) -> Scores:
    """Of images of each class, and how many of them were answered right."""
    samples, right = sum(map(int, samples_K)), sum(map(int, right_K))
    low, high = interval(right, samples) if samples else (None, None)
    return Scores(
        samples=samples,
        right=right,
        accuracy=right / samples if samples else None,
        low=low,
        high=high,
        class_samples=[int(count) for count in samples_K],
        class_right=[int(count) for count in right_K],
        class_accuracy=shares(right_K, samples_K),
    )


def scores_of_devices(counts: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> Scores | None:
    """Of what devices have counted: samples of each class (K,), and how many of them are right, by device. ``None``
    where nobody has any."""
    own = {device: (int(samples_K.sum()), int(right_K.sum())) for device, (samples_K, right_K) in counts.items()}
    devices = spread_among(own)
    if devices is None:
        return None
    samples_NK, right_NK = (np.stack([one[part] for one in counts.values()]).astype(np.int64) for part in (0, 1))
    return dataclasses.replace(counted_scores(samples_NK.sum(axis=0), right_NK.sum(axis=0)), devices=devices)


def spread_among(counts: Mapping[int, tuple[int, int]]) -> DeviceScores | None:
    """Of devices' ``(samples, right)``, by number; ``None`` where none has samples."""
    known = {device: counted for device, counted in sorted(counts.items()) if counted[0]}
    if not known:
        return None
    accuracy = [right / samples for samples, right in known.values()]
    ends = [interval(right, samples) for samples, right in known.values()]
    worst = sorted(accuracy)[: math.ceil(len(accuracy) / 10)]
    return DeviceScores(
        devices=list(known),
        samples=[samples for samples, _ in known.values()],
        right=[right for _, right in known.values()],
        accuracy=accuracy,
        mean=min(1.0, sum(accuracy) / len(accuracy)),
        deviation=float(np.std(accuracy)),
        worst_tenth=min(1.0, sum(worst) / len(worst)),
        quantiles={f"{share:g}": float(np.quantile(accuracy, share)) for share in QUANTILES},
        low=[low for low, _ in ends],
        high=[high for _, high in ends],
    )


def interval(right: float, samples: int) -> tuple[float, float]:
    """Where the accuracy on all images of the kind lies with 95 % confidence (Wilson's score interval)."""
    share, z2 = right / samples, Z_95**2
    centre = share + z2 / (2 * samples)
    reach = Z_95 * math.sqrt(share * (1 - share) / samples + z2 / (4 * samples**2))
    scale = 1 + z2 / samples
    return max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale)


def shares(part: Sequence[float] | np.ndarray, whole: Sequence[float] | np.ndarray) -> list[float | None]:
    """Each of ``part`` as a fraction of ``whole``; ``None`` of nothing."""
    return [float(one) / float(all_) if all_ else None for one, all_ in zip(part, whole, strict=True)]
