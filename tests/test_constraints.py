"""Flower's environment has the same versions as the other one, but for what Flower wants otherwise."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
OF_FLOWER = {"flwr", "rich", "typer"}


def versions(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_the_two_lists_of_versions_agree() -> None:
    ours, flowers = versions("constraints.txt"), versions("constraints-flower.txt")
    assert ours.keys() - flowers.keys() == set()
    assert {name for name in flowers if flowers[name] != ours.get(name)} == OF_FLOWER
