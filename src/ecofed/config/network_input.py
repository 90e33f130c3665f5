"""How a picture becomes the input of a network: part of the trained network, and the same wherever it is used.

Training settles it, from the data that it sees. The task carries it to devices, a saved network, an exported one and a
device's folder keep it; :mod:`ecofed.data.preparing` carries it out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from ecofed.files.json_values import Within

FULL_WHITE = 65535
"""The white level where nothing settled another: that of 16 bits."""

Side = Annotated[int, Within(1, 1024)]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """How the pictures of a data set are brought to one size."""

    sides: tuple[int, ...] = ()
    """Height and width. Empty: not settled yet."""
    image_size: int | None = None
    """Side of the square that a network sees of a picture: pictures are scaled, with antialiasing, until they cover
    ``sides``, and what juts out on either side is cut off. ``None``: they are stretched to ``sides``, or, unless these
    are settled, to 32x32 if they are not of one size of 28 to 32 pixels."""

    @property
    def cover(self) -> bool:
        """Whether proportions are kept."""
        return self.image_size is not None

    def settled(self, height: int, width: int) -> Frame:
        """For a data set whose first picture has this size. Photographs get a margin of an eighth, so that crops have
        room; smaller pictures get as much as they have."""
        if self.sides or self.image_size is None:
            return self
        side = min(max(height if height < width else width, self.image_size), self.image_size * 9 // 8)
        return replace(self, sides=(side, side))


#: Images of one pass of a network whose answers depend on those that are asked together: everywhere as many.
TEST_BATCH = 100


def images_at_once(side: int) -> int:
    """Images of one forward pass where each stands for itself: 100 of up to 32 pixels, as many as have the same area
    (at least 8) of larger ones. A layer's output for all of them is in memory at once, at best in the cache.

    The size alone decides, because sums depend on the shape of a batch.
    """
    return max(8, min(100, 100 * 32 * 32 // (side * side)))


ANY_FRAME = Frame()
"""As the paper's networks take pictures."""


@dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """In this order: white, size, channels, what sending does to it, border or crop, normalisation."""

    in_channels: Annotated[int, Within(1, 16)]
    mean: tuple[Annotated[float, Within(-1e3, 1e3)], ...]
    """Input normalisation, per channel, in units of 0..1."""
    std: tuple[Annotated[float, Within(1e-6, 1e3)], ...]
    white: Annotated[int, Within(1, (1 << 32) - 1)] = FULL_WHITE
    """The number that is white in pictures of more than 8 bits (:mod:`ecofed.data.pictures`)."""
    picture_size: tuple[Side, ...] = ()
    """Height and width of every picture in training, before the border: any other is scaled to that. Empty in files of
    earlier versions: then each picture decides for itself whether it is scaled."""
    sent_as: tuple[Annotated[int, Within(0, 1024)], ...] = ()
    """``send-images`` trains on what a JPEG leaves of a picture: its quality, and its side in pixels (0: the
    picture's own). Otherwise empty."""
    input_size: Annotated[int, Within(8, 1024)] = 32
    """Side of the input; what a picture lacks is a black border."""
    cover: bool = False
    """Whether proportions are kept (:class:`Frame`); then the input is the centre of the picture."""

    def check(self, path: str = "") -> None:
        """Raise ``ValueError`` where the fields do not fit each other; ``path`` is where they stand in a file."""
        where = path and f"{path}."
        if not len(self.mean) == len(self.std) == self.in_channels:
            raise ValueError(f"'{where}mean' and 'std' need one value for each of 'in_channels'")
        if len(self.picture_size) not in (0, 2):
            raise ValueError(f"'{where}picture_size' must be a height and a width")
        if self.cover and min(self.picture_size, default=0) < self.input_size:
            raise ValueError(f"'{where}cover' needs a 'picture_size' of at least 'input_size' = {self.input_size}")
        if not self.cover and max(self.picture_size, default=0) > self.input_size:
            sides = "x".join(map(str, self.picture_size))
            raise ValueError(f"'{where}input_size' = {self.input_size} does not suit pictures of {sides}")
        if self.sent_as and (len(self.sent_as) != 2 or not 1 <= self.sent_as[0] <= 100):
            raise ValueError(f"'{where}sent_as' must be a quality of 1 to 100 and a side")
        if self.sent_as and self.sent_as[1] > self.input_size:
            raise ValueError(f"'{where}sent_as' has a side above 'input_size'")

    @property
    def frame(self) -> Frame:
        """For data that are read for this network."""
        return Frame(sides=self.picture_size, image_size=self.input_size if self.cover else None)

    def described(self) -> dict[str, Any]:
        """For an exported network: what must be known, and what is not as usual."""
        values: dict[str, Any] = {name: getattr(self, name) for name in ("in_channels", "input_size", "mean", "std")}
        usual = {"white": FULL_WHITE, "picture_size": (), "sent_as": (), "cover": False}
        return values | {name: getattr(self, name) for name in usual if getattr(self, name) != usual[name]}
