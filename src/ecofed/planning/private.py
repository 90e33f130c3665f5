"""What a plan says about privacy: labels that leave devices, and what noise promises."""

from __future__ import annotations

from collections.abc import Sequence

from ecofed.config.methods import facts_of
from ecofed.config.privacy import check_privacy, promise
from ecofed.config.schema import Config


def privacy_notes(configs: Sequence[Config], most_samples: int) -> list[str]:
    """A line or two on the runs of several methods; ``most_samples``: of the device that has most.

    Raises:
        ConfigError: a promise that could not be kept.
    """
    labelled = [config.method for config in configs if facts_of(config.method).labels_leave_device]
    lines = [f"class labels leave the devices as they are: {', '.join(labelled)}"] if labelled else []
    for config in configs:
        check_privacy(config)
        said = promise(config, most_samples, simulated=False)
        lines += [f"{config.method}: {line}" for line in said]
    return lines
