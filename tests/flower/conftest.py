"""These tests need Flower, which wants older versions of some packages: see 'make test-flower'."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("flwr") else ["test_*.py"]

if not collect_ignore_glob:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its older typer and the newest click do not get on in silence
        import flwr.clientapp
        import flwr.serverapp  # noqa: F401


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    cache: Path = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("ECOFED_DATA", raising=False)
