"""What server and devices agree on before a run: the configuration and the shape of the problem."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from ecofed.config import Config
from ecofed.files import json_text
from ecofed.randomness import permutation


@dataclass(frozen=True, kw_only=True)
class Task:
    """Known to both sides at installation; it never travels in a round."""

    config: Config
    in_channels: int
    classes: int
    mean: tuple[float, ...]
    """Input normalisation, per channel, in units of 0..1."""
    std: tuple[float, ...]
    flip: bool
    """Whether a mirrored image is still valid."""
    input_size: int = 32

    def to_json(self) -> str:
        values: dict[str, Any] = asdict(self) | {"config": self.config.to_dict()}
        return json_text(values)

    @classmethod
    def from_json(cls, text: str) -> Task:
        values = json.loads(text)
        values["config"] = Config.from_dict(values["config"])
        return cls(**values | {"mean": tuple(values["mean"]), "std": tuple(values["std"])})


def upload_order(seed: int, device: int, view: int, samples: int) -> Any:
    """The order in which a device uploads a view: a keyed permutation, so that sample numbers need not travel.

    Shape (samples,), int64. Mixed order matters where batches have statistics or scales of their own.
    """
    return permutation(seed, "upload-order", samples, device=device, view=view)
