"""The section ``[privacy]``: what a device does to its uploads before they leave it, and what that promises."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ecofed.config.accountant import LEAST_DELTA, epsilon_of, mu_of
from ecofed.config.fields import Needs, require
from ecofed.config.methods import facts_of

if TYPE_CHECKING:
    from ecofed.config.facts import Facts
    from ecofed.config.schema import Config


@dataclass(frozen=True, kw_only=True)
class PrivacyConfig:
    """Noise that devices add themselves, and what it promises of one image.

    Two sets of images are neighbours if one has another image, with another label, in the place of one of the other's:
    as many images, no matter which."""

    epsilon: float | None = None
    """Differential privacy of each image in all uploads of the run together: Gaussian noise on activations or on sums.
    ``none``: no noise."""
    delta: float = 1e-5
    """The probability that ``epsilon`` leaves out; well below one over a device's images."""
    clip: float = 0.3
    """How far from the middle of the quantiser's range an image's activation may be (L2), in units of the range's half
    diagonal; what is farther is moved there. The noise is in proportion to it."""
    noise_multiplier: float | None = None
    """Standard deviation of the noise of one upload over what one image can change (L2). ``none``: as little as keeps
    all uploads that the run may ask of a device within ``epsilon``."""

    labels: Literal["each", "counts"] = "each"
    """What devices tell of their images' classes: ``each`` image's label, or ``counts``, how many images of each class
    they have and not which. The server then takes for an image's class what its network makes of it, given the counts
    of its device (expectation maximisation); the fewer classes a device has, the more that tells."""
    label_epsilon: float | None = None
    """Differential privacy of each image's label where it is sent by itself: randomised response. The device draws once
    for an image whether it tells the truth, and says the same for ever. ``none``: labels are sent as they are."""
    label_correction: bool = True
    """Whether the server's loss knows how often randomised labels are false (Patrini et al., CVPR 2017), instead of
    believing them."""

    NEEDS: ClassVar[Needs] = {
        **dict.fromkeys(
            ("delta", "clip", "noise_multiplier"), ("privacy.epsilon", lambda own: own.epsilon is not None)
        ),
        "label_correction": ("privacy.label_epsilon", lambda own: own.label_epsilon is not None),
    }

    def __post_init__(self) -> None:
        for key in ("epsilon", "noise_multiplier", "label_epsilon"):
            value = getattr(self, key)
            fine = value is None or 1e-3 <= value <= 1e6
            require(fine, f"privacy.{key}", value, "must be in 0.001..1000000, or none")
        require(
            LEAST_DELTA <= self.delta < 1, "privacy.delta", self.delta, f"must be at least {LEAST_DELTA} and below 1"
        )
        require(1e-3 <= self.clip <= 1e3, "privacy.clip", self.clip, "must be in 0.001..1000")
        needs = self.noise_multiplier is None or self.epsilon is not None
        rule = "needs privacy.epsilon, the budget that its noise may use up"
        require(needs, "privacy.noise_multiplier", self.noise_multiplier, rule)

    @property
    def active(self) -> bool:
        """Whether devices change anything before they send it."""
        return self.epsilon is not None or self.label_epsilon is not None

    def multiplier(self, uploads: int) -> float:
        """Standard deviation over sensitivity of each of so many uploads, where there is noise."""
        assert self.epsilon is not None
        if self.noise_multiplier is not None:
            return self.noise_multiplier
        return math.sqrt(uploads) / mu_of(self.epsilon, self.delta)

    def spent(self, uploads: int) -> float:
        """The epsilon of an image after all of so many planned uploads."""
        return epsilon_of(math.sqrt(uploads) / self.multiplier(uploads), self.delta)


def check_privacy(config: Config) -> None:
    """Raise :class:`ConfigError` where the promise could not be kept. Devices check it, too."""
    own, facts = config.privacy, facts_of(config.method)
    if own.labels == "counts":
        _check_counts(config, facts)
    if not own.active:
        return
    key, value = (
        ("privacy.label_epsilon", own.label_epsilon) if own.epsilon is None else ("privacy.epsilon", own.epsilon)
    )
    rule = (
        f"devices of {facts.name} add no noise to what they send; choose a method whose devices do, or set it to none"
    )
    require(facts.noise != "none", key, value, rule)
    rule = "devices would answer with exact counts of right answers; use validation.on_devices=false"
    require(not config.validation.on_devices, key, value, rule)
    if own.label_epsilon is not None:
        _check_labels(config, facts, own.label_epsilon)
    if own.epsilon is not None:
        _check_noise(config, facts, own.epsilon)


def labels_leave(config: Config) -> bool:
    """Whether devices tell the labels of single images."""
    return facts_of(config.method).labels_leave_device and config.privacy.labels == "each"


def _check_counts(config: Config, facts: type[Facts]) -> None:
    key, value, own = "privacy.labels", config.privacy.labels, config.ecofed
    rule = f"devices of {facts.name} upload no codes that a server could learn from by counts; use privacy.labels=each"
    require(facts.noise == "images", key, value, rule)
    randomised = config.privacy.label_epsilon is not None
    require(not randomised, key, value, "no label is sent that could be randomised; use privacy.label_epsilon=none")
    rule = "held-out samples would have no labels to be judged by; use validation.fraction=0"
    require(not config.validation.on_server, key, value, rule)
    require(own.server == "pooled", key, value, "needs ecofed.server=pooled")
    require(
        own.sampling != "class",
        key,
        value,
        "which samples are of which class is not known; use another ecofed.sampling",
    )
    rule = "samples cannot be kept by their class, which is not known; use kept_per_device"
    require(config.kept_per_class is None, key, value, rule)
    rule = "how well a new upload fits is judged by its labels; use another ecofed.refresh"
    require(own.refresh != "plateau", key, value, rule)


def _check_labels(config: Config, facts: type[Facts], value: float) -> None:
    key = "privacy.label_epsilon"
    rule = f"devices of {facts.name} send no label by itself; privacy.epsilon is of each image with its label"
    require(facts.noise == "images", key, value, rule)
    rule = "held-out samples would be judged by randomised labels; use validation.fraction=0"
    require(not config.validation.on_server, key, value, rule)
    pooled = config.ecofed.server == "pooled" or not config.privacy.label_correction
    rule = "needs ecofed.server=pooled; use privacy.label_correction=false"
    require(pooled, "privacy.label_correction", config.privacy.label_correction, rule)


def _check_noise(config: Config, facts: type[Facts], epsilon: float) -> None:
    own, key = config.privacy, "privacy.epsilon"
    rule = "with normalisation=batch an activation depends on other images, too; use normalisation=frozen"
    require(config.normalisation != "batch", key, epsilon, rule)
    early = facts.stops_early and config.ecofed.device_cuts is not None
    require(not early, key, epsilon, "there is no noise at earlier layers; use ecofed.device_cuts=none")
    uploads = facts.uploads_at_most(config)
    rule = "how often a device uploads is not known before; set ecofed.views, or use ecofed.refresh=once"
    require(uploads is not None, key, epsilon, rule)
    assert uploads is not None
    spent = own.spent(uploads)
    rule = (
        f"{uploads} upload{'s' if uploads > 1 else ''} of a device would make epsilon {spent:.4g}, above "
        f"privacy.epsilon = {epsilon:g}; use {math.sqrt(uploads) / mu_of(epsilon, own.delta):.4g} or more, or "
        "fewer uploads"
    )
    require(spent <= epsilon * (1 + 1e-9), "privacy.noise_multiplier", own.noise_multiplier, rule)


def promise(config: Config, most_samples: int | None, *, simulated: bool) -> list[str]:
    """What a run promises, in words; empty where it promises nothing.

    Args:
        config: of the run.
        most_samples: how many images the device with the most has; ``None``: nobody knows yet.
        simulated: whether devices are, whose noise is no secret.
    """
    own, facts = config.privacy, facts_of(config.method)
    uploads = facts.uploads_at_most(config)
    lines = []
    if own.epsilon is not None and uploads is not None:
        mu = math.sqrt(uploads) / own.multiplier(uploads)
        what = "each image with its label" if facts.noise == "sums" else "each image"
        views = f"all {uploads} uploads" if uploads > 1 else "the one upload"
        lines.append(
            f"privacy: epsilon {own.spent(uploads):.3g} at delta {own.delta:g} for {what} in {views} of its device "
            "(another in its place)" + _of_all(mu, most_samples, own.delta, of_sums=facts.noise == "sums")
        )
    if own.label_epsilon is not None:
        lines.append(
            f"privacy: epsilon {own.label_epsilon:g} for each label by itself, which is drawn once"
            + (
                ""
                if most_samples is None
                else f"; for all {most_samples:,} labels of a device together epsilon "
                f"{own.label_epsilon * most_samples:,.4g}"
            )
        )
    if own.labels == "counts":
        lines.append(
            "privacy: devices tell how many images of each class they have, and of none which class it is; that is no "
            "promise: who has images of one class tells all labels"
        )
    elif own.epsilon is not None and facts.noise == "images" and own.label_epsilon is None:
        lines.append("privacy: labels leave the devices as they are (privacy.label_epsilon randomises them)")
    if (own.label_epsilon is not None or own.labels == "counts") and own.epsilon is None:
        lines.append("privacy: nothing is promised of the images, only of their labels (privacy.epsilon adds noise)")
    if lines and simulated:
        lines.append(
            "privacy: devices are simulated, and their noise follows from the run's seed; only real devices, which "
            "draw it from a secret of their own, keep the promise"
        )
    return lines


def _of_all(mu: float, samples: int | None, delta: float, *, of_sums: bool) -> str:
    """What is promised of all images of a device together, to be read on; nothing where nobody knows how many."""
    if samples is None:
        return ""
    together = epsilon_of(mu * (samples if of_sums else math.sqrt(samples)), delta)
    return f"; for all {samples:,} images of a device together epsilon {together:,.4g}"
