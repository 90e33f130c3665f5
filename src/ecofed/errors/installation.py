"""How ecofed was installed, and the command that adds an optional part to that installation.

``pip install 'ecofed[train]'`` is right for an installation from a package index alone. A checkout, a wheel in a
folder, a repository, pipx, uv and an environment that is not activated each want another command; the metadata that
installers leave (``direct_url.json``, PEP 610) tells them apart.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

NAME = "ecofed"


@dataclass(frozen=True, kw_only=True)
class Installation:
    """What installers leave behind."""

    direct_url: Any = None
    """The content of ``direct_url.json``; ``None`` after an installation from an index."""
    installer: str = "pip"
    """Who installed it: ``pip`` or ``uv``."""
    requirements: tuple[str, ...] = ()
    """Of all extras, as in the package's metadata."""
    package: Path = Path(__file__).parents[1]
    """The folder that is imported."""
    prefix: Path = Path(sys.prefix)
    """The environment."""

    @classmethod
    def of_this_process(cls) -> Installation:
        """Read the metadata of the package that is installed here; defaults where there is none."""
        from importlib import metadata  # takes a tenth of the time of 'ecofed --help', and is seldom needed

        try:
            found = metadata.distribution(NAME)
            url = found.read_text("direct_url.json")
            return cls(
                direct_url=None if url is None else json.loads(url),
                installer=(found.read_text("INSTALLER") or "pip").strip(),
                requirements=tuple(found.requires or ()),
            )
        except (metadata.PackageNotFoundError, OSError, ValueError):
            return cls()

    def command(self, extra: str) -> str:
        """The command that installs an extra, to be typed in the current folder."""
        needs = " ".join(_quoted(need) for need in self.needs(extra))
        if (self.prefix / "pipx_metadata.json").is_file():
            return f"pipx inject {NAME} {needs or _quoted(f'{NAME}[{extra}]')}"
        source, editable = self._source(extra)
        if (self.prefix / "uv-receipt.toml").is_file():
            return f"uv tool install --force {'--editable ' if editable else ''}{source or _quoted(f'{NAME}[{extra}]')}"
        if source is None:  # what it was installed from is gone: bring what the extra consists of
            return f"{self._pip()} {needs or _quoted(f'{NAME}[{extra}]')}"
        return f"{self._pip()} {'-e ' if editable else ''}{source}"

    def needs(self, extra: str) -> list[str]:
        """The requirements of an extra, without markers."""
        marked = [need.partition(";") for need in self.requirements]
        of_extra = [need.strip() for need, _, marker in marked if re.search(rf"extra\s*==\s*['\"]{extra}['\"]", marker)]
        return [need for need in of_extra if not need.startswith(f"{NAME}[")]

    def _source(self, extra: str) -> tuple[str | None, bool]:
        """What to give an installer, quoted, and whether it is editable; ``None`` for files that are gone."""
        checkout = self.package.parent.parent
        if (checkout / "pyproject.toml").is_file() and self.package.parent.name == "src":
            return _quoted(f"{_here(checkout)}[{extra}]"), True
        url = self.direct_url.get("url", "") if isinstance(self.direct_url, dict) else ""
        if not isinstance(url, str) or not url:
            return _quoted(f"{NAME}[{extra}]"), False
        vcs = self.direct_url.get("vcs_info")
        if isinstance(vcs, dict):
            return _quoted(f"{NAME}[{extra}] @ {vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id', 'HEAD')}"), False
        if urlsplit(url).scheme != "file":
            return _quoted(f"{NAME}[{extra}] @ {url}"), False
        path = Path(unquote(urlsplit(url).path))
        return (_quoted(f"{_here(path)}[{extra}]") if path.exists() else None), False

    def _pip(self) -> str:
        """``pip install`` of this environment: by its path where another would be found by that name."""
        if self.installer == "uv":
            active = os.environ.get("VIRTUAL_ENV") == str(self.prefix) or self.prefix.name == ".venv"
            return "uv pip install" if active else f"uv pip install --python {shlex.quote(str(self.prefix))}"
        scripts = self.prefix / ("Scripts" if os.name == "nt" else "bin")
        found = shutil.which("pip")
        if found is not None and Path(found).parent == scripts:
            return "pip install"
        own = next((scripts / name for name in ("pip", "pip.exe") if (scripts / name).exists()), None)
        python = shlex.quote(_here(Path(sys.executable)))
        return f"{shlex.quote(_here(own)) if own is not None else f'{python} -m pip'} install"


def install_command(extra: str) -> str:
    """The command that adds an extra to this installation."""
    return Installation.of_this_process().command(extra)


def _here(path: Path) -> str:
    """A path as one would type it in the current folder."""
    try:
        near = path.relative_to(Path.cwd())
    except (ValueError, OSError):
        return str(path)
    text = str(near)
    return text if text == "." else os.path.join(".", text) if path.suffix == ".whl" else text


def _quoted(text: str) -> str:
    """In single quotes, as brackets and spaces want."""
    return f"'{text}'" if "'" not in text else shlex.quote(text)
