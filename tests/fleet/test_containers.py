"""The container file: both images are complete, run as a user of their own, and start what the services start."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from ecofed.fleet.containers import CONTAINERFILE, USER_ID
from ecofed.fleet.folder import Plan, make_fleet

ROOT = Path(__file__).parents[2]
INSTRUCTIONS = {"ARG", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "RUN", "USER", "WORKDIR"}


def stages(text: str) -> dict[str, list[tuple[str, str]]]:
    """Instructions of each image and of what it starts from, in order."""
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for line in filter(None, map(str.strip, lines)):
        word, _, rest = line.partition(" ")
        assert word in INSTRUCTIONS, line
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\w+)", rest).groups()  # type: ignore[union-attr]
            found[name] = list(found.get(base, [("FROM", base)]))
        else:
            found[name].append((word, rest.strip()))
    return found


def entry(image: list[tuple[str, str]]) -> list[str]:
    (words,) = [rest for word, rest in image if word == "ENTRYPOINT"]
    command: list[str] = json.loads(words)
    return command


@pytest.mark.parametrize(("target", "extra"), [("server", "train"), ("device", "device")])
def test_an_image_installs_the_wheel_and_runs_as_a_user_of_its_own(target: str, extra: str) -> None:
    image = stages(CONTAINERFILE)[target]
    assert image[0] == ("FROM", "docker.io/library/python:3.11-slim")
    assert [rest for word, rest in image if word == "USER"] == ["ecofed"]
    assert f"--uid {USER_ID}" in CONTAINERFILE
    assert [rest for word, rest in image if word == "COPY"] == ["ecofed-*.whl /wheels/"]
    installs = [rest for word, rest in image if word == "RUN" and "pip install" in rest]
    assert any(f"ecofed-*.whl)[flower,{extra}]" in rest for rest in installs)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert {"flower", extra} <= extras.keys()
    brought = [need for name in ("flower", extra) for need in extras[name]]
    assert any(need.startswith("torch") for need in brought) == (target == "server")
    assert "torch" not in " ".join(installs)  # nothing but the wheel and what it asks for


def test_no_secret_goes_into_an_image() -> None:
    copied = [rest for image in stages(CONTAINERFILE).values() for word, rest in image if word == "COPY"]
    assert set(copied) == {"ecofed-*.whl /wheels/"}
    assert "--insecure" not in CONTAINERFILE


def test_the_server_starts_as_its_service_does(tmp_path: Path) -> None:
    made = make_fleet(tmp_path, Plan(hosts=("localhost",), devices=1))
    assert "containers/Containerfile" in made.written
    unit = (tmp_path / "server/ecofed-superlink.service").read_text(encoding="utf-8").replace("\\\n", " ")
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart=")).removeprefix("ExecStart=")
    assert entry(stages(CONTAINERFILE)["server"]) == [Path(command.split()[0]).name, *command.split()[1:]]


def test_a_device_starts_as_its_service_does_with_what_is_its_own_named_outside(tmp_path: Path) -> None:
    make_fleet(tmp_path, Plan(hosts=("localhost",), devices=1))
    unit = (tmp_path / "devices/device-0.service").read_text(encoding="utf-8")
    inside, outside = entry(stages(CONTAINERFILE)["device"]), (tmp_path / "README.md").read_text(encoding="utf-8")
    run = outside[outside.index("ecofed-device --superlink") : outside.index("## Let the devices in")]
    assert inside[0] == "flower-supernode"
    options = set(re.findall(r"--[\w-]+", unit[unit.index("flower-supernode") :]))
    assert {word for word in inside if word.startswith("--")} | set(re.findall(r"--[\w-]+", run)) == options
