"""The generated pages are up to date; ``make docs`` writes them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "generate_reference.py"


def generated() -> dict[Path, str]:
    spec = importlib.util.spec_from_file_location("generate_reference", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: dict[Path, str] = module.pages()
    return pages


@pytest.mark.parametrize("page", ["configuration.md", "command-line.md"])
def test_a_generated_page_is_up_to_date(page: str) -> None:
    path = SCRIPT.parent / "reference" / page
    assert path.read_text(encoding="utf-8") == generated()[path], "run 'make docs'"
