"""The ServerApp: the same engine as ``ecofed run``, with devices behind Flower's Grid.

Run configuration (``flwr run --run-config``): ``preset`` (a preset or a TOML file), ``set`` (``key=value`` words, as
after ``--set``), ``out`` (folder for the results), ``resume``, ``at-once`` (how many messages may be out at a time;
0, the default: those of all devices). ``update`` instead of ``preset``: the folder of an earlier run, with whose
settings it goes on: devices are asked for what is new since; ``from-back``: starting from its network.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from ecofed.config import Config, Settings
from ecofed.errors import ConfigError, EcoFedError
from ecofed.errors.foreign_text import clean
from ecofed.files.disk import json_text
from ecofed.fleet.versions import untested
from ecofed.flower.content import Invitation
from ecofed.flower.transport import FlowerTransport, check_method
from ecofed.relearning.updating import Start, update
from ecofed.results import RoundRecord, RunResult
from ecofed.results.untrained import all_untrained
from ecofed.runs.experiment import run
from ecofed.runs.natural import settled
from ecofed.runs.preparation import Prepared

app = ServerApp()


@app.main()  # type: ignore[untyped-decorator]
def main(grid: Grid, context: Context) -> None:
    """Train, write the results, say where they are. A user's mistake is a line of the run's log and its state."""
    if (line := untested(metadata.version("flwr"))) is not None:
        Voice().note(line)
    try:
        train(grid, context.run_config)
    except EcoFedError as error:
        Voice().error(error)
        # Not SystemExit: Flower would send neither the line nor that the run has failed.
        raise RuntimeError(str(error)) from None


def train(grid: Grid, run_config: Any, *, patience_seconds: float | None = None) -> RunResult:
    """Run what ``run_config`` says with the devices behind ``grid``.

    Raises:
        ConfigError: impossible settings, or a method that makes no sense over Flower.
        DeviceError: devices that never came, or too few that answered.
    """
    source, voice = str(run_config.get("update", "")) or None, Voice()
    at_once = _at_once(run_config)
    if source is None:
        config = config_of(run_config)
        check_method(config.method)

    def connect(prepared: Prepared) -> FlowerTransport:
        invitation = Invitation(task=prepared.task)
        patience = {} if patience_seconds is None else {"patience_seconds": patience_seconds, "poll_seconds": 0.01}
        transport = FlowerTransport(grid, invitation, voice.note, at_once=at_once, **patience)
        transport.wait_for_devices()
        return transport

    out = str(run_config.get("out", "")) or None
    common: dict[str, Any] = {"resume": bool(run_config.get("resume", False)), "observer": voice}
    common |= {"command": command_of(run_config), "connect": connect}
    if source is None:
        return run(config, out=out, **common)
    if out is None or run_config.get("preset"):
        raise ConfigError("update goes on with the settings of its run: leave preset out, and name a new folder as out")
    start: Start = "back" if run_config.get("from-back") else "anew"
    return update(source, out=out, sets=_words(run_config), start=start, **common)


def command_of(run_config: Any) -> str:
    """What starts such a run, for its report."""
    said = {key: value for key, value in run_config.items() if value and key != "resume"}
    words = " ".join(f"{key}={_toml(value)}" for key, value in said.items())
    return f"flwr run fleet/app fleet --stream --run-config {shlex.quote(words)}"


def _toml(value: Any) -> str:
    """As Flower reads it from its command line."""
    return json_text(value, ascii_only=False)


def config_of(run_config: Any) -> Config:
    """The configuration that a run configuration names; the method is the settings' own."""
    source = str(run_config.get("preset", "")) or None
    settings = settled(Settings.load(source, _words(run_config)))
    return settings.for_method(settings.method)


def _words(run_config: Any) -> list[str]:
    """Of ``set``: ``KEY=VALUE`` several times, quoted as in a shell where a value has blanks in it."""
    try:
        return shlex.split(str(run_config.get("set", "")))
    except ValueError as error:
        raise ConfigError(f"run config set = {run_config['set']!r}: {error}; close every quotation mark") from error


def _at_once(run_config: Any) -> int | None:
    wanted = run_config.get("at-once", 0)
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 0:
        raise ConfigError(f"run config at-once = {wanted!r}: must be a number of messages, or 0 for all of a round")
    return wanted or None


class Voice:
    """Progress, for Flower's log."""

    def started(self, config: Config, records: Sequence[RoundRecord]) -> None:
        print(f"{config.method}: rounds {len(records) + 1} to {config.rounds}, {config.devices} devices", flush=True)

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:
        accuracy = "" if record.test_accuracy is None else f"  accuracy {record.test_accuracy:.3f}"
        up, down = record.uplink_bytes, record.downlink_bytes
        print(f"round {record.round}/{total_rounds}{accuracy}  up {up:,} B  down {down:,} B", flush=True)
        for text in record.notes:
            self.note(text)

    def note(self, text: str) -> None:
        print(f"note: {clean(text)}", flush=True)

    def error(self, error: EcoFedError) -> None:
        """What a user has to mend; the run ends."""
        print(f"error: {clean(str(error))}", flush=True)

    def finished(self, result: RunResult) -> None:
        accuracy = f"accuracy {result.totals.final_test_accuracy:.4f}"
        found = "nothing was trained" if all_untrained(result.rounds) else accuracy
        print(f"done: {found}, {result.total_bytes:,} bytes", flush=True)
