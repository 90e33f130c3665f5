"""The packages as users get them: built, checked, installed into clean environments, and tried (``make package``).

    python tests/package.py dist

Builds wheel and source package into the folder; ``twine check``; installs the wheel for every Python from 3.11 to 3.14
that this machine has, and runs :data:`TRIALS` there; asks pip whether everything that a Raspberry Pi needs has a wheel
for it. The last line says how many of these passed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
#: What a clean installation must do: words, exit code, and what it must print.
TRIALS = (
    (("--version",), 0, "ecofed "),
    (("--help",), 0, "compare"),
    (("presets",), 0, "quickstart"),
    (("presets", "photos"), 0, "efficientnet-lite0"),
    (("data", "list"), 0, "cifar10"),
    (("runs", "nowhere"), 1, "nowhere"),
    (("run", "quickstart"), 2, "ecofed run needs the package 'torch': "),
    (("fleet", "init", "fleet", "--host", "localhost", "--devices", "2"), 0, "fleet/README.md"),
)
#: Parts of the package that are read at run time, and are no Python.
DATA = """
from importlib.resources import files
from ecofed.config.presets import preset_names
import ecofed.activations, ecofed.wire, ecofed.onnx, ecofed.devices.onnx_worker
assert len(preset_names()) > 10
for name in ("reports/assets", "fronts", "backbones", "costs/library/devices", "fleet/trial.toml", "py.typed"):
    assert files("ecofed").joinpath(name).is_dir() or files("ecofed").joinpath(name).is_file(), name
"""
#: The device of a Raspberry Pi: 64-bit Linux, ARM.
ARM = ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")


def run(*words: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, stdin=subprocess.DEVNULL)


def said(name: str, done: subprocess.CompletedProcess[str], *, good: bool) -> bool:
    print(f"{'ok    ' if good else 'FAILED'} {name}", flush=True)
    if not good:
        print((done.stdout + done.stderr).strip()[-2000:], flush=True)
    return good


def works(version: str) -> bool:
    """Whether this machine has that Python, and not only a launcher that looks for it."""
    name = f"python{version}"
    return shutil.which(name) is not None and run(name, "-c", "import venv, ensurepip").returncode == 0


def build(folder: Path) -> tuple[Path, list[bool]]:
    """The wheel, and what passed."""
    shutil.rmtree(folder, ignore_errors=True)
    done = run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    if not said("wheel and source package are built", done, good=done.returncode == 0):
        return folder, [False]
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    done = run(sys.executable, "-m", "twine", "check", "--strict", wheel, source)
    return wheel, [True, said("twine check --strict", done, good=done.returncode == 0)]


def install_and_try(python: str, wheel: Path, extra: str) -> list[bool]:
    """In a new environment, outside of the repository."""
    with tempfile.TemporaryDirectory() as place:
        here = Path(place)
        run(python, "-m", "venv", here / "env")
        own, command = here / "env/bin/python", here / "env/bin/ecofed"
        done = run(
            own, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", f"{wheel}[{extra}]" if extra else wheel
        )
        version = run(own, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout.strip()
        passed = [said(f"Python {version}: ecofed[{extra}] is installed", done, good=done.returncode == 0)]
        if passed[0]:
            done = run(own, "-c", DATA, cwd=here)
            passed.append(said(f"Python {version}: what belongs to it is there", done, good=done.returncode == 0))
            for words, code, text in TRIALS if "fleet" in extra else TRIALS[:-1]:
                done = run(command, *words, cwd=here)
                good = done.returncode == code and text in done.stdout + done.stderr and "Traceback" not in done.stderr
                passed.append(said(f"Python {version}: ecofed {' '.join(words)}", done, good=good))
    return passed


def has_wheels(wheel: Path, version: str, extra: str) -> bool:
    """Whether pip would install it on a Raspberry Pi without a compiler."""
    platforms = [word for platform in ARM for word in ("--platform", platform)]
    words = ("--dry-run", "--target", "nowhere", "--only-binary=:all:", "--implementation", "cp", "--python-version")
    # The markers of pip are this machine's; constriction has no wheel there, and is left to our own coder.
    needs = run(sys.executable, "-c", NEEDS, wheel, extra, version).stdout.split("\n")
    done = run(sys.executable, "-m", "pip", "install", "-q", *words, version, *platforms, *filter(None, needs))
    return said(f"Python {version} on 64-bit ARM: ecofed[{extra}] has wheels", done, good=done.returncode == 0)


#: Prints the requirements of a wheel with an extra, as a Raspberry Pi with that Python understands them.
NEEDS = """
import email, sys, zipfile
from packaging.requirements import Requirement
wheel, extra, version = sys.argv[1:]
with zipfile.ZipFile(wheel) as file:
    (name,) = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
    needs = map(Requirement, email.message_from_bytes(file.read(name)).get_all("Requires-Dist"))
there = {"platform_machine": "aarch64", "sys_platform": "linux", "python_version": version, "extra": extra}
for need in needs:
    if need.marker is None or need.marker.evaluate(there):
        need.marker = None
        print(need)
"""


def main(folder: Path) -> int:
    wheel, passed = build(folder)
    if not all(passed):
        return 1
    there = [version for version in VERSIONS if works(version)]
    passed += install_and_try(f"python{there[0]}", wheel, "") if there else [False]
    for version in there:
        passed += install_and_try(f"python{version}", wheel, "fleet")
    passed += install_and_try(f"python{there[0]}", wheel, "device,fleet") if there else [False]
    passed += [has_wheels(wheel, version, "device") for version in VERSIONS]
    absent = [version for version in VERSIONS if version not in there]
    if absent:
        print(f"not on this machine, so not tried: Python {', '.join(absent)}")
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
