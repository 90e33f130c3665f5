"""The generated pages are up to date; ``make docs`` writes them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "generate_reference.py"


def script(file: Path) -> Any:
    """A script of docs/, as a module."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["configuration.md", "command-line.md"])
def test_a_generated_page_is_up_to_date(page: str) -> None:
    path = SCRIPT.parent / "reference" / page
    assert path.read_text(encoding="utf-8") == script(SCRIPT).pages()[path], "run 'make docs'"


def test_the_picture_of_the_house_is_up_to_date() -> None:
    drawing = script(SCRIPT.with_name("generate_house.py"))
    assert drawing.PICTURE.read_text(encoding="utf-8") == drawing.house(), "run 'make docs'"
    with pytest.raises(ValueError, match="a circle of imports: a -> b -> a"):
        drawing.floors_of({"a": frozenset("b"), "b": frozenset("a")})
