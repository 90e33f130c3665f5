"""The rooms of docs/architecture.md: who may import whom, and where PyTorch may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ecofed.config.methods import METHODS

PACKAGE = Path(__file__).parents[1] / "src" / "ecofed"

#: Plain records and rules without any of our machinery.
FOUNDATION = {"_version", "config", "errors", "files", "machine", "randomness", "results", "slow_work"}

#: What a room may import besides the foundation. The order is the order of building: nobody imports what comes later.
ROOMS: dict[str, set[str]] = {
    "wire": set(),
    "activations": set(),
    "data": set(),
    "reports": set(),
    "onnx": {"wire"},
    "costs": {"wire", "activations"},
    "models": {"wire", "onnx"},
    "pretraining": {"models", "data", "wire", "activations"},
    "devices": {"wire", "activations", "models", "data", "onnx"},
    "methods": {"wire", "activations", "data", "models", "costs"},
    "runtimes": {"devices", "methods", "wire"},
    "fleet": set(),
    "planning": {"wire", "activations", "data", "costs", "models", "pretraining", "devices", "methods"},
}
#: Puts the rooms together: may import all of them. The applications, and the names of the package itself, import it.
ENGINE = {"runs", "relearning", "auditing"}

#: What a user starts: may import everything, and nobody imports them.
APPLICATIONS = {"cli", "flower", "api", "__main__"}

#: Rooms that work where only numpy is installed.
WITHOUT_TORCH = FOUNDATION | {"wire", "activations", "data", "onnx", "reports", "costs", "cli", "fleet"}
#: Modules that do so in a room that does not.
ALSO_WITHOUT_TORCH = {
    *("runs/prediction.py", "runs/observing.py", "runs/kept_buffer.py", "devices/onnx_worker.py"),
    *(f"devices/methods/{name}.py" for name in ("ecofed", "closed_form", "send_images")),
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@cache
def nodes(file: Path) -> list[ast.AST]:
    """Of its syntax tree."""
    return list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def room_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[str]:
    """Dotted names of what a file imports, anywhere in it."""
    for node in nodes(file):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            assert node.module is not None
            if node.module == "ecofed":
                yield from (f"ecofed.{alias.name}" for alias in node.names)
            else:
                yield node.module


def own_rooms(file: Path) -> set[str]:
    names = {name.split(".")[1] for name in imports(file) if name.startswith("ecofed.")}
    return {name for name in names if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    for file in (PACKAGE / room).rglob("*.py"):
        assert own_rooms(file) - {room} <= FOUNDATION | ROOMS[room], file


def test_the_foundation_stands_on_nothing() -> None:
    for file in modules():
        if room_of(file) in FOUNDATION:
            assert own_rooms(file) <= FOUNDATION, file


def test_nobody_imports_an_application_and_only_they_import_the_engine() -> None:
    for file in modules():
        room = room_of(file)
        allowed = {"__main__": {"cli"}, "__init__": {"api"}}.get(room, set())  # python -m ecofed; ecofed.run
        assert not (own_rooms(file) - {room}) & APPLICATIONS - allowed, file
        if room not in ENGINE | APPLICATIONS | {"__init__"}:
            assert not own_rooms(file) & ENGINE, file
        if room == "runs":  # what learns again, and what attacks, stand on it
            assert not own_rooms(file) & {"relearning", "auditing"}, file


def test_every_module_has_its_place() -> None:
    known = FOUNDATION | set(ROOMS) | ENGINE | APPLICATIONS | {"__init__"}
    assert {room_of(file) for file in modules()} <= known


def test_the_order_of_the_rooms_has_no_way_back() -> None:
    names = list(ROOMS)
    for position, name in enumerate(names):
        assert ROOMS[name] <= set(names[:position])


def test_the_page_tells_the_same() -> None:
    page = (PACKAGE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)/` \| [^|]* \| ([^|]*) \|$", page, re.MULTILINE))
    assert {room: set(re.findall(r"`(\w+)`", cell)) for room, cell in told.items() if room in ROOMS} == ROOMS


@pytest.mark.parametrize("room", sorted(WITHOUT_TORCH))
def test_no_import_of_pytorch_is_written_where_it_may_not_be(room: str) -> None:
    for file in modules():
        if room_of(file) == room or file.relative_to(PACKAGE).as_posix() in ALSO_WITHOUT_TORCH:
            assert not [name for name in imports(file) if name.split(".")[0] == "torch"], file


def test_the_base_package_imports_without_optional_packages() -> None:
    names = [
        ".".join(("ecofed", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for file in modules()
        if room_of(file) in WITHOUT_TORCH | {"__init__"} or file.relative_to(PACKAGE).as_posix() in ALSO_WITHOUT_TORCH
    ]
    code = (
        "import importlib, sys\n"
        "for name in ('torch', 'pyarrow', 'matplotlib', 'pandas', 'sklearn', 'huggingface_hub'):\n"
        "    sys.modules[name] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_runs_what_it_reads() -> None:
    for file in modules():
        assert not {name.split(".")[0] for name in imports(file)} & {"pickle", "marshal", "shelve", "dill", "joblib"}
        for node in nodes(file):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert called not in ("eval", "exec"), file
                assert options.get("allow_pickle", "False") == "False", file
                assert called != "torch.load" or options.get("weights_only") == "True", file


def test_files_and_json_are_written_in_one_place() -> None:
    writers = {"write_text", "write_bytes", "savefig", "save_file", "mkstemp", "NamedTemporaryFile"}
    for file in modules():
        text = file.read_text(encoding="utf-8")
        if file == PACKAGE / "files" / "disk.py":
            continue
        assert "json.dumps" not in text, file
        assert "json.dump(" not in text, file
        assert "json_format.dump" not in text, file
        for node in nodes(file):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if isinstance(node.func, ast.Attribute) and node.func.attr in writers:
                # A figure goes into memory; everything else goes through ecofed.files.disk.
                assert (node.func.attr, ast.unparse(node.args[0])) == ("savefig", "buffer"), f"{file}: {called}"
            if called == "open" or called.endswith(".open"):
                modes = [value.value for value in node.args if isinstance(value, ast.Constant)]
                assert not {"w", "wb", "a", "ab", "x", "xb", "r+b"} & set(modes), f"{file}: {ast.unparse(node)}"


#: Where "ecofed" is the package: its folders and command, keys and titles in its files. (It is a method, too.)
PACKAGE_NAMED = {
    *("errors/installation.py", "cli/app.py", "cli/interrupt.py", "data/places.py", "pretraining/shipped.py"),
    *("files/tensor_files.py", "flower/content.py", "flower/device.py", "onnx/graph.py", "onnx/session.py"),
    *("wire/bundle.py", "reports/sections.py", "reports/plots/style.py"),
}


def test_no_method_is_named_outside_of_its_own_files() -> None:
    """What others must know of a method they ask its facts (``config/facts.py``)."""
    own = {file for folder in ("methods", "config/methods") for file in (PACKAGE / folder).rglob("*.py")}
    named = set()
    for file in set(modules()) - own:
        place = file.relative_to(PACKAGE).as_posix()
        compared = {operand for node in nodes(file) if isinstance(node, ast.Compare) for operand in ast.walk(node)}
        for node in nodes(file):
            if isinstance(node, ast.Constant) and node.value in METHODS:
                assert (node.value, node in compared) == (PACKAGE.name, False), f"{place}:{node.lineno}: {node.value}"
                named.add(place)
    assert named == PACKAGE_NAMED


def test_no_file_is_too_long_to_be_read_at_a_sitting() -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in modules()}
    assert {str(file): length for file, length in lengths.items() if length > 350} == {}
