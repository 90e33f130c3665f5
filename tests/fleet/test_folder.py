"""What ``ecofed fleet init`` writes: complete, readable by those who need it, and kept when it is run again."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from ecofed.cli import main
from ecofed.errors import ConfigError
from ecofed.fleet.folder import Plan, make_fleet


@pytest.fixture
def init(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Runs ``ecofed fleet init fleet WORDS``; returns exit code, standard output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ecofed", "fleet", "init", "fleet", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def command_of(unit: Path) -> list[str]:
    """What a service starts, as systemd takes it apart."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text().replace("\\\n", " "))
    assert parser["Service"]["User"] == "ecofed"
    return shlex.split(parser["Service"]["ExecStart"])


def test_all_that_a_fleet_needs_is_there(init: Any, tmp_path: Path) -> None:
    code, out, err = init("--host", "link.example.org", "--devices", "2", "--worker", "onnx", "--json")
    folder = tmp_path / "fleet"
    assert (code, err) == (0, "")
    on_disk = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert sorted(json.loads(out)["written"]) == on_disk
    server = command_of(folder / "server/ecofed-superlink.service")
    assert server[0] == "/opt/ecofed/bin/flower-superlink"
    assert "--enable-supernode-auth" in server
    assert "--insecure" not in server
    device = command_of(folder / "devices/device-1.service")
    assert device[device.index("--superlink") + 1] == "link.example.org:9091"
    assert device[device.index("--auth-supernode-private-key") + 1] == "/etc/ecofed/device-1.key"
    assert device[device.index("--node-config") + 1].startswith('device=1 data="/var/lib/ecofed/photos" ')
    config = tomllib.loads((folder / "server/flwr-config.toml").read_text())
    assert config["superlink"][config["superlink"]["default"]]["address"] == "link.example.org:9091"
    app = tomllib.loads((folder / "app/pyproject.toml").read_text())
    for component in app["tool"]["flwr"]["app"]["components"].values():
        module, _, name = component.partition(":")
        part = ast.parse((folder / "app" / f"{module.replace('.', '/')}.py").read_text())
        assert name in {alias.name for node in part.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert all(stat.S_IMODE(key.stat().st_mode) == 0o600 for key in folder.rglob("*.key"))


def test_the_instructions_name_files_that_are_there(init: Any, tmp_path: Path) -> None:
    init("--host", "10.0.0.1", "--devices", "1")
    text = (tmp_path / "fleet/README.md").read_text()
    for name in re.findall(r"(?<!/)\b(?:certificates|server|devices|app)/[\w-]+\.\w+", text):
        assert (tmp_path / "fleet" / name).exists(), name


def test_devices_are_added_and_what_was_changed_stays(init: Any, tmp_path: Path) -> None:
    init("--host", "10.0.0.1", "--devices", "1")
    folder = tmp_path / "fleet"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    unit = folder / "server/ecofed-superlink.service"
    unit.write_text("mine")
    code, out, err = init("--host", "10.0.0.1", "--devices", "2", "--json")
    assert (code, json.loads(out)["kept"]) == (0, ["server/ecofed-superlink.service"])
    added = ["certificates/device-1.key", "certificates/device-1.pub", "README.md", "devices/device-1.service"]
    assert json.loads(out)["written"] == added
    assert unit.read_text() == "mine"
    assert all(path.read_bytes() == data for path, data in before.items() if path.suffix in (".key", ".crt", ".pub"))
    _, _, err = init("--host", "10.0.0.1", "--devices", "2")
    assert err == "fleet/server/ecofed-superlink.service is there with another content, and stays as it is\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "a b"], "is no host name"),
        (["--host", "käfer.de"], "is no host name"),
        (["--host", "h", "--data", "photos"], "--data 'photos': must be an absolute path"),
        (["--host", "h", "--data", '/a" worker="x'], "must be an absolute path without spaces, quotes"),
        (["--host", "h", "--environment", "/opt/x\nUser=root"], "must be an absolute path"),
    ],
)
def test_a_bad_option_makes_nothing(words: list[str], said: str, init: Any, tmp_path: Path) -> None:
    code, out, err = init(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "fleet").exists()


def test_the_servers_certificate_is_for_its_own_processes_too(tmp_path: Path) -> None:
    """They reach the SuperLink at 127.0.0.1, whatever its name is; without it no run ever starts."""
    make_fleet(tmp_path, Plan(hosts=("superlink.example.org", "10.0.0.7"), devices=1))
    certificate = x509.load_pem_x509_certificate((tmp_path / "certificates/server.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["superlink.example.org"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7", "127.0.0.1"]


def test_an_address_of_the_newer_kind_is_in_brackets(tmp_path: Path) -> None:
    make_fleet(tmp_path, Plan(hosts=("::1",), devices=1))
    device = command_of(tmp_path / "devices/device-0.service")
    assert device[device.index("--superlink") + 1] == "[::1]:9091"
    with pytest.raises(ConfigError, match="--host: say under which name"):
        Plan(hosts=(), devices=1)
