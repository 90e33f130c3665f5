"""EcoFed with nothing that depends on the images' content: bytes and steps can be worked out by hand."""

from __future__ import annotations

PLAIN: dict[str, object] = {
    "codec.bits": 4,
    "ecofed.refresh": "period",
    "codec.entropy": "none",
    "front.precision": "full",
    "ecofed.schedule": "constant",
    "ecofed.weight_decay": 0,
}
#: The same as ``--set`` words.
PLAIN_SETS = [f"{key}={value}" for key, value in PLAIN.items()]
#: The same for :meth:`ecofed.config.schema.Config.replace`.
PLAIN_CHANGES = {key.replace(".", "__"): value for key, value in PLAIN.items()}
