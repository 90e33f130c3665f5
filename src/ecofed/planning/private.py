"""What a plan says about privacy: labels that leave devices, and what noise promises."""

from __future__ import annotations

from collections.abc import Sequence

from ecofed.config.methods import facts_of
from ecofed.config.privacy import check_privacy, promise
from ecofed.config.schema import Config
from ecofed.pretraining.audited import AuditedFront, audited_front


def privacy_notes(configs: Sequence[Config], most_samples: int) -> list[str]:
    """A line or two on the runs of several methods; ``most_samples``: of the device that has most.

    Raises:
        ConfigError: a promise that could not be kept.
    """
    labelled = [
        config.method
        for config in configs
        if facts_of(config.method).labels_leave_device and config.privacy.label_epsilon is None
    ]
    lines = [f"class labels leave the devices as they are: {', '.join(labelled)}"] if labelled else []
    for config in configs:
        check_privacy(config)
        said = promise(config, most_samples, simulated=False)
        lines += [f"{config.method}: {line}" for line in said]
    return lines


def audit_of(config: Config, front: str) -> AuditedFront | None:
    """What an audit found of the codes of a front, by its id, where there was one.

    None of codes with noise was audited, nor any of devices that stop before the front's end.
    """
    coded = facts_of(config.method).coded(config)
    if coded is None or config.privacy.epsilon is not None or config.ecofed.device_cuts is not None:
        return None
    return audited_front(front, coded.bits)
