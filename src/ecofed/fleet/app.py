"""The app that ``flwr run`` sends: a folder that only names the parts of :mod:`ecofed.flower`."""

from __future__ import annotations

from pathlib import Path

from ecofed._version import __version__
from ecofed.files.disk import write_text

_PROJECT = f"""\
# The app that `flwr run` sends. It only imports the installed package: 'ecofed[flower,train]' on the server,
# 'ecofed[flower,device]' (no PyTorch) or 'ecofed[flower,train]' on a device.
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "ecofed-app"
version = "{__version__}"
description = "EcoFed over Flower"
license = "Apache-2.0"
requires-python = ">=3.11"
dependencies = ["ecofed[flower]"]

[tool.hatch.build.targets.wheel]
packages = ["ecofed_app"]

[tool.flwr.app]
publisher = "ecofed"

[tool.flwr.app.components]
serverapp = "ecofed_app.server:app"
clientapp = "ecofed_app.client:app"

# Override with --run-config 'preset="quickstart" set="devices=4 sampled_devices=4" out="/var/lib/ecofed/first"'
[tool.flwr.app.config]
preset = ""
set = ""
out = ""
resume = false
at-once = 0
update = ""
from-back = false
"""
_PART = '''"""{title}"""

from ecofed.flower.{module} import app

__all__ = ["app"]
'''
#: Its files by path.
APP: dict[str, str] = {
    "pyproject.toml": _PROJECT,
    "ecofed_app/__init__.py": '"""The Flower app; all of it is in the package ecofed.flower."""\n',
    "ecofed_app/client.py": _PART.format(title="A device's side.", module="device"),
    "ecofed_app/server.py": _PART.format(title="The server's side.", module="server"),
}


def write_app(folder: Path) -> None:
    """Write the app's files, over those of another version.

    Raises:
        StorageError: one cannot be written.
    """
    for name, text in APP.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, text)
