"""What an audit found: plain records, the schema of ``audit.json``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from ecofed.errors.foreign_text import LONGEST_NAME, cleaned
from ecofed.files.json_values import Amount, Count, Fraction, Seed, Within

AUDIT_SCHEMA = "ecofed-audit/1"

Similarity = Annotated[float, Within(-1, 1)]
Decibels = Annotated[float, Within(-100, 200)]


@dataclass(frozen=True, kw_only=True)
class Leak:
    """One row: an attack on the uploads, or something to hold it against."""

    name: str
    """What it is for files, such as ``black-box-4096``."""
    title: str
    """What it is, for readers."""
    kind: Literal["attack", "control", "reference", "curve", "weights"]
    """``control``: uploads that say nothing, where the attack must fail. ``reference``: what else one might send.
    ``curve``: of those, points of a line in the plot.
    ``weights``: the attack on a method that sends weights instead."""
    knows_front: bool = False
    pairs: Count = 0
    """Of public images and their uploads, that the attacker learned from."""
    public: str = ""
    """Which public images."""
    bytes_per_image: Amount | None = None
    psnr: Decibels | None = None
    """In dB, mean over the attacked images; as the others."""
    ssim: Similarity | None = None
    distance: Amount | None = None
    """In the features of :attr:`Audit.eye`: made like LPIPS, and not LPIPS."""
    reidentified: Fraction | None = None
    """Of the reconstructions, those closest to their own image among all attacked ones."""
    recognised: Fraction | None = None
    """Of the reconstructions, those whose class a classifier tells."""
    images: Count = 0
    """How many were attacked."""
    how: str = ""
    """What was used, such as ``residual decoder``."""
    seconds: Amount = 0.0

    def __post_init__(self) -> None:
        for name in ("name", "title", "public", "how"):
            object.__setattr__(self, name, cleaned(getattr(self, name), LONGEST_NAME))


def false_alarms(others: int) -> int:
    """Of so many images that took no part, how many may be taken for some that did: one in a hundred."""
    return others // 100


@dataclass(frozen=True, kw_only=True)
class Membership:
    """Whether it can be told that an image took part."""

    of: str
    """``network`` or ``buffer``."""
    available: bool
    why_not: str = ""
    auc: Fraction | None = None
    """Of the attack's score, members against others; chance is 0.5."""
    tpr_at_1_percent_fpr: Fraction | None = None
    """Of the members, those that are told where at most one other in a hundred is taken for one; chance is
    :attr:`chance_of_found`."""
    members: Count = 0
    others: Count = 0
    picked: Fraction | None = None
    """Of the members, those that are told from all of :attr:`candidates` - 1 others at once."""
    candidates: Count = 0

    def __post_init__(self) -> None:
        for name in ("of", "why_not"):
            object.__setattr__(self, name, cleaned(getattr(self, name)))

    @property
    def chance_of_found(self) -> float:
        """That a score which says nothing passes the threshold: it is as likely at every place among the others. Of
        very many of them one in a hundred, of few more than that."""
        return (false_alarms(self.others) + 1) / (self.others + 1)

    def among(self, picked: float, candidates: int) -> Membership:
        """The same, and how many are told among so many images at once."""
        return dataclasses.replace(self, picked=picked, candidates=candidates)


@dataclass(frozen=True, kw_only=True)
class FromSums:
    """What sums over a device's images tell of them."""

    took_part: list[Membership]
    """By how many images of a class a device has."""
    control: Membership
    """Asked of sums in which none of the members is: must be at chance."""
    pairs: Count
    pair_right: Fraction
    """Of the pairs of images one of which is a device's, those that who knows all its other images decides rightly."""
    pair_at_most: Fraction
    """What the noise promises of that."""
    counts: Count
    """Numbers of images of a class in a device."""
    counts_exact: Fraction
    """Of them, those that are told exactly."""
    count_error: Amount
    """Of what is told, in images, the mean without its sign."""
    count_guess_error: Amount
    """Of guessing that every class is as frequent."""


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """What an audit found, in short: of the attack whose reconstructions are most like the images."""

    ssim: Similarity
    reidentified: Fraction | None = None
    attack: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "attack", cleaned(self.attack, LONGEST_NAME))


@dataclass(frozen=True, kw_only=True)
class Audit:
    """A finished audit; ``audit.json``."""

    ecofed_version: str
    git_commit: str | None
    command: str
    seed: Seed
    method: str
    configuration: str
    """What was audited: a preset, a file, a run's folder."""
    config: dict[str, Any]
    data: str
    front: str
    """Of the front that devices run: its name and id."""
    bytes_per_image: Amount | None
    """Of an upload, labels and framing left out."""
    images: Count
    """How many were attacked."""
    rows: list[Leak]
    curve: list[Leak]
    """JPEGs of several qualities."""
    recognised_originals: Fraction | None
    """Accuracy of the classifier on the attacked images themselves."""
    membership: list[Membership]
    labels_leave_device: bool
    facts: list[str]
    """What else the uploads reveal, a sentence each."""
    notes: list[str] = field(default_factory=list)
    sums: FromSums | None = None
    """Where devices send sums over their images."""
    probe: Fraction | None = None
    """Accuracy of a linear classifier on uploads of public images; ``None`` where none is of a single image."""
    device_told: Fraction | None = None
    """Of such uploads, those whose device a linear classifier tells, such as camera and day; ``None``: the data do not
    say it (``data.device_column``)."""
    device_guessed: Fraction | None = None
    """Of who always says the most frequent one."""
    accuracy: Fraction | None = None
    """Of the run's network; ``None`` where there is no run."""
    eye: str = ""
    seconds: Amount = 0.0
    environment: dict[str, Any] = field(default_factory=dict)
    schema: str = AUDIT_SCHEMA

    def __post_init__(self) -> None:
        for name in ("method", "configuration", "data", "front", "eye"):
            object.__setattr__(self, name, cleaned(getattr(self, name), LONGEST_NAME))
        for name in ("facts", "notes", "environment"):
            object.__setattr__(self, name, cleaned(getattr(self, name)))

    @property
    def chance(self) -> float:
        """Of telling which of the attacked images it is."""
        return 1 / max(1, self.images)

    @property
    def attacks(self) -> list[Leak]:
        """Rows that are attacks on this configuration's uploads."""
        return [row for row in self.rows if row.kind == "attack"]

    @property
    def worst(self) -> Leak | None:
        """The attack whose reconstructions are most like the images: what a reader should count with."""
        return max(self.attacks, key=lambda row: -1.0 if row.ssim is None else row.ssim, default=None)

    @property
    def leakage(self) -> Leakage | None:
        """For tables of runs; ``None`` where no upload was attacked."""
        worst = self.worst
        if worst is None or worst.ssim is None:
            return None
        return Leakage(ssim=worst.ssim, reidentified=worst.reidentified, attack=worst.name)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
