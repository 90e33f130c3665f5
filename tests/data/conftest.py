"""An environment in which neither the real cache nor the network is touched."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ecofed.data import known


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, no system folders, a hub that is off line. Returns the user's cache folder."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "hub"))
    for name in ("ECOFED_DATA", "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    nowhere = {name: dataclasses.replace(entry, system_folder=None) for name, entry in known.KNOWN.items()}
    for name, entry in nowhere.items():
        monkeypatch.setitem(known.KNOWN, name, entry)
    return home / "cache" / "ecofed"
