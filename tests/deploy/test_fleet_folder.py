"""``make fleet`` again: a folder of its own, and the earlier fleet as it was."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``deploy/fleet.py`` without what makes certificates, which needs Flower's packages."""
    certificates = ModuleType("certificates")
    certificates.make_certificates = lambda *_: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "certificates", certificates)
    spec = spec_from_file_location("fleet_under_test", DEPLOY / "fleet.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_fleet_gets_a_folder_of_its_own(fleet: ModuleType, tmp_path: Path) -> None:
    wanted = tmp_path / "runs" / "fleet"
    first = fleet.unused_folder(wanted)
    assert first == wanted
    assert fleet.unused_folder(wanted) == wanted  # nothing is in it yet
    (first / "result").touch()
    second = fleet.unused_folder(wanted)
    assert second == tmp_path / "runs" / "fleet-2"
    (second / "logs").mkdir()
    (tmp_path / "runs" / "fleet-3").touch()  # a file in the way
    assert fleet.unused_folder(wanted).name == "fleet-4"
    assert [file.name for file in first.iterdir()] == ["result"]


def test_the_command_says_where_the_second_fleet_goes(
    fleet: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class StartedError(Exception):
        pass

    def start(folder: Path, devices: int) -> None:
        raise StartedError(folder, devices)

    monkeypatch.setattr(fleet, "Fleet", start)
    monkeypatch.setattr(sys, "argv", ["fleet.py", "--out", str(tmp_path / "fleet")])
    with pytest.raises(StartedError) as first:
        fleet.main()
    assert first.value.args == (tmp_path / "fleet", 4)
    assert capsys.readouterr().out == ""
    (tmp_path / "fleet" / "superlink.db").touch()
    with pytest.raises(StartedError) as second:
        fleet.main()
    assert second.value.args == (tmp_path / "fleet-2", 4)
    told = f"{tmp_path}/fleet holds an earlier fleet, which stays; this one goes to {tmp_path}/fleet-2\n"
    assert capsys.readouterr().out == told
