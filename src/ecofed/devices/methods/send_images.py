"""send-images on the device. numpy only."""

from __future__ import annotations

from typing import ClassVar

from ecofed.config.task import Task
from ecofed.devices.local_images import LocalImages
from ecofed.wire import Images, Message, SendImages


class Sender:
    """Sends the images themselves when asked."""

    answers: ClassVar[dict[type[Message], str]] = {SendImages: "send"}

    def __init__(self, task: Task, data: LocalImages) -> None:  # noqa: ARG002 - as every side is made
        self._data = data

    def send(self, request: SendImages) -> Images:
        """All of them, as JPEG."""
        return self._data.send(request)
