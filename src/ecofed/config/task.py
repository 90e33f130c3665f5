"""What server and devices agree on before a run: the configuration and the shape of the problem."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from ecofed.config.class_identity import identity
from ecofed.config.network_input import NetworkInput
from ecofed.config.schema import Config
from ecofed.files.disk import json_text
from ecofed.files.json_values import Readers, Within, parse, read_as
from ecofed.randomness import permutation


@dataclass(frozen=True, kw_only=True)
class Task(NetworkInput):
    """Known to both sides at installation; it never travels in a round. With how a picture becomes an input."""

    config: Config
    classes: Annotated[int, Within(1, 1 << 20)]
    flip: bool
    """Whether a mirrored image is still valid."""
    class_names: tuple[str, ...] = ()
    """Which class has which number (:mod:`ecofed.config.class_identity`). Empty: it does not say; nobody may guess."""

    def to_json(self) -> str:
        values: dict[str, Any] = asdict(self) | {"config": self.config.to_dict()}
        return json_text(values)

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Inverse of :meth:`to_json`.

        Raises:
            ValueError: not a task; names the field. ConfigError: settings that this version does not know.
        """
        return cls.from_values(parse(text))

    @classmethod
    def from_values(cls, values: Any, path: str = "") -> Task:
        """A task from parsed JSON, which stands at ``path`` of its file; errors as for :meth:`from_json`."""
        readers: Readers = {Config: lambda config: Config.from_dict(read_as(dict[str, Any], config, "config"))}
        task: Task = read_as(cls, values, path, readers)
        task.check(path)
        count = len(task.class_names)
        if count not in (0, task.classes) or len(set(map(identity, task.class_names))) != count:
            raise ValueError(f"'{path and path + '.'}class_names' must be {task.classes} different names")
        return task


def upload_order(seed: int, device: int, view: int, samples: int) -> Any:
    """The order in which a device uploads a view: a keyed permutation, so that sample numbers need not travel.

    Shape (samples,), int64. Mixed order matters where batches have statistics or scales of their own.
    """
    return permutation(seed, "upload-order", samples, device=device, view=view)
