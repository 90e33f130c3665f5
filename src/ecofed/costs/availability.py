"""Which devices are there in a round, and how slow they are: simulated, drawn by key or read from a file.

A trace is a CSV file: ``device,first_round,last_round``, one line for each time that a device is there. Devices that it
does not name are always there.
"""

from __future__ import annotations

import csv
import itertools
import math
from pathlib import Path

from ecofed.config.schema import Config
from ecofed.errors import ConfigError
from ecofed.files.disk import read_text
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
        self._trace = {} if trace is None else read_trace(Path(trace), config.devices)

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
        cycle, place = divmod(round_ + phase, settings.cycle_rounds)
        whole, part = divmod(settings.share * settings.cycle_rounds, 1)
        if place != whole:
            return place < whole
        # Of a share that is no whole number of a cycle's rounds the rest is drawn: in so many cycles it is one more.
        return bool(generator(self._seed, "availability-cycle", device=device, round_=cycle).random() < part)

    def slowness(self, device: int, round_: int) -> float:
        """By which factor its computing and its link are slower in this round; 1 for most."""
        settings = self._settings
        if not settings.slow_share:
            return 1.0
        draw = generator(self._seed, "stragglers", device=device, round_=round_)
        return settings.slow_factor if draw.random() < settings.slow_share else 1.0


def needed_devices(quorum: float, asked: int) -> int:
    """How many of the devices asked must answer: a share (at most 1), or a number; never more than were asked."""
    # A product such as 0.56 * 25 is a hair above the whole number that is meant.
    return min(math.ceil(quorum * asked - 1e-9) if quorum <= 1 else int(quorum), asked)


def read_trace(path: Path, devices: int) -> dict[int, list[tuple[int, int]]]:
    """For each device that is named, the rounds in which it is there: (first, last), both included, ascending.

    Args:
        path: the CSV file.
        devices: how many there are in the run.

    Raises:
        ConfigError: no such file; a line that is not three whole numbers; a device that is not in the run; times of a
            device that overlap; or no time at all.
    """
    where = f"availability.trace = '{path}'"
    try:
        rows = list(csv.reader(read_text(path).splitlines()))
    except (ConfigError, csv.Error) as error:
        raise ConfigError(f"availability.trace: {error}") from None
    lines = [
        (number, [cell.strip() for cell in row])
        for number, row in enumerate(rows, start=1)
        if any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#")
    ]
    if not lines or lines[0][1] != COLUMNS:
        raise ConfigError(f"{where}: the first line must be {','.join(COLUMNS)}")
    if len(lines) == 1:
        raise ConfigError(f"{where}: names no device")
    trace: dict[int, list[tuple[int, int, int]]] = {}
    for number, row in lines[1:]:
        if len(row) != len(COLUMNS) or not all(cell.isascii() and cell.isdecimal() and len(cell) < 16 for cell in row):
            rule = "must be a device and the first and last round of a time in which it is there, in whole numbers"
            raise ConfigError(f"{where}, line {number}: '{','.join(row)}' {rule}")
        device, first, last = map(int, row)
        if device >= devices:
            raise ConfigError(f"{where}, line {number}: there is no device {device}; devices are 0 to {devices - 1}")
        if not 1 <= first <= last:
            rule = "rounds count from 1, and the first comes before the last"
            raise ConfigError(f"{where}, line {number}: '{','.join(row)}': {rule}")
        trace.setdefault(device, []).append((first, last, number))
    for device, times in trace.items():
        times.sort()
        for before, after in itertools.pairwise(times):
            if after[0] <= before[1]:
                earlier, later = sorted((before, after), key=lambda time: time[2])
                rule = f"device {device} is there in rounds {earlier[0]} to {earlier[1]} already"
                raise ConfigError(f"{where}, line {later[2]}: '{device},{later[0]},{later[1]}': {rule}")
    return {device: [(first, last) for first, last, _ in times] for device, times in trace.items()}
