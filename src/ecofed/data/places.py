"""Where data sets are looked for, in order.

An explicit path; ``$ECOFED_DATA/<name>/``; the user's cache; known system folders; the Hugging Face hub; and for
``digits`` the package that ships it.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ecofed.config.registry import formats as plugin_formats
from ecofed.data import hub
from ecofed.data.formats import FORMATS, Format
from ecofed.data.formats.lists import candidates_in
from ecofed.data.formats.own import own_format
from ecofed.data.formats.undivided import named_as_splits, only_class
from ecofed.data.hub_sets import find_hub_set, is_hub_set
from ecofed.data.known import KNOWN
from ecofed.data.pictures import SUFFIXES
from ecofed.errors import DataError, nearest
from ecofed.errors.foreign_text import LONGEST_NAME, clean
from ecofed.errors.installation import install_command

_PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".7z", ".rar")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A data set that was found, not yet read."""

    name: str
    place: str
    """``path``, ``$ECOFED_DATA``, ``cache``, ``system``, ``hub`` or ``package``."""
    path: Path | None
    """``None`` in a package."""
    layout: Format | None


def cache_folder() -> Path:
    """The user's cache: ``$XDG_CACHE_HOME/ecofed`` or ``~/.cache/ecofed``."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    # The XDG rules say that a relative path there is to be ignored.
    return (Path(base) if os.path.isabs(base) else _home() / ".cache") / "ecofed"


def _home() -> Path:
    """The user's home; without one, a place in which nothing can be: no cache then, and not one in ``/``."""
    nowhere = Path(os.devnull)
    if os.environ.get("HOME") == "":
        return nowhere
    try:
        return Path.home()
    except RuntimeError:  # a user whom the system does not know, as in some containers
        return nowhere


def is_path(name: str) -> bool:
    """Whether ``data.name`` means a file or folder rather than a data set by name."""
    if is_hub_set(name):
        return False
    if name.startswith(("~", ".")) or name.endswith(".parquet") or os.sep in name or "/" in name:
        return True
    return name not in KNOWN and _exists(Path(name))


def _exists(path: Path) -> bool:
    """Whether there is such a file or folder. Nothing can have a name of thousands of letters."""
    try:
        return path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def find(name: str, *, network: bool = True, advise: bool = True) -> tuple[Found | None, str]:
    """The first place that has the data set, or ``None`` and one line that says where it was looked for.

    ``network=False`` looks no further than this machine, ``advise=False`` leaves out what to do about it. A place that
    holds something malformed is a
    :class:`DataError`.
    """
    if not name.strip():
        raise DataError("data.name = '': names no data set; give a known name, or the path of a folder ('.': this one)")
    own, colon, where = name.partition(":")
    if colon and own in plugin_formats():
        return _of_own_format(name, own, where)
    if is_hub_set(name):
        folder, source, reason = find_hub_set(name, cache_folder(), network=network)
        if folder is None or source is None:
            return None, f"data set '{clean(name)}' not found: the Hugging Face hub ({reason})"
        return Found(name=source.title, place="hub", path=folder, layout=FORMATS["parquet"]), ""
    if is_path(name):
        return _at_path(name)
    looked: list[str] = []
    for place, folder, description in _folders(name):
        if folder is None:
            looked.append(f"{place} ({description})")
            continue
        there = _exists(folder)
        layout = _layout(folder) if there else None
        if layout is not None:
            return Found(name=name, place=place, path=folder, layout=layout), ""
        looked.append(f"{clean(folder, LONGEST_NAME)}{' (no known layout)' if there else ''}")
    known = KNOWN.get(name)
    if known is not None and known.from_package:
        if find_spec("sklearn") is not None:
            return Found(name=name, place="package", path=None, layout=None), ""
        looked.append("scikit-learn (not installed)")
    if known is not None and known.hub is not None:
        repository, subfolder = known.hub
        snapshot, reason = hub.download(repository, subfolder, network=network)
        if snapshot is not None:
            return Found(name=name, place="hub", path=snapshot, layout=FORMATS["parquet"]), ""
        looked.append(f"the Hugging Face hub ({reason})")
    missing = f"data set '{clean(name, LONGEST_NAME)}' not found: looked in {', '.join(looked)}"
    return None, f"{missing}; {cure(name)}{_here(name)}" if advise else missing


def _at_path(name: str) -> tuple[Found | None, str]:
    path = _expanded(name)
    if not _exists(path):
        called = clean(name, LONGEST_NAME)
        return None, f"data.name = '{called}': no such file or folder{nearest(path.name, KNOWN)}{_no_format(name)}"
    layout = _layout(path)
    if layout is None:
        if only := only_class(path):
            return None, (
                f"data.name = '{name}': holds pictures of one class only, '{clean(only)}'; at least two classes are "
                f"needed, each a folder of its own, or a list (CSV) of what each picture shows{_no_list(path)}"
            )
        if splits := named_as_splits(path):
            return None, (
                f"data.name = '{name}': {clean(splits[0])}/ bears the name of a split, so that the folders beside it "
                "are not taken for classes; if it is a class, rename it; if it is a split, give the others one, too "
                "(train/CLASS/, test/CLASS/)"
            )
        if loose := _pictures(path):
            return None, (
                f"data.name = '{name}': holds pictures ({clean(loose[0])}, ...), and neither folders of classes nor a "
                f"list of what they show; put those of each class into a folder of its own ({clean(path.name)}/CLASS/),"
                f" or name the folder above, if this is the folder of one class{_no_list(path)}"
            )
        expected = "; ".join(layout.layout for layout in FORMATS.values())
        return None, f"data.name = '{name}': holds no data set; expected one of: {expected}{_contents(path)}"
    stem = path.resolve().stem if path.is_file() else path.resolve().name
    return Found(name=stem, place="path", path=path, layout=layout), ""


def _of_own_format(name: str, own: str, where: str) -> tuple[Found | None, str]:
    path = _expanded(where)
    if not _exists(path):
        return None, f"data.name = '{clean(name, LONGEST_NAME)}': no such file or folder"
    layout = own_format(plugin_formats()[own])
    if not layout.find(path):
        return None, f"data.name = '{name}': holds no such data; expected {layout.layout}{_contents(path)}"
    stem = path.resolve().stem if path.is_file() else path.resolve().name
    return Found(name=stem, place="path", path=path, layout=layout), ""


def _no_format(name: str) -> str:
    own, colon, _ = name.partition(":")
    return f"; a data format '{own}' is not known, load its plug-in with --plugin" if colon and own.isalnum() else ""


def _contents(path: Path) -> str:
    """The first names in a folder, and what to do with some."""
    if path.name.lower().endswith(_PACKED):
        return "; unpack it first"
    if not path.is_dir():
        return ""
    names = sorted(os.listdir(path))
    packed = [name for name in names if name.lower().endswith(_PACKED)]
    cure = f"; unpack {clean(packed[0])} first" if packed else ""
    return f"; found {clean(', '.join(names[:6])) or 'nothing'}{', ...' if len(names) > 6 else ''}{cure}"


def _pictures(path: Path) -> list[str]:
    """The pictures that lie in a folder itself, where nothing but pictures does, and files that may be lists."""
    if not path.is_dir():
        return []
    lists = {file.name for file in candidates_in(path)}
    names = sorted(name for name in os.listdir(path) if not name.startswith(".") and name not in lists)
    return names if all(Path(name).suffix.lower() in SUFFIXES for name in names) else []


def _no_list(path: Path) -> str:
    names = [clean(file.name) for file in candidates_in(path)]
    return f"; {names[0]} is none: no column of its first lines names a picture here (case counts)" if names else ""


def _expanded(name: str) -> Path:
    """``~`` is the home folder; a ``~user`` that nobody is stays as it is."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def _folders(name: str) -> list[tuple[str, Path | None, str]]:
    """Place, folder (or ``None``) and, without a folder, why there is none."""
    root = os.environ.get("ECOFED_DATA")
    system = KNOWN[name].system_folder if name in KNOWN else None
    folders: list[tuple[str, Path | None, str]] = [
        ("$ECOFED_DATA", _expanded(root) / name if root else None, "not set"),
        ("cache", cache_folder() / "data" / name, ""),
    ]
    if system is not None:
        folders.append(("system", Path(system), ""))
    return folders


def _layout(path: Path) -> Format | None:
    found: list[Format] = []
    for layout in FORMATS.values():
        if layout.last_resort and found:
            continue
        try:
            if layout.find(path):
                found.append(layout)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        except DataError:
            if not found:  # else it is what another layout leaves out, and says so
                raise
    if len(found) > 1:
        both = " and ".join(f"{layout.find(path)[0].relative_to(path)} ({layout.layout})" for layout in found)
        raise DataError(f"{path}: holds more than one data set: {both}; give each a folder of its own")
    return found[0] if found else None


def cure(name: str) -> str:
    """What to do to get a data set that was not found."""
    if is_hub_set(name):
        return f"get it with: ecofed data fetch {clean(name)}"
    if is_path(name):
        return "there is no such file or folder"
    if name not in KNOWN and (hint := _no_format(name)):
        return hint.removeprefix("; ")
    if name not in KNOWN:
        close = nearest(name, KNOWN)
        own = "for images of your own say --set data.name=FOLDER, a folder that has one for each class"
        return f"{own}; known names are {', '.join(KNOWN)}{close}"
    known = KNOWN[name]
    if known.from_package:
        return f"get it with: {install_command('digits')}"
    if known.hub is None:
        return f"put its train.parquet in $ECOFED_DATA/{name}/"
    return f"get it with: ecofed data fetch {name}"


def _here(name: str) -> str:
    found = [other for other in KNOWN if other != name and on_this_machine(other) is not None]
    return f"; on this machine: {', '.join(found)} (data.name)" if found else ""


def on_this_machine(name: str) -> str | None:
    """The kind of place that has a known set, without the network; ``None``: nowhere, or it cannot be read."""
    try:
        found, _ = find(name, network=False, advise=False)
    except DataError:
        return None
    return None if found is None else found.place
