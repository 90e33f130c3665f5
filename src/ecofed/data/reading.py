"""What a run asks of a data set beside its pictures and labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ecofed.config.network_input import ANY_FRAME, Frame
from ecofed.config.problem import DataConfig
from ecofed.config.task import Task


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the pictures of a data set are read."""

    white: int | None = None
    """The number that is white in pictures of more than 8 bits, where a network was trained with one; ``None``: what
    the training pictures need (:mod:`ecofed.data.pictures`)."""
    frame: Frame = ANY_FRAME
    """The size that pictures are brought to."""
    device_column: str | None = None
    """Where the data say which device holds an image (``data.device_column``)."""
    image_column: str | None = None
    """Of a parquet file (``data.image_column``); ``None``: by its usual names, or as the hub says."""
    label_column: str | None = None
    """The same for the labels (``data.label_column``)."""
    columns_needed: bool = True
    """``False``: data without columns, as class folders are, do without ``image_column`` and ``label_column``."""
    device_needed: bool = True
    """``False``: pictures of which nobody knows whose they are will do."""
    test_alone: bool = False
    """Test images without training images will do, as on a server whose devices bring theirs."""
    store: Path | None = None
    """Where decoded photographs are kept; ``None``: in a temporary file. Smaller pictures are held in memory."""

    @property
    def key(self) -> str:
        """For a cache: equal keys, equal pictures."""
        frame = self.frame
        words = [str(self.white or "own"), *(["x".join(map(str, frame.sides))] if frame.sides else [])]
        words += [f"cover{frame.image_size}"] if frame.cover else []
        named = (("image", self.image_column), ("label", self.label_column), ("of", self.device_column))
        words += [f"{kind}-{column.encode().hex()}" for kind, column in named if column]
        return "-".join(words)

    def of_test(self, white: int, sides: tuple[int, ...]) -> Reading:
        """For the test pictures of a set whose training pictures settled these."""
        frame = replace(self.frame, sides=sides) if self.frame.cover else self.frame
        return replace(self, white=white, frame=frame, device_needed=False)


def reading_of(config: DataConfig, image_size: int | None) -> Reading:
    """What a configuration asks for; ``image_size`` is ``None`` for networks of 32x32 pictures."""
    column = config.device_column if config.partition == "column" else None
    return Reading(
        frame=Frame(image_size=image_size),
        device_column=column,
        image_column=config.image_column,
        label_column=config.label_column,
    )


def task_reading(task: Task) -> Reading:
    """For data that a device reads itself."""
    asked = reading_of(task.config.data, None)
    return replace(asked, white=task.white, frame=task.frame)
