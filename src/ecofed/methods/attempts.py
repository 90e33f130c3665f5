"""How often a device is asked for the same thing in one round."""

from __future__ import annotations

import time

#: When its connection keeps breaking.
MAX_ATTEMPTS = 5
#: When nothing could be sent, because it had been started anew, had gone, or had spoken out of turn. More, since none
#: of it costs bytes; but a device that does so whenever it connects must not keep the server busy for ever.
MAX_UNSENT = 20
#: Before each attempt after a second one of those, growing.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 2.0


class Attempts:
    """Of one visit to a device."""

    def __init__(self) -> None:
        self._sent = self._unsent = 0
        self._pause = 0.0

    def failed(self, *, sent: bool) -> None:
        """One has; ``sent``: something had been handed to the wire."""
        self._sent, self._unsent = self._sent + sent, self._unsent + (not sent)
        again = not sent and self._unsent > 1
        self._pause = min(FIRST_PAUSE_SECONDS * 2.0 ** (self._unsent - 2), LONGEST_PAUSE_SECONDS) if again else 0.0

    @property
    def left(self) -> bool:
        """Whether the device is asked again."""
        return self._sent < MAX_ATTEMPTS and self._unsent < MAX_UNSENT

    def pause(self, deadline: float | None) -> None:
        """Before it is; not beyond the deadline (monotonic seconds)."""
        left = self._pause if deadline is None else min(self._pause, deadline - time.monotonic())
        if left > 0:
            time.sleep(left)
