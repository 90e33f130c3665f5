"""The folder that ``ecofed fleet init`` writes: keys, services and containers for server and devices, Flower's app,
and what to do with them.

Written again with more devices it adds what is missing. A service or configuration that somebody has changed since
stays as it is; the app and the instructions are written anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ecofed._version import __version__
from ecofed.errors import ConfigError
from ecofed.files.disk import read_text, write_text
from ecofed.fleet.app import APP
from ecofed.fleet.containers import CONTAINERFILE, USER_ID

PORT = 9091
MOST_DEVICES = 100_000
MOST_SECONDS = 86_400
#: Where a SuperLink's own processes reach it, whatever its name is outside: its certificate has to be for this, too.
LOOPBACK = "127.0.0.1"
_QUIET = "FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is wanted."""

    hosts: tuple[str, ...]
    """Names and addresses under which devices reach the server; the first is the one that they are told."""
    devices: int
    port: int = PORT
    environment: str = "/opt/ecofed"
    """Of Python, on server and devices: where the packages are installed."""
    data: str = "/var/lib/ecofed/photos"
    """On a device: its images."""
    worker: str = "auto"
    """``onnx``, ``torch`` or ``auto``."""
    start_within: int = 0
    """Seconds over which the devices' services spread their starts, when power comes back for all of them."""

    def __post_init__(self) -> None:
        if not self.hosts:
            raise ConfigError("--host: say under which name or address devices reach the server")
        if not 0 <= self.devices <= MOST_DEVICES:
            raise ConfigError(f"--devices {self.devices}: must be in 0..{MOST_DEVICES}")
        if not 0 <= self.start_within <= MOST_SECONDS:
            raise ConfigError(f"--start-within {self.start_within}: must be in 0..{MOST_SECONDS}")
        for name in ("environment", "data"):
            path = getattr(self, name)
            if not path.startswith("/") or any(not letter.isprintable() or letter in "\"'\\% " for letter in path):
                raise ConfigError(
                    f"--{name} {path!r}: must be an absolute path without spaces, quotes, backslashes, per cent signs"
                )

    @property
    def address(self) -> str:
        """Host and port, as Flower takes them."""
        import ipaddress

        host = self.hosts[0]
        try:
            six = ipaddress.ip_address(host).version == 6
        except ValueError:
            six = False
        return f"[{host}]:{self.port}" if six else f"{host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was done."""

    written: list[str]
    kept: list[str]
    """Files that are there with another content, and were left alone."""


def make_fleet(folder: Path, plan: Plan) -> Made:
    """Write a fleet's folder, or what is missing in it.

    Raises:
        ConfigError: keys or certificates that are there do not fit. StorageError: something cannot be written.
    """
    from ecofed.fleet.certificates import make_certificates  # cryptography, which not everybody has

    before = {path.name for path in (folder / "certificates").glob("*")}
    make_certificates(folder / "certificates", list(dict.fromkeys([*plan.hosts, LOOPBACK])), plan.devices)
    now = {path.name for path in (folder / "certificates").glob("*")}
    written, kept = [f"certificates/{name}" for name in sorted(now - before)], list[str]()
    for name, text in files(plan).items():
        place = folder / name
        if place.exists():
            if read_text(place) == text:
                continue
            if not name.startswith(("app/", "README")):
                kept.append(name)
                continue
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, text)
        written.append(name)
    return Made(written=written, kept=kept)


def files(plan: Plan) -> dict[str, str]:
    """All but keys and certificates, by path."""
    texts = {"README.md": _readme(plan), **{f"app/{name}": text for name, text in APP.items()}}
    texts["server/ecofed-superlink.service"] = _server_unit(plan)
    texts["server/flwr-config.toml"] = _flower_config(plan)
    texts["containers/Containerfile"] = CONTAINERFILE
    for device in range(plan.devices):
        texts[f"devices/device-{device}.service"] = _device_unit(plan, device)
    return texts


def _unit(plan: Plan, description: str, command: str, restart: str) -> str:
    return f"""[Unit]
Description={description}
After=network-online.target
Wants=network-online.target

[Service]
User=ecofed
WorkingDirectory=/var/lib/ecofed
Environment=PATH={plan.environment}/bin:/usr/bin:/bin {_QUIET}
ExecStart={command}
{restart}
NoNewPrivileges=yes
ProtectSystem=full
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""


def _server_unit(plan: Plan) -> str:
    command = f"""{plan.environment}/bin/flower-superlink --enable-supernode-auth \\
    --disable-runtime-dependency-installation --host 0.0.0.0 --port {plan.port} \\
    --database /var/lib/ecofed/superlink.db --ssl-ca-certfile /etc/ecofed/ca.crt \\
    --ssl-certfile /etc/ecofed/server.crt --ssl-keyfile /etc/ecofed/server.key"""
    restart = "Restart=on-failure\nEnvironment=ECOFED_DATA=/var/lib/ecofed/data"
    return _unit(plan, "EcoFed server (Flower SuperLink)", command, restart)


def _device_unit(plan: Plan, device: int) -> str:
    command = f"""{plan.environment}/bin/flower-supernode --superlink {plan.address} \\
    --root-certificates /etc/ecofed/ca.crt --auth-supernode-private-key /etc/ecofed/device-{device}.key \\
    --node-config 'device={device} data="{plan.data}" numbers="/var/lib/ecofed/numbers" worker="{plan.worker}"'"""
    restart = "Restart=always\nRestartSec=10"
    if wait := plan.start_within * device // plan.devices:
        restart += f"\nExecStartPre=/bin/sleep {wait}\nTimeoutStartSec={wait + 90}"
    return _unit(plan, f"EcoFed device {device} (Flower SuperNode)", command, restart)


def _flower_config(plan: Plan) -> str:
    return f"""# To ~/.flwr/config.toml of whoever starts runs with `flwr run`.
[superlink]
default = "fleet"

[superlink.fleet]
address = "{plan.address}"
root-certificates = "/etc/ecofed/ca.crt"
"""


def _readme(plan: Plan) -> str:
    worker = "train" if plan.worker == "torch" else "device"
    everybody = f"devices={plan.devices} sampled_devices={plan.devices}"
    packages = "ONNX Runtime, no PyTorch" if worker == "device" else "PyTorch"
    return f"""# A fleet of {plan.devices} devices

Keep `certificates/ca.key` on the machine where this folder was made, and nowhere else.

If the package index has no ecofed, install its wheel: './ecofed-{__version__}-py3-none-any.whl[flower,train]'.

## The server, {plan.address}

    sudo useradd --system --create-home --home-dir /var/lib/ecofed ecofed
    sudo python3 -m venv {plan.environment}
    sudo {plan.environment}/bin/pip install 'ecofed[flower,train]'
    sudo install -d -o ecofed -m 755 /etc/ecofed
    sudo install -o ecofed -m 644 certificates/ca.crt certificates/server.crt /etc/ecofed
    sudo install -o ecofed -m 600 certificates/server.key /etc/ecofed
    sudo cp server/ecofed-superlink.service /etc/systemd/system/
    sudo systemctl enable --now ecofed-superlink

Test images go to `/var/lib/ecofed/data/pictures/test`, one sub-folder a class: they judge the network, and the names of
these folders are the run's classes. It needs no training images.

## Device N

`device-N.key` belongs to that device alone. {packages}.

    sudo useradd --system --create-home --home-dir /var/lib/ecofed ecofed
    sudo python3 -m venv {plan.environment}
    sudo {plan.environment}/bin/pip install 'ecofed[flower,{worker}]'
    sudo install -d -o ecofed -m 755 /etc/ecofed
    sudo install -o ecofed -m 644 ca.crt /etc/ecofed
    sudo install -o ecofed -m 600 device-N.key /etc/ecofed
    sudo cp device-N.service /etc/systemd/system/ecofed-device.service
    sudo systemctl enable --now ecofed-device

Its images are in `{plan.data}/train`, one sub-folder a class (`{plan.data}/train/cat/1.jpg`). What its owner does not
allow no server gets:
`images-may-leave`, `max-epsilon` and other keys of `--node-config` in the service (the documentation's page "Deploy a
fleet").

## In containers instead

`containers/Containerfile` makes both images; put the wheel of ecofed beside it. What is mounted must be readable by
user {USER_ID}. With docker instead of podman the words are the same.

    cd containers
    podman build --target server --tag ecofed-server .
    podman build --target device --tag ecofed-device .
    podman run --detach --name ecofed-server --publish {plan.port}:9091 \\
        --volume /etc/ecofed:/etc/ecofed:ro --volume ecofed-server:/var/lib/ecofed \\
        --env ECOFED_DATA=/var/lib/ecofed/data ecofed-server
    podman run --detach --name ecofed-device --restart always --volume ecofed-device:/var/lib/ecofed \\
        --volume /etc/ecofed/ca.crt:/etc/ecofed/ca.crt:ro --volume /etc/ecofed/device-N.key:/etc/ecofed/device.key:ro \\
        --volume {plan.data}:/photos:ro ecofed-device --superlink {plan.address} \\
        --node-config 'device=N data="/photos" numbers="/var/lib/ecofed/numbers"'

## Let the devices in, and train

    export PATH={plan.environment}/bin:$PATH
    mkdir -p ~/.flwr && cp server/flwr-config.toml ~/.flwr/config.toml
    for key in certificates/device-*.pub; do flwr supernode register "$key" fleet; done
    flwr run app fleet --stream --run-config \\
        'preset="photos" set="data.name=pictures {everybody}" out="/var/lib/ecofed/first"'

Who is there: `flwr supernode list fleet`. Where a device does not come, `journalctl -u ecofed-device -e` on it says
why: mostly its key is not registered yet, its clock is wrong (`timedatectl`), or it calls the server by another name
than its certificate has.

More devices: the same `ecofed fleet init` with a larger `--devices`; what is here stays.
"""
