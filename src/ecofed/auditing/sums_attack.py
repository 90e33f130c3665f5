"""What a device's sums tell: whether an image is among those summed, how many of each class there are.

The attacker is the server. He knows the front, so he can say of any image which features it would add; and public
images like the devices', which tell him how features of a class lie. Three questions:

*Took it part?* The likelihood of the class's sum with this image in it over that without, with normal features (in the
manner of "Resolving individuals contributing trace amounts of DNA", Homer et al., 2008). Where sums of products are
sent, too: an image of the device can have no more leverage in them than one, others can. Which of the two is used is
decided on devices of the attacker's own.

*Which of two?* The attacker of differential privacy's promise: he knows every other image of the device, and must say
of two images which is the last. His best test is known, and so is what the promise allows him.

*How many of each class?* Read off the sums' last row.

Images are as the network sees them: shifted and mirrored as the run's seed says, which is the server's own.
Shape legend: N images, D features with the constant as the last, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch

from ecofed.activations.noisy_sums import packed_for_noise
from ecofed.auditing.membership import told_apart
from ecofed.auditing.summed import Space, Sums, sums_of
from ecofed.auditing.target import OWN_DEVICES, Target
from ecofed.config.methods import facts_of
from ecofed.data.stored import part_of
from ecofed.devices.local_data import LocalData
from ecofed.models import build_front
from ecofed.randomness import generator
from ecofed.results.audits import FromSums, Membership
from ecofed.slow_work import counted

#: Images of a class in one device, and how many such devices are made of a device's images. ``None``: all it has.
OF_A_CLASS: dict[int | None, int] = {1: 8, 4: 2, 16: 1, None: 1}
#: Of the public images, those that tell how features lie; and of each class, those that stand for images that took no
#: part, of which one that did must be told.
KNOWN, OTHERS = 4000, 255
#: Members asked about of each number of images of a class; pairs decided in each device.
MEMBERS, PAIRS = 640, 64
#: Rounding of float32, as a share of features' mean square.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class _Device:
    """One device, as it is and as the server sees it."""

    features_ND: np.ndarray
    labels_N: np.ndarray
    sums: Sums


class _Prior:
    """What public images say of features."""

    def __init__(self, features_ND: np.ndarray, labels_N: np.ndarray, classes: int, deviation: float) -> None:
        own_ND = features_ND[:, :-1]
        overall_D = own_ND.mean(axis=0)
        self.means_KD = np.array(
            [
                own_ND[labels_N == each].mean(axis=0) if (labels_N == each).any() else overall_D
                for each in range(classes)
            ]
        )
        within_ND = own_ND - self.means_KD[labels_N]
        values_D, self.axes_DD = np.linalg.eigh(within_ND.T @ within_ND / max(1, len(own_ND) - classes))
        self.variance_D = np.maximum(values_D, 1e-4 * values_D.mean())
        self.noise = deviation**2 + _ROUNDING * float(np.square(own_ND).mean())
        self.deviation = deviation

    def by_class_sums(self, sums: Sums, label: int, features_ND: np.ndarray) -> np.ndarray:
        """How much likelier this class's sum is with each of these images in it, (N,)."""
        count = max(1.0, np.rint(sums.cross_DK[-1, label] / self._one(features_ND)))
        mean_D = self.means_KD[label] @ self.axes_DD
        sum_D = sums.cross_DK[:-1, label] @ self.axes_DD - count * mean_D
        own_ND = features_ND[:, :-1] @ self.axes_DD - mean_D
        without_D, with_D = (n * self.variance_D + self.noise for n in (count, count - 1))
        apart_ND = (
            np.square(sum_D - own_ND) / with_D + np.log(with_D) - np.square(sum_D) / without_D - np.log(without_D)
        )
        scores: np.ndarray = -0.5 * apart_ND.sum(axis=1)
        return scores

    def by_products(self, sums: Sums, label: int, features_ND: np.ndarray) -> np.ndarray:  # noqa: ARG002
        """Minus the leverage of each of these images in the sums of products, (N,)."""
        values_D, axes_DD = sums.squares
        slack = 2 * self.deviation * math.sqrt(len(values_D)) + _ROUNDING * float(np.abs(values_D).sum())
        weight_D = 1 / (np.maximum(values_D, 0) + slack)
        scores: np.ndarray = -(np.square(features_ND @ axes_DD) @ weight_D)
        return scores

    def _one(self, features_ND: np.ndarray) -> float:
        return float(features_ND[0, -1])


_Score = Callable[[Sums, int, np.ndarray], np.ndarray]


def from_sums(target: Target, seed: int) -> FromSums:
    """Attack what a few of the run's devices send, whose method sends sums."""
    space = Space.of(target.prepared)
    look = _Look(target, space)
    known_ND, known_N, others = _public(target, look)
    prior = _Prior(known_ND, known_N, target.prepared.task.classes, space.deviation)
    ways: dict[str, _Score] = {"class sums": prior.by_class_sums}
    if space.whole:
        ways["sums of products"] = prior.by_products
    takers, whole = [], list[_Device]()
    for count in OF_A_CLASS:
        devices = _devices(target, look, count)
        if not devices:
            continue
        whole = devices if count is None else whole
        name = "as they are" if count is None else f"with {count} image{'s' * (count > 1)} of a class"
        score = _better(ways, _own_devices(target, look, count, devices), others)
        takers.append(_taking_part(f"sums of devices {name}", devices, score, others, seed))
    control = _taking_part("sums of another device", _swapped(whole), prior.by_class_sums, others, seed)
    right, pairs = _which_of_two(whole, others, seed)
    told_NK = np.array([np.rint(each.sums.cross_DK[-1] / each.features_ND[0, -1]) for each in whole])
    true_NK = np.array([np.bincount(each.labels_N, minlength=told_NK.shape[1]) for each in whole])
    guess_NK = true_NK.sum(axis=1, keepdims=True) / true_NK.shape[1]
    return FromSums(
        took_part=takers,
        control=control,
        pairs=pairs,
        pair_right=right,
        pair_at_most=_allowed(target),
        counts=told_NK.size,
        counts_exact=float((told_NK == true_NK).mean()),
        count_error=float(np.abs(told_NK - true_NK).mean()),
        count_guess_error=float(np.abs(guess_NK - true_NK).mean()),
    )


def _allowed(target: Target) -> float:
    """Of decisions between two images, the share that the promise lets anybody get right."""
    own, facts = target.config.privacy, facts_of(target.config.method)
    if own.epsilon is None:
        return 1.0
    uploads = facts.uploads_at_most(target.config) or 1
    return NormalDist().cdf(math.sqrt(uploads) / own.multiplier(uploads) / 2)


class _Look:
    """The front, as who knows it runs it: images of a device to the features that it adds."""

    def __init__(self, target: Target, space: Space) -> None:
        self._front = build_front(space.bundle, target.config.normalisation)
        self._space = space

    @torch.no_grad()
    def at(self, data: LocalData) -> np.ndarray:
        found = []
        for at in range(0, len(data), 64):
            samples_B = np.arange(at, min(at + 64, len(data)))
            found.append(self._space.features(self._front(data.inputs(samples_B, 0)).numpy()))
        return np.concatenate(found)


def _public(target: Target, look: _Look) -> tuple[np.ndarray, np.ndarray, dict[int, np.ndarray]]:
    """Features and labels of images that are known, and of each class of others, which took no part anywhere."""
    images_NHWC, labels_N, _ = target.alike()
    known = min(KNOWN, len(labels_N) // 2)
    own_ND = look.at(target.local(OWN_DEVICES, part_of(images_NHWC, np.arange(known)), labels_N[:known]))
    rest_N = np.arange(known, len(labels_N))
    chosen = [rest_N[labels_N[rest_N] == each][:OTHERS] for each in np.unique(labels_N)]
    others_N = np.concatenate(chosen)
    others_MD = look.at(target.local(OWN_DEVICES + 1, part_of(images_NHWC, others_N), labels_N[others_N]))
    by_class = {
        int(each): others_MD[labels_N[others_N] == each]
        for each in np.unique(labels_N)
        if (labels_N[others_N] == each).any()
    }
    return own_ND, labels_N[:known].astype(np.int64), by_class


def _devices(target: Target, look: _Look, count: int | None) -> list[_Device]:
    """Some of the run's, and what they send if they have ``count`` images of each of their classes."""
    train, found = target.prepared.dataset.train, []
    devices = target.attacked_devices
    for device in counted(devices, len(devices), f"asking for sums ({count or 'all'} of a class)"):
        own_N = target.prepared.parts[device]
        for part_N in _parts(train.labels_N[own_N], count, OF_A_CLASS[count]):
            chosen_N = own_N[part_N]
            data = target.local(device, part_of(train.images_NHWC, chosen_N), train.labels_N[chosen_N])
            found.append(_Device(look.at(data), data.labels_N.astype(np.int64), sums_of(target.prepared, data)))
    return found


def _parts(labels_N: np.ndarray, count: int | None, most: int) -> list[np.ndarray]:
    """At most so many sets of images with ``count`` of each class that has as many."""
    if count is None:
        return [np.arange(len(labels_N))]
    parts = []
    for number in range(most):
        groups = [
            np.flatnonzero(labels_N == each)[number * count : (number + 1) * count] for each in np.unique(labels_N)
        ]
        full = [group for group in groups if len(group) == count]
        if full:
            parts.append(np.sort(np.concatenate(full)))
    return parts


def _own_devices(target: Target, look: _Look, count: int | None, like: list[_Device]) -> list[_Device]:
    """Devices of the attacker's own, with public images, as many of each class as a real one has."""
    images_NHWC, labels_N, _ = target.alike()
    known_N = labels_N[: min(KNOWN, len(labels_N) // 2)]
    made = []
    for number, real in enumerate(like[: max(1, OF_A_CLASS[count] // 2)]):
        wanted = np.bincount(real.labels_N)
        groups = [
            np.roll(np.flatnonzero(known_N == each), -number * most)[:most] for each, most in enumerate(wanted) if most
        ]
        own_N = np.concatenate(groups)
        data = target.local(OWN_DEVICES + 2 + number, part_of(images_NHWC, own_N), labels_N[own_N])
        made.append(_Device(look.at(data), data.labels_N.astype(np.int64), sums_of(target.prepared, data)))
    return made


def _better(ways: dict[str, _Score], own: list[_Device], others: dict[int, np.ndarray]) -> _Score:
    """The way that is better on the attacker's own devices."""
    if len(ways) == 1:
        return next(iter(ways.values()))
    known = {name: _taking_part(name, own, score, others, 0).auc or 0.0 for name, score in ways.items()}
    return ways[max(known, key=lambda name: known[name])]


def _taking_part(
    of: str, devices: list[_Device], score: _Score, others: dict[int, np.ndarray], seed: int
) -> Membership:
    """Members of classes against images of the same class that took no part."""
    members, rest, picked = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    rng = generator(seed, "audit-sums")
    share = min(1.0, MEMBERS / max(1, sum(len(each.labels_N) for each in devices)))
    for device in devices:
        for label in np.unique(device.labels_N):
            own_N = np.flatnonzero(device.labels_N == label)
            own_N = rng.permutation(own_N)[: max(1, round(share * len(own_N)))]
            if int(label) not in others:
                continue
            both = np.concatenate([device.features_ND[own_N], others[int(label)]])
            scores = score(device.sums, int(label), both)
            members.append(scores[: len(own_N)])
            rest.append(scores[len(own_N) :])
            picked.append(members[-1] > rest[-1].max())
    if not members:
        return Membership(of=of, available=False, why_not="there are too few images")
    found = told_apart(of, np.concatenate(members), np.concatenate(rest))
    return found.among(float(np.concatenate(picked).mean()), 1 + max(map(len, rest)))


def _swapped(devices: list[_Device]) -> list[_Device]:
    """Each with the sums of the next that has some of its classes: a control, in which it took no part."""
    found = []
    for at, device in enumerate(devices):
        for other in [*devices[at + 1 :], *devices[:at]]:
            shared_N = np.isin(device.labels_N, other.labels_N)
            if shared_N.any():
                found.append(_Device(device.features_ND[shared_N], device.labels_N[shared_N], other.sums))
                break
    return found


def _which_of_two(devices: list[_Device], others: dict[int, np.ndarray], seed: int) -> tuple[float, int]:
    """How often who knows all other images of a device says rightly which of two the last one is."""
    rng, right = generator(seed, "audit-pairs-of-sums"), list[bool]()
    labels = sorted(others)
    for device in devices:
        exact_DK = np.zeros_like(device.sums.cross_DK)
        for label in np.unique(device.labels_N):
            exact_DK[:, label] = device.features_ND[device.labels_N == label].sum(axis=0)
        cross_DK = device.sums.cross_DK - exact_DK
        gram_DD = None
        if device.sums.gram_DD is not None:
            gram_DD = device.sums.gram_DD - device.features_ND.T @ device.features_ND
        for at in rng.permutation(len(device.labels_N))[:PAIRS]:
            label = labels[int(rng.integers(len(labels)))]
            other_D = others[label][int(rng.integers(len(others[label])))]
            own_D = device.features_ND[at]
            # Towards the true image, from the middle between both: half the distance, and the noise along it.
            along = float(cross_DK[:, device.labels_N[at]] @ own_D - cross_DK[:, label] @ other_D)
            apart = float(own_D @ own_D + other_D @ other_D)
            if label == device.labels_N[at]:
                apart -= 2 * float(own_D @ other_D)
            if gram_DD is not None:
                towards = packed_for_noise(np.outer(own_D, own_D) - np.outer(other_D, other_D))
                along += float(packed_for_noise(gram_DD) @ towards)
                apart += float(towards @ towards)
            right.append(along + apart / 2 > 0)
    return float(np.mean(right)) if right else 0.0, len(right)
