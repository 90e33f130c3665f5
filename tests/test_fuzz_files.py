"""A few edited files of each kind, always the same; ``make fuzz`` tries many more."""

from __future__ import annotations

from pathlib import Path

import pytest

import fuzz_files

#: Those that build a network take longer.
CASES = {"model": 12, "checkpoint": 12, "result": 25, "onnx": 25}


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, fuzz_files.Target]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", "")  # is set by what follows, and put back
        return fuzz_files.Files(tmp_path_factory.mktemp("files")).targets()


@pytest.mark.parametrize(
    "name", ["model", "checkpoint", "result", "front", "device", "onnx", "toml", "parquet", "idx", "cifar"]
)
def test_edited_files_are_refused_with_one_line_or_taken(
    name: str, targets: dict[str, fuzz_files.Target], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "case").mkdir()
    endings = [fuzz_files.one_case(name, targets[name], case, tmp_path / "case") for case in range(CASES.get(name, 60))]
    assert set(endings) <= {"taken", "ModelError", "CheckpointError", "EcoFedError", "WireError", "DataError"}
    assert name == "toml" or len(set(endings)) > 1  # some are refused, and some changes do not matter
