"""What ``ecofed export front`` writes and a device reads: a folder with the front as ONNX, and all that goes with it.

``front.onnx``          the front: images in, activations out
``front.safetensors``   the same front as the server sends it, with normalisation and codec constants
``device.json``         what the device must know besides (the task), the front's id, and both files' checksums
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ecofed.config.task import Task
from ecofed.errors import ConfigError, ModelError, WireError
from ecofed.files.disk import json_text, write_together
from ecofed.files.json_values import parse, read_as
from ecofed.files.reading import content_of
from ecofed.wire import FrontBundle

SCHEMA = "ecofed-device/1"
FRONT_FILE = "front.onnx"
BUNDLE_FILE = "front.safetensors"
DESCRIPTION_FILE = "device.json"
DEVICE_FILES = (FRONT_FILE, BUNDLE_FILE, DESCRIPTION_FILE)


@dataclass(frozen=True, kw_only=True)
class _Description:
    """``device.json``."""

    schema: str
    front_id: str
    sha256: dict[str, str]
    task: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class DeviceBundle:
    """A device's software side of a fleet; its images are its own."""

    task: Task
    front: bytes
    """ONNX file."""
    bundle: FrontBundle

    @property
    def front_id(self) -> str:
        """Equal on every device that makes the same codes, with PyTorch or without."""
        return self.bundle.id

    def save(self, folder: Path) -> None:
        """Write the three files; ``device.json`` last, so that a folder with one is complete."""
        contents = {FRONT_FILE: self.front, BUNDLE_FILE: self.bundle.encode()}
        description = {
            "schema": SCHEMA,
            "front_id": self.front_id,
            "sha256": {name: sha256(content).hexdigest() for name, content in contents.items()},
            "task": json.loads(self.task.to_json()),
        }
        contents[DESCRIPTION_FILE] = f"{json_text(description, indent=1)}\n".encode()
        write_together({folder / name: content for name, content in contents.items()})

    @classmethod
    def load(cls, folder: Path) -> DeviceBundle:
        """Read and check a folder.

        Raises:
            ModelError: a file is missing, was changed, or was written by a later version of this program.
        """
        try:
            values = parse(content_of(folder / DESCRIPTION_FILE))
            if not isinstance(values, dict) or values.get("schema") != SCHEMA:
                found = values.get("schema") if isinstance(values, dict) else None
                raise ModelError(f"{folder}: schema {found!r}; this program reads {SCHEMA}")
            described: _Description = read_as(_Description, values)
            task = Task.from_values(described.task, "task")
            contents = {name: content_of(folder / name) for name in (FRONT_FILE, BUNDLE_FILE)}
            for name, content in contents.items():
                if sha256(content).hexdigest() != described.sha256.get(name):
                    raise ModelError(
                        f"{folder / name}: damaged or changed (its checksum is not the one in device.json)"
                    )
            bundle = FrontBundle.decode(contents[BUNDLE_FILE])
            if bundle.id != described.front_id:
                raise ValueError(f"its front is {bundle.id}, not 'front_id' {described.front_id}")
            return cls(task=task, front=contents[FRONT_FILE], bundle=bundle)
        except OSError as error:
            raise ModelError(f"{folder}: not a device bundle ({error.strerror}: {error.filename})") from error
        except (ValueError, ConfigError, WireError) as error:
            raise ModelError(f"{folder}: not a device bundle ({error})") from error
