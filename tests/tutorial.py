"""What a stranger does: docs/tutorial.md by copy and paste in a fresh copy with a new home, timed (``make tutorial``).

    python tests/tutorial.py [--pictures FOLDER]

Every block is pasted into one shell, with the presets that the page names, and so are those that the tests of the
pages leave out because they take minutes. ``--pictures``: class folders that stand in for ``pictures/``; without them
the page's own drawings do. Ends with the seconds of each section. It fails where a command does, and where a run of
the page is not finished at its end. Only where packages come from is taken from the machine: pip's settings.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from doc_blocks import Block, blocks

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tutorial.md"
#: What a block says before its commands, among what these print.
MARK = "== tutorial:"
#: Nothing of ours may come from the shell that this was started in.
FORGOTTEN = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
#: What the page leaves behind, besides runs.
LEFT = ("runs/quickstart/report.html", "runs/mine/report.html", "runs/my-method/report.html", "fleet/README.md")


def script(page: Sequence[Block], pictures: Path | None = None) -> str:
    """All of the page as one shell's input."""
    lines = ["set -e"]
    for number, block in enumerate(page):
        lines.append(f"echo '{MARK} {number}'")
        if block.kind == "file":
            lines += [f"cat > {block.name} << 'END OF FILE'", block.text.rstrip("\n"), "END OF FILE"]
        elif block.kind == "sh":
            lines.append(block.text.rstrip("\n"))
        elif pictures is not None:
            lines.append(f"cp -r {shlex.quote(str(pictures))} pictures")
        else:
            setup = "from pathlib import Path\n" + block.text.rstrip("\n")
            lines += ["python - << 'END OF PYTHON'", setup, "END OF PYTHON"]
    return "\n".join([*lines, f"echo '{MARK} end'", ""])


def fresh_copy(folder: Path) -> Path:
    """What git keeps or would keep, as it lies here: nothing that was installed or computed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if not (ROOT / name).is_file():  # deleted here
            continue
        place = folder / "ecofed" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, place)
    return folder / "ecofed"


def environment(home: Path) -> dict[str, str]:
    """A new user's."""
    own = {key: value for key, value in os.environ.items() if key not in FORGOTTEN and not key.startswith("ECOFED_")}
    settings = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return own | {"HOME": str(home), "XDG_CONFIG_HOME": settings, "XDG_CACHE_HOME": str(home / ".cache")}


def walk(page: Sequence[Block], copy: Path, home: Path, pictures: Path | None) -> dict[str, float]:
    """Seconds of each section; all output goes to stdout as it comes.

    Raises:
        SystemExit: a command failed.
    """
    seconds: dict[str, float] = {}
    section, started = "", time.perf_counter()
    with subprocess.Popen(
        ["bash", "-c", script(page, pictures)],
        cwd=copy,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as shell:
        for line in shell.stdout or ():
            print(line, end="", flush=True)
            if line.startswith(MARK):
                now = time.perf_counter()
                seconds[section] = seconds.get(section, 0.0) + now - started
                word, started = line.removeprefix(MARK).strip(), now
                section = page[int(word)].section if word != "end" else ""
    if shell.returncode != 0:
        raise SystemExit(f"FAILED ({shell.returncode}) in section '{section}'")
    return {name: took for name, took in seconds.items() if name}


def unfinished(copy: Path) -> list[str]:
    """What should be there after the last section, and is not; runs that are not finished."""
    command = [copy / ".venv" / "bin" / "ecofed", "runs", "runs", "--json"]
    listed = subprocess.run(command, cwd=copy, capture_output=True, check=True, text=True).stdout
    wrong = [f"{run['folder']} is {run['state']}" for run in json.loads(listed) if run["state"] != "finished"]
    return wrong + [f"{name} is missing" for name in LEFT if not (copy / name).exists()]


def main() -> None:
    """Print the table of sections."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--pictures", type=lambda text: Path(text).resolve(), help="class folders for pictures/")
    pictures: Path | None = options.parse_args().pictures
    if pictures is not None and not pictures.is_dir():
        raise SystemExit(f"--pictures {pictures}: no such folder")
    page = list(blocks(PAGE))
    with tempfile.TemporaryDirectory(prefix="ecofed-tutorial-") as temporary:
        copy, home = fresh_copy(Path(temporary)), Path(temporary, "home")
        home.mkdir()
        seconds = walk(page, copy, home, pictures)
        wrong = unfinished(copy)
    for section, took in [*seconds.items(), ("in all", sum(seconds.values()))]:
        print(f"{took:7.0f} s  {section}")
    if wrong:
        sys.exit("FAILED: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
