"""A fleet on one machine: a SuperLink and SuperNodes with TLS and authentication on the loopback interface.

Every process is ended again, whatever happens. Logs are in ``FOLDER/logs``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from ecofed.errors import EcoFedError
from ecofed.files.disk import write_text
from ecofed.fleet.app import write_app
from ecofed.fleet.certificates import make_certificates
from ecofed.fleet.folder import LOOPBACK

NAME = "fleet"
START_SECONDS = 60
FINISHED = "finished"
#: ``flwr supernode register KEY NAME`` for each key, in one process: the command takes seconds to start.
_REGISTER = """
import sys
from importlib.metadata import entry_points
name, *keys = sys.argv[1:]
(command,) = entry_points(group="console_scripts", name="flwr")
flwr = command.load()
for key in keys:
    sys.argv = ["flwr", "supernode", "register", key, name]
    try:
        flwr()
    except SystemExit as stop:
        if stop.code:
            raise
"""


class Fleet:
    """A context manager: the SuperLink runs inside it; SuperNodes are added with :meth:`add_device`."""

    def __init__(self, folder: Path, devices: int) -> None:
        self.folder = folder.resolve()
        self.certificates = self.folder / "certificates"
        self._stack = ExitStack()
        self._processes: list[subprocess.Popen[bytes]] = []
        make_certificates(self.certificates, [LOOPBACK, "localhost"], devices)
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        write_app(self.folder / "app")
        (self._port,) = free_ports(1)
        home = self.folder / "flwr"
        home.mkdir(exist_ok=True)
        write_text(
            home / "config.toml",
            f'[superlink]\ndefault = "{NAME}"\n\n[superlink.{NAME}]\naddress = "{LOOPBACK}:{self._port}"\n'
            f'root-certificates = "{self.certificates / "ca.crt"}"\n',
        )
        self._environment = os.environ | {
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            # Flower starts its parts by name.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONUNBUFFERED": "1",
        }

    def __enter__(self) -> Fleet:
        with self._stack:
            self._stack.callback(self._stop_all)
            self.start_superlink()
            self._stack = self._stack.pop_all()  # all is well: nothing is ended before __exit__
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def start_superlink(self) -> subprocess.Popen[bytes]:
        """Start the SuperLink, or start it again: what it knows is in a database in the fleet's folder."""
        keys = self.certificates
        self.superlink = self.start(
            "superlink",
            *("flower-superlink", "--enable-supernode-auth", "--disable-runtime-dependency-installation"),
            *("--ssl-ca-certfile", keys / "ca.crt", "--ssl-certfile", keys / "server.crt"),
            *("--ssl-keyfile", keys / "server.key", "--host", LOOPBACK, "--port", self._port),
            *("--database", self.folder / "superlink.db"),
        )
        wait_for_port(self._port, self.superlink)
        return self.superlink

    def register(self, *keys: Path) -> None:
        """Let the SuperNodes with these public keys in."""
        words = [str(key) for key in keys]
        self._call([sys.executable, "-c", _REGISTER, NAME, *words], 120 + 2 * len(keys))

    def add_device(
        self,
        device: int,
        *,
        key: Path | None = None,
        ca: Path | None = None,
        insecure: bool = False,
        config: str = "",
        retries: int = 3,
    ) -> subprocess.Popen[bytes]:
        """Start a SuperNode; :meth:`register` its key first, or it is refused.

        ``retries``: how often it tries to reach a SuperLink that does not answer.
        """
        trust: Sequence[str | Path] = (
            ("--insecure",) if insecure else ("--root-certificates", ca or self._file("ca.crt"))
        )
        return self.start(
            f"device-{device}",
            *("flower-supernode", "--superlink", f"{LOOPBACK}:{self._port}", *trust),
            *("--host", LOOPBACK, "--port", free_ports(1)[0], "--max-retries", retries),
            *("--auth-supernode-private-key", key or self._file(f"device-{device}.key")),
            *("--node-config", f"device={device} {config}".strip()),
        )

    def start(self, log: str, *command: str | Path | int) -> subprocess.Popen[bytes]:
        """Start a process that ends with this object."""
        # The process writes it, not we.
        file = os.open(self.folder / "logs" / f"{log}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._stack.callback(os.close, file)
        process = subprocess.Popen(
            [str(word) for word in command],
            env=self._environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def _stop_all(self) -> None:
        stop(self._processes)

    def run(self, settings: str | Path, out: Path, *, sets: str = "", resume: bool = False, at_once: int = 0) -> int:
        """Start a training; returns Flower's number of it."""
        words = f'preset="{settings}" set="{sets}" out="{out}" resume={str(resume).lower()} at-once={at_once}'
        answer = self.flwr("run", self.folder / "app", NAME, "--run-config", words, "--format", "json")
        told: dict[str, Any] = json.loads(answer[answer.index("{") :])
        if "run-id" not in told:  # which ends with exit code 0
            raise EcoFedError(f"flwr run: {told.get('error-message', answer)}")
        return int(told["run-id"])

    def state(self, run: int) -> dict[str, Any]:
        """What Flower says about a run: its status and its network traffic."""
        answer = self.flwr("ls", "--run-id", str(run), NAME, "--format", "json")
        runs: list[dict[str, Any]] = json.loads(answer[answer.index("{") :])["runs"]
        return runs[0]

    def wait(self, run: int, seconds: float) -> dict[str, Any]:
        """Wait until a run has finished.

        Raises:
            EcoFedError: it has not, after ``seconds``.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = self.state(run)
            if str(state["status"]).startswith(FINISHED):
                return state
            time.sleep(5)
        raise EcoFedError(f"the run has not finished after {seconds:.0f} s; see {self.folder / 'logs'}")

    def flwr(self, *words: str | Path) -> str:
        """Run one ``flwr`` command and return what it prints."""
        return self._call(["flwr", *(str(word) for word in words)], 120)

    def _call(self, command: list[str], patience: float) -> str:
        words = " ".join(word for word in command[:6] if "\n" not in word)  # not a script
        try:
            done = subprocess.run(
                command,
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=patience,
                check=False,
                cwd=self.folder,
            )
        except subprocess.TimeoutExpired:
            raise EcoFedError(f"{words}: not done after {patience:.0f} s; see {self.folder / 'logs'}") from None
        if done.returncode:
            raise EcoFedError(f"{words}: {(done.stderr or done.stdout).strip()[-500:]}")
        return done.stdout

    def _file(self, name: str) -> Path:
        return self.certificates / name


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until ``process`` listens."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise EcoFedError(f"nobody listens on port {port}; see the logs")


def stop(processes: Sequence[subprocess.Popen[bytes]], patience: float = 15) -> None:
    """End processes that we started, and those that they started, which may be in sessions of their own."""
    family: dict[int, str] = {}
    for process in processes:
        family |= descendants(process.pid)
        process.terminate()
    end = time.monotonic() + patience
    for process in processes:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pid, started in family.items():
        if started_at(pid) == started:  # not another process that got the number meanwhile
            os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> dict[int, str]:
    """Numbers of the processes below ``pid``, and when each was started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _status(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = {}, [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found[child] = started_at(child)
            waiting.append(child)
    return found


def is_running(pid: int) -> bool:
    """Whether a process exists and has not ended; nobody may have asked yet how it ended."""
    return _status(pid)[:1] not in ([], ["Z"])


def started_at(pid: int) -> str:
    """When a process was started, in the kernel's count; empty if there is none."""
    fields = _status(pid)
    return fields[19] if fields else ""


def _status(pid: int) -> list[str]:
    """Fields of ``/proc/PID/stat`` after the name: state, parent, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def unused_folder(wanted: Path) -> Path:
    """Make a new folder: the wanted one, or one with a number beside it. What an earlier fleet left stays as it is."""
    number, folder = 1, wanted
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if folder.is_dir() and not any(folder.iterdir()):
                return folder
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
