"""Of a result: which data a run used."""

from __future__ import annotations

from dataclasses import dataclass, field

from ecofed.errors.foreign_text import LONGEST, LONGEST_NAME, cleaned
from ecofed.files.json_values import Count


@dataclass(frozen=True, kw_only=True)
class Floors:
    """What sending the pictures themselves would cost, in bytes, all devices together, once."""

    raw_bytes: Count
    compressed_bytes: Count | None
    """In the encoding that the data set is stored in (JPEG, PNG), or as PNG where it is stored raw."""
    compressed_as: str | None
    jpeg_bytes: dict[str, Count] = field(default_factory=dict)
    """Of photographs: as JPEG of the side that the network takes, by what it is (``128 px, quality 75``); foreseen from
    some of them."""

    def __post_init__(self) -> None:
        clean_texts(self, "compressed_as", longest=LONGEST_NAME)


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """Which data were used, and who held which labels."""

    name: str
    """Title as reports print it, for example ``CIFAR-10 (JPEG)``."""
    source: str
    """Where it was found: a kind of place, never a path of one machine."""
    train_samples: Count
    test_samples: Count
    classes: list[str]
    """Their names, fit to be shown; the trained network keeps them as they are."""
    label_counts: list[list[Count]]
    """``label_counts[device][class]``."""
    floors: Floors
    brought: Count = 0
    """How many devices of a fleet brought pictures of their own. Their counts are what uploads told the server, nothing
    where it keeps none; the floors are foreseen from the server's pictures."""

    def __post_init__(self) -> None:
        clean_texts(self, "name", "source", "classes", longest=LONGEST_NAME)


def clean_texts(record: object, *names: str, longest: int = LONGEST) -> None:
    """Make texts of a frozen record fit to be shown: device reasons, class names and cards come from elsewhere."""
    for name in names:
        object.__setattr__(record, name, cleaned(getattr(record, name), longest))
