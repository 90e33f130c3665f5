"""Draws what a comparison looks like in a terminal, while it runs and when it has ended (``make screenshots``).

Runs ``ecofed compare`` on scikit-learn's digits in tmux, 100 columns wide, and keeps what stands on its screen.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).parent / "images"
SESSION, WIDTH, HEIGHT, MOST_SECONDS = "ecofed-picture", 100, 26, 300
COMMAND = "ecofed compare quickstart --set data.name=digits --methods classic-fl,lgl,ecofed --jobs 2"


def main() -> None:
    with tempfile.TemporaryDirectory() as here:
        command = COMMAND.replace("ecofed", f"{shlex.quote(sys.executable)} -m ecofed", 1)
        _tmux("new-session", "-d", "-s", SESSION, "-x", str(WIDTH), "-y", str(HEIGHT), "-c", here, "sh")
        try:
            _tmux("send-keys", "-t", SESSION, f"clear; {command}; echo THE-END", "Enter")
            live = _when(lambda screen: screen.count("round ") >= 2 and "left" in screen and "accuracy 0" in screen)
            ended = _when(lambda screen: "\nTHE-END" in screen)
        finally:
            _tmux("kill-session", "-t", SESSION)
    for name, screen in (("terminal-live", live), ("terminal-end", ended)):
        _draw(PICTURES / f"{name}.svg", screen)
        print(PICTURES / f"{name}.svg")


def _tmux(*words: str) -> str:
    return subprocess.run(["tmux", *words], capture_output=True, text=True, check=True).stdout


def _when(good: Callable[[str], bool]) -> str:
    """The screen, with its colours, once it is as wanted."""
    end = time.monotonic() + MOST_SECONDS
    while time.monotonic() < end:
        if good(_tmux("capture-pane", "-p", "-t", SESSION)):
            return _tmux("capture-pane", "-p", "-e", "-t", SESSION)
        time.sleep(0.5)
    raise SystemExit("the screen never was as wanted:\n" + _tmux("capture-pane", "-p", "-t", SESSION))


def _draw(place: Path, screen: str) -> None:
    others = ("THE-END", sys.executable, "# ", "$ ")  # the shell's
    lines = [line for line in screen.splitlines() if not any(word in line for word in others) and line.strip() != "#"]
    text = "\n".join(lines).strip()
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ {COMMAND}\n{text}"))
    console.save_svg(str(place), title="ecofed")


if __name__ == "__main__":
    main()
