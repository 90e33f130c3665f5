"""Flower's Grid in this process: a message is handled when it is pushed. Contexts live as long as a SuperNode would."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from ecofed.flower.device import app as client_app


class LocalGrid(Grid):
    """One node for each node configuration; ``app`` is the ClientApp.

    ``lose(message)`` true: the message vanishes. ``restart(node)`` forgets what a node remembers.
    """

    def __init__(
        self,
        node_configs: Iterable[Mapping[str, Any]],
        *,
        lose: Callable[[Message], bool] = lambda _: False,
        app: Callable[[Message, Context], Message] = client_app,
    ) -> None:
        # Flower sets it in the process of a ServerApp; an internal of 1.41.
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
        self._app = app
        self._lose = lose
        self._replies: dict[str, Message] = {}
        self.messages: list[Message] = []
        """Everything that was pushed."""
        self.most_out = 0
        """How many messages were out at a time, at most: pushed, and not asked for."""
        self.contexts = {
            1000 + index: Context(
                run_id=1, node_id=1000 + index, node_config=dict(config), state=RecordDict(), run_config={}
            )
            for index, config in enumerate(node_configs)
        }

    @property
    def run(self) -> Any:
        return None

    def set_run(self, run: Any) -> None:
        pass

    def restart(self, node: int) -> None:
        self.contexts[node].state = RecordDict()

    def create_message(self, *_: Any, **__: Any) -> Message:
        raise AssertionError("deprecated by Flower")

    def get_node_ids(self) -> list[int]:
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            id_ = f"message-{len(self.messages)}"
            message.metadata.__dict__["_message_id"] = id_
            self.messages.append(message)
            ids.append(id_)
            if not self._lose(message):
                self._replies[id_] = self._answer(message)
        self.most_out = max(self.most_out, len(self._replies))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self._replies.pop(id_) for id_ in list(message_ids) if id_ in self._replies]

    def send_and_receive(self, *_: Any, **__: Any) -> list[Message]:
        raise AssertionError("polls every three seconds; not used")

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        try:
            return self._app(message, self.contexts[node])
        except Exception as error:  # as the SuperNode reports a ClientApp that raised
            return Message(Error(code=2, reason=f"{type(error).__name__}: {error}"), reply_to=message)
