"""Which devices are there in a round, and how slow they are: simulated, drawn by key or read from a file.

A trace is a CSV file: ``device,first_round,last_round``, one line for each time that a device is there. Devices that it
does not name are always there.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

from ecofed.config import Config
from ecofed.errors import ConfigError
from ecofed.randomness import generator

COLUMNS = ["device", "first_round", "last_round"]


class Availability:
    """Follows from the seed and the configuration: the same for every method, after a resume, and in a plan.

    Raises:
        ConfigError: the trace cannot be read.
    """

    def __init__(self, config: Config) -> None:
        self._seed = config.seed
        self._settings = config.availability
        trace = self._settings.trace
        self._trace = {} if trace is None else read_trace(Path(trace))

    @property
    def changes_time(self) -> bool:
        """Whether rounds of the same devices can take different times."""
        return self._settings.slow_share > 0 or self._settings.deadline_seconds is not None

    def is_there(self, device: int, round_: int) -> bool:
        """Whether the device can be reached in this round."""
        times = self._trace.get(device)
        if times is not None and not any(first <= round_ <= last for first, last in times):
            return False
        settings = self._settings
        if settings.share >= 1:
            return True
        if settings.cycle_rounds == 1:
            draw = generator(self._seed, "availability", device=device, round_=round_)
            return bool(draw.random() < settings.share)
        phase = int(generator(self._seed, "availability-phase", device=device).integers(settings.cycle_rounds))
        present = max(1, round(settings.share * settings.cycle_rounds))
        return (round_ + phase) % settings.cycle_rounds < present

    def slowness(self, device: int, round_: int) -> float:
        """By which factor its computing and its link are slower in this round; 1 for most."""
        settings = self._settings
        if not settings.slow_share:
            return 1.0
        draw = generator(self._seed, "stragglers", device=device, round_=round_)
        return settings.slow_factor if draw.random() < settings.slow_share else 1.0


def needed_devices(quorum: float, asked: int) -> int:
    """How many of the devices asked must answer: a share (at most 1), or a number; never more than were asked."""
    return min(math.ceil(quorum * asked) if quorum <= 1 else int(quorum), asked)


def read_trace(path: Path) -> dict[int, list[tuple[int, int]]]:
    """For each device that is named, the rounds in which it is there: (first, last), both included.

    Raises:
        ConfigError: no such file, or a line that is not three whole numbers.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"availability.trace = '{path}': cannot be read ({reason})") from error
    rows = [row for row in csv.reader(lines) if row and not row[0].startswith("#")]
    if not rows or [cell.strip() for cell in rows[0]] != COLUMNS:
        raise ConfigError(f"availability.trace = '{path}': the first line must be {','.join(COLUMNS)}")
    trace: dict[int, list[tuple[int, int]]] = {}
    for row in rows[1:]:
        try:
            device, first, last = (int(cell) for cell in row)
            if device < 0 or not 1 <= first <= last:
                raise ValueError
        except ValueError:
            raise ConfigError(
                f"availability.trace = '{path}': '{','.join(row)}' must be a device (from 0) and the first and last "
                "round (from 1) of a time in which it is there"
            ) from None
        trace.setdefault(device, []).append((first, last))
    return trace
