"""Whom a method asks in a round, and how long its server then trains: what a calendar must know to foresee a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ecofed.config.held_out import trained_count
from ecofed.config.schema import Config


class Agenda:
    """What a method remembers of earlier rounds; here nothing: it asks everybody, every time.

    Args:
        config: the run.
        samples: of each device, without those that it holds out itself.
    """

    def __init__(self, config: Config, samples: Sequence[int]) -> None:
        self.config = config
        self.samples = samples
        self.trained = list(samples)
        """Of them, those that the server does not hold out."""
        if config.validation.on_server:
            self.trained = [trained_count(config, device, count) for device, count in enumerate(samples)]

    def wants(self, round_: int, device: int) -> bool:  # noqa: ARG002
        """Whether a sampled device is asked in this round."""
        return True

    def settled(self, device: int) -> bool:  # noqa: ARG002
        """Whether the server has taken an answer of the device that it keeps: in rounds that sample it and do not ask
        it, it counts as one that answered."""
        return False

    def uploads(self, device: int) -> int:  # noqa: ARG002
        """How often the device has uploaded something that the server keeps; what travels once is sent with the first.

        A method that keeps nothing sends all of it every time.
        """
        return 0

    def needs_front(self, device: int) -> bool:  # noqa: ARG002
        """Whether a front is sent to the device before it is asked."""
        return False

    def reached(self, device: int) -> None:
        """The device has answered in time: what it was sent it has."""

    def took(self, device: int, content_bytes: int) -> None:
        """The server has taken a device's answer, with so many bytes of codes, scales and labels."""

    def server_steps(self, round_: int, sampled: Sequence[int], answered: Sequence[int]) -> int:  # noqa: ARG002
        """SGD steps that the server makes on what it keeps, at the end of the round."""
        return 0

    def kept(self) -> Mapping[int, int]:
        """How many views of each device's samples the server keeps."""
        return {}


class OnceAgenda(Agenda):
    """Each device is asked the first time that it is sampled, and never again; it may have to be sent a front."""

    def __init__(self, config: Config, samples: Sequence[int]) -> None:
        super().__init__(config, samples)
        self._reached: set[int] = set()
        self._kept: dict[int, int] = {}

    def wants(self, round_: int, device: int) -> bool:  # noqa: ARG002
        return device not in self._kept

    def settled(self, device: int) -> bool:
        return device in self._kept

    def needs_front(self, device: int) -> bool:
        return device not in self._reached

    def reached(self, device: int) -> None:
        self._reached.add(device)

    def took(self, device: int, content_bytes: int) -> None:  # noqa: ARG002
        self._kept[device] = 1

    def kept(self) -> Mapping[int, int]:
        return self._kept
