"""Any set of images on the Hugging Face hub: ``hf:OWNER/NAME``, or ``hf:OWNER/NAME:CONFIGURATION``.

The hub keeps a parquet copy of most sets (in the branch ``refs/convert/parquet``, a folder a configuration and in it
one a split); where it has none, the set's own parquet files are taken. They go into the user's cache, with a note of
where they come from and of the licence that the set's owners state, and are read from there ever after.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecofed.data import hub
from ecofed.data.formats.parts import NAMES, choose
from ecofed.errors import DataError
from ecofed.errors.foreign_text import clean
from ecofed.files.disk import write_json
from ecofed.files.json_values import parse, read_as

PREFIX = "hf:"
#: Of a whole set, and of how many files.
MOST_BYTES = 20 << 30
MOST_FILES = 2000
MOST_CONFIGURATIONS = 12
UNKNOWN = "not stated"

_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_NAME = re.compile(rf"hf:(?P<repository>{_WORD}/{_WORD})(?::(?P<configuration>[\w.-]{{1,96}}))?")
_CONVERTED = "refs/convert/parquet"
_IN_BRANCH = re.compile(r"(?P<configuration>[^/]{1,96})/(?:partial-)?(?P<split>[\w.-]{1,64})/\d{4,6}\.parquet")
_IN_MAIN = re.compile(
    r"(?:(?P<configuration>[\w. -]{1,96})/)?(?P<split>[a-z]+)(?:-\d{5}-of-\d{5}(?:-[0-9a-f]+)?)?\.parquet"
)
_LICENCE = re.compile(r"[\w .+-]{1,60}")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What lies in the cache."""

    repository: str
    configuration: str
    revision: str
    licence: str

    @property
    def title(self) -> str:
        """As reports name it."""
        return f"{self.repository} (Hugging Face hub, licence: {self.licence})"


@dataclass(frozen=True, kw_only=True)
class _File:
    path: str
    configuration: str
    split: str
    size: int


def is_hub_set(name: str) -> bool:
    """Whether ``data.name`` means one."""
    return name.startswith(PREFIX)


def find_hub_set(name: str, cache: Path, *, network: bool = True) -> tuple[Path | None, Source | None, str]:
    """The folder in the cache with the set's parquet files and their source, or why there is none.

    Raises:
        DataError: no name of a set; the set has several configurations and none was named, or none of pictures' files.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError(f"data.name = '{clean(name)}': write a set on the hub as hf:OWNER/NAME or hf:OWNER/NAME:CONFIG")
    repository, wanted = match["repository"], match["configuration"]
    folder = cache / "data" / f"hf--{repository.replace('/', '--')}{f'--{wanted}' if wanted else ''}"
    if _note_of(folder).is_file() and folder.is_dir():
        return folder, _source(_note_of(folder)), ""
    if not network:
        return None, None, "not downloaded yet"
    reason = hub.unusable()
    if reason:
        return None, None, reason
    try:
        revision, files, licence = hub.asked(lambda: _listing(repository))
        chosen = _chosen(repository, wanted, files)
        source = Source(
            repository=repository, configuration=chosen[0].configuration, revision=revision, licence=_stated(licence)
        )
        _bring(folder, source, chosen)
    except DataError:
        raise
    # The client's own errors, its transport's and the operating system's: whichever it is, the hub cannot be used.
    except Exception as error:
        return None, None, hub.why(error)
    return folder, source, ""


def _listing(repository: str) -> tuple[str, list[_File], Any]:
    """Revision, parquet files, and what the owners say the licence is."""
    client = hub.client()
    card = client.dataset_info(repository, timeout=hub.PROBE_SECONDS).card_data
    licence = None if card is None else card.get("license")
    errors = hub.missing_errors()
    for revision, pattern in ((_CONVERTED, _IN_BRANCH), ("main", _IN_MAIN)):
        files: list[_File] = []
        try:
            entries = client.list_repo_tree(repository, repo_type="dataset", revision=revision, recursive=True)
            for number, entry in enumerate(entries):
                if number >= 100 * MOST_FILES:
                    raise DataError(f"hf:{repository}: has too many files to look through")
                found = pattern.fullmatch(str(entry.path))
                size = getattr(entry, "size", None)
                if found and isinstance(size, int) and found["split"] in _SPLITS:
                    own = found["configuration"] or "default"
                    files.append(_File(path=str(entry.path), configuration=own, split=found["split"], size=size))
        except errors:  # no such branch
            continue
        if files:
            return revision, sorted(files, key=lambda file: file.path), licence
    raise DataError(
        f"hf:{repository}: the hub has no parquet files of it with a split named {', '.join(sorted(_SPLITS))}; "
        "download it, and give its folder as data.name"
    )


_SPLITS = {name for names in NAMES.values() for name in names}


def _chosen(repository: str, wanted: str | None, files: Sequence[_File]) -> list[_File]:
    """The files of the one configuration."""
    names = sorted({file.configuration for file in files})
    name = wanted or (names[0] if len(names) == 1 else "default")
    if name not in names:
        shown = ", ".join(clean(name) for name in names[:MOST_CONFIGURATIONS])
        more = f" and {len(names) - MOST_CONFIGURATIONS} more" if len(names) > MOST_CONFIGURATIONS else ""
        said = f"has no configuration '{clean(wanted)}'" if wanted else "has several configurations"
        raise DataError(f"hf:{repository}: {said}: {shown}{more}; name one: hf:{repository}:{clean(names[0])}")
    own = [file for file in files if file.configuration == name]
    # One split to train on, one to test on; a set may have more.
    splits = [choose(Path(repository), part, {file.split: file for file in own}) for part in NAMES]
    if splits[0] is None:
        raise DataError(
            f"hf:{repository}: configuration '{clean(name)}' has no split named {' or '.join(NAMES['train'])}"
        )
    chosen = [file for file in own if file.split in {split[0] for split in splits if split is not None}]
    size = sum(file.size for file in chosen)
    if size > MOST_BYTES or len(chosen) > MOST_FILES:
        raise DataError(
            f"hf:{repository}: {size / 1e9:.1f} GB in {len(chosen)} files, more than {MOST_BYTES / 1e9:.0f} GB and "
            f"{MOST_FILES} files are not downloaded for you; download a part, and give its folder as data.name"
        )
    return chosen


def _bring(folder: Path, source: Source, files: Sequence[_File]) -> None:
    """All files in place, or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    counts = {split: sum(file.split == split for file in files) for split in {file.split for file in files}}
    numbers = dict.fromkeys(counts, 0)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        staged = Path(temporary) / "staged"
        staged.mkdir()
        for file in files:
            name = f"{file.split}-{numbers[file.split]:05d}-of-{counts[file.split]:05d}.parquet"
            numbers[file.split] += 1
            got = hub.fetched(source.repository, file.path, source.revision)
            if got.stat().st_size != file.size:
                raise DataError(f"hf:{source.repository}: {clean(file.path)} is not as long as the hub said")
            shutil.copyfile(got, staged / name)
        if folder.exists():
            shutil.rmtree(folder)
        staged.replace(folder)
    write_json(_note_of(folder), source.__dict__)  # last: without it the set is downloaded again


def _note_of(folder: Path) -> Path:
    """Beside the folder, which holds what a data set's folder holds and nothing else."""
    return folder.with_name(f"{folder.name}.json")


def _stated(licence: Any) -> str:
    """A licence as the owners state it: one, or several."""
    words = licence if isinstance(licence, list) else [licence]
    good = [word for word in words if isinstance(word, str) and _LICENCE.fullmatch(word)]
    return ", ".join(good[:4]) or UNKNOWN


def _source(file: Path) -> Source:
    try:
        source: Source = read_as(Source, parse(file.read_bytes()), file.name)
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error}); delete it to have the set downloaded again") from None
    return source
