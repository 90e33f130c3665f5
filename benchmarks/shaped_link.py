"""The clock's prediction against a clock on the wall: rounds of the processes runtime over slow links that are real.

    sudo python benchmarks/shaped_link.py [--page docs/clock.md]

Server and devices are processes in network namespaces of their own (``slow_wire.py``). This machine is measured first,
as ``ecofed profile`` does, and serves as the clock's device and server. A round's prediction is its
``simulated_seconds``; its measurement is what the server waited for devices and computed itself. The first round is
left out: there devices read their images. The median of the others is shown.
"""

from __future__ import annotations

import dataclasses
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from slow_wire import SERVER, SlowNetwork, why_not

from ecofed.config import Config, Settings
from ecofed.costs.profiles import Link, load_link
from ecofed.planning.measure import measure, to_toml
from ecofed.reports.units import human_bytes
from ecofed.runs.experiment import run
from ecofed.runs.preparation import Prepared, prepare
from ecofed.runtimes import ProcessesTransport

HOST = "ecofed.runtimes.device_host"
METHODS = ("classic-fl", "vanilla-dpfl", "lgl", "ecofed")
LINKS = ("3g", "4g", "lossy-4g", "wifi")
LOSSY_4G = """\
title = "4G that loses 2 % of its packets"
uplink_bits_per_second = 13.6e6
downlink_bits_per_second = 14.7e6
latency_seconds = 0.0266
loss = 0.02
"""
SETTINGS = (
    *("devices=2", "sampled_devices=2", "rounds=4", "batch_size=20", "test_samples=100", "evaluate_every=4"),
    *("data.name=fashion-mnist", "data.fallback=digits", "data.samples_per_device=200", "initialisation=random"),
    *("model.name=vgg11", "model.width=0.25", "model.head_width=512", "clock.overlap=false", "front.name=random"),
    *("ecofed.refresh=period", "ecofed.period=1", "codec.name=float32", "codec.entropy=none"),
)

Page = Annotated[Path | None, typer.Option(help="Write the table into this page, between its markers.")]
Only = Annotated[list[str] | None, typer.Option(help="Measure over this link alone; repeatable. Other rows stay.")]


@contextmanager
def far_away(prepared: Prepared, network: SlowNetwork) -> Iterator[ProcessesTransport]:
    """The processes runtime, whose devices are in namespaces of their own."""
    with network.inside(SERVER):
        transport = ProcessesTransport(prepared.task, address=("0.0.0.0", 0), start_devices=False)
    hosts = []
    for device in range(prepared.task.config.devices):
        installation = dataclasses.replace(transport.installation, host=network.address_of_server(device))
        host = subprocess.Popen(
            ["ip", "netns", "exec", network.namespace(f"device-{device}"), sys.executable, "-m", HOST],
            stdin=subprocess.PIPE,
            text=True,
        )
        assert host.stdin is not None
        host.stdin.write(f"{installation.to_json()}\n{device}\n")
        host.stdin.flush()
        hosts.append(host)
    try:
        yield transport
    finally:
        transport.close()
        for host in hosts:
            with host:  # which closes its input, and so ends it
                pass


def compared(config: Config, link: Link, seed: int = 0) -> tuple[float, float, float, float]:
    """Bytes a device and round; the share of the prediction that is those bytes at the link's rate; both times (s)."""
    with SlowNetwork([link] * config.devices, seed) as network:
        prepared = prepare(config, lambda _: None)
        with far_away(prepared, network) as transport:
            result = run(config, connect=lambda _: transport)
    rounds = result.rounds[1:]
    up = statistics.median(record.uplink_bytes for record in rounds) / config.sampled_devices
    down = statistics.median(record.downlink_bytes for record in rounds) / config.sampled_devices
    predicted = statistics.median(record.simulated_seconds or 0.0 for record in rounds)
    measured = statistics.median(record.device_seconds + record.server_seconds for record in rounds)
    transfer = link.uplink_seconds(up) + link.downlink_seconds(down)
    return up + down, transfer / predicted, predicted, measured


def main(page: Page = None, only: Only = None) -> None:
    """Measure, and print a table."""
    if reason := why_not():
        raise SystemExit(f"error: {reason}")
    head = ["| link | method | bytes a device and round | of it transfer | predicted | measured | error |"]
    head += ["|---|---|---|---|---|---|---|"]
    links = only or LINKS
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        here, lossy = Path(folder) / "here.toml", Path(folder) / "lossy-4g.toml"
        here.write_text(to_toml(measure("here", threads=1)), encoding="utf-8")
        lossy.write_text(LOSSY_4G, encoding="utf-8")
        for name in links:
            link = str(lossy) if name == "lossy-4g" else name
            clock = [f"clock.device={here}", f"clock.server={here}", f"clock.link={link}"]
            for method in METHODS:
                # Batch by batch, this runtime speaks to one device after the other; by the clock they work in parallel.
                alone = ["devices=1", "sampled_devices=1"] if method == "vanilla-dpfl" else []
                config = Settings.load(None, [*SETTINGS, *alone, *clock]).for_method(method)
                sent, share, predicted, measured = compared(config, load_link(link))
                rows.append(
                    f"| {name} | {method} | {human_bytes(sent)} | {share:.0%} | {predicted:.2f} s | {measured:.2f} s "
                    f"| {predicted / measured - 1:+.0%} |"
                )
                print(rows[-1], flush=True)
    print("\n".join([*head, *rows]))
    if page is not None:
        text = page.read_text("utf-8")
        before, inside, after = re.split(
            r"(?<=<!-- table: shaped-link -->\n)(.*?)(?=<!-- end -->)", text, flags=re.DOTALL
        )
        kept = [row for row in inside.splitlines()[2:] if row.split()[1] not in links]
        ordered = sorted([*kept, *rows], key=lambda row: LINKS.index(row.split()[1]))
        page.write_text(before + "\n".join([*head, *ordered, ""]) + after, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
