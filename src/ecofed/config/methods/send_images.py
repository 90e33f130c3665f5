"""send-images, declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecofed.config.facts import Facts
from ecofed.config.fields import require
from ecofed.config.methods.training import PooledTraining

if TYPE_CHECKING:
    from ecofed.config.schema import Config


@dataclass(frozen=True, kw_only=True)
class SendImagesConfig(PooledTraining):
    """A rival: devices send their images once, the server trains the whole network on them."""

    quality: int = 75
    """JPEG quality of what a device sends, 1-95. Headers that all images share are sent once a device."""
    size: int | None = None
    """Images are scaled down to ``size`` x ``size`` pixels before they are compressed; ``none``: as they are."""

    def __post_init__(self) -> None:
        require(1 <= self.quality <= 95, "send-images.quality", self.quality, "must be in 1..95")
        if self.size is not None:
            require(4 <= self.size <= 1024, "send-images.size", self.size, "must be in 4..1024")
        self.check("send-images")


class SendImagesFacts(Facts):
    """Images up once, nothing else."""

    name = "send-images"
    Settings = SendImagesConfig
    role = "rival"
    colour, dark_colour, marker = "#5f7188", "#23adcd", "P"
    Device = "ecofed.devices.methods.send_images:Sender"
    trains_on_device = False
    keeps_uploads = True
    cuts_network = False
    images_leave_device = True

    @classmethod
    def unread(cls, config: Config) -> Mapping[str, str]:
        found = {
            **super().unread(config),
            "local_epochs": f"devices of {cls.name} do not train",
            "aggregation": f"{cls.name} averages nothing over devices",
        }
        if config.send_images.optimiser != "sgd":
            found["momentum"] = "it needs send-images.optimiser=sgd"
        return found

    @classmethod
    def sent_as(cls, config: Config) -> tuple[int, int]:
        return config.send_images.quality, config.send_images.size or 0
