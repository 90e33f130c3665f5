"""The privacy account of a device that answers in several processes at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from ecofed.devices import account
from ecofed.devices.account import Account
from ecofed.errors import InUseError
from ecofed.files.ownership import owned


def test_who_answers_at_the_same_time_waits_and_sees_what_the_other_spent(tmp_path: Path) -> None:
    path = tmp_path / "account.json"
    other, own = Account.on_disk(path), Account.on_disk(path)
    with ThreadPoolExecutor(1) as pool:
        with other._changing() as spent:
            spending = pool.submit(own.spend, "own", mu=0.5)
            wait([spending], 0.1)
            assert not spending.done()
            spent.mus["other"] = 0.25
        spending.result()
    assert Account.on_disk(path).spent.mus == {"other": 0.25, "own": 0.5}
    assert own.spent.mus == {"other": 0.25, "own": 0.5}


def test_nobody_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "WAIT_SECONDS", 0.05)
    path = tmp_path / "account.json"
    own = Account.on_disk(path)
    before = path.read_bytes()
    with owned(tmp_path, ".account.json.owner"), pytest.raises(InUseError, match=r"account\.json is in use by process"):
        own.spend("own", mu=0.5)
    assert path.read_bytes() == before
