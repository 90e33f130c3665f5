"""Shipped profiles and files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ecofed.costs.profiles import FOLDERS, dealt, load_device, load_link, load_server, profile_names, sources
from ecofed.errors import ConfigError

LOADERS = {"devices": load_device, "servers": load_server, "links": load_link}
LINK = "title = 'l'\nuplink_bits_per_second = 8e6\ndownlink_bits_per_second = 16e6\nlatency_seconds = 0.1\n"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_number_of_a_shipped_profile_has_a_source(folder: str) -> None:
    for name in profile_names(folder):
        profile = LOADERS[folder](name)
        numbers = {key for key, value in vars(profile).items() if isinstance(value, int | float) and value}
        assert numbers <= sources(name, folder).keys(), name
        assert all(sources(name, folder).values()), name


def test_the_profiles_that_the_documentation_names() -> None:
    assert {"raspberry-pi-3", "raspberry-pi-4", "raspberry-pi-5", "raspberry-pi-zero-2", "jetson-nano", "phone"} <= set(
        profile_names("devices")
    )
    assert {"3g", "4g", "4g-plus", "5g", "wifi", "lora"} <= set(profile_names("links"))
    assert {"two-core", "workstation", "data-centre-gpu"} <= set(profile_names("servers"))


def test_a_link_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "slow.toml"
    path.write_text(LINK + "loss = 0.5\n")
    link = load_link(str(path))
    assert link.name == "slow"
    assert link.uplink_seconds(1_000_000) == pytest.approx(2.0)
    assert link.downlink_seconds(1_000_000) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "Invalid value"),
        (LINK + "uplnk = 1\n", "unknown key 'uplnk'"),
        (LINK.replace("8e6", "'fast'"), "must be a finite number"),
        (LINK.replace("8e6", "0"), "uplink_bits_per_second must be above 0"),
        (LINK.replace("latency_seconds = 0.1", ""), "lacks 'latency_seconds'"),
        (LINK + "loss = 1.0\n", "must be below 1"),
        (LINK.replace("8e6", "9" * 400), "must be a finite number"),
        (LINK.replace("8e6", "9" * 5000), "holds a number that is too long"),
        (LINK.replace("8e6", "inf"), "must be a finite number"),
        (LINK + "[" + "a." * 3000 + "b]\n", "is nested deeper than 40 levels"),
        (re.sub("title = .*", "title = 3", LINK), "title = 3 must be text"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_link(str(path))


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no profile 'rasberry-pi-4' \(did you mean 'raspberry-pi-4'\?\)"):
        load_device("rasberry-pi-4")


def test_profiles_are_dealt_in_a_pattern() -> None:
    assert dealt("a") == ["a"]
    assert dealt("a:2, b") == ["a", "a", "b"]
    for wrong in ("", "a:0", "a:x", "a,,b"):
        with pytest.raises(ConfigError, match="must be NAME"):
            dealt(wrong)


def test_a_profile_of_any_editor(tmp_path: Path) -> None:
    text = "title = 'Käfer'\nuplink_bits_per_second = 1e6\ndownlink_bits_per_second = 2e6\nlatency_seconds = 0.1\n"
    file = tmp_path / "mine.toml"
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert (load_link(str(file)).title, load_link(str(file)).uplink_bits_per_second) == ("Käfer", 1e6)
    file.write_bytes(text.encode("utf-16"))
    with pytest.raises(ConfigError, match=r"mine\.toml: is UTF-16; save it as UTF-8"):
        load_link(str(file))
    with pytest.raises(ConfigError, match="no profile 'nnn"):
        load_link("n" * 300)
