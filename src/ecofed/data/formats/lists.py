"""Pictures and a list that says what each of them shows: ``labels.csv`` (or another CSV file), or one for each split,
as ``train.csv`` or as ``train/metadata.csv``.

Of a list for all, a column ``split`` divides it; otherwise a fifth of each class is tested on, as of class folders.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ecofed.config.class_identity import listed
from ecofed.data.formats.folders import contents
from ecofed.data.formats.owners import owned
from ecofed.data.formats.parts import NAMES, Part, choose, stand_in
from ecofed.data.formats.tables import SUFFIXES_OF_LISTS, Shelf, Table, read_table
from ecofed.data.formats.undivided import TESTED, divided
from ecofed.data.formats.undivided import find as class_folders_in
from ecofed.data.images import ANYHOW, Split, decode
from ecofed.data.inventory import left_out
from ecofed.data.reading import Reading
from ecofed.errors import DataError
from ecofed.errors.foreign_text import clean
from ecofed.slow_work import counted

#: Of several lists beside each other, those that say what pictures show.
_USUAL = ("labels", "metadata")
_NUMBER = re.compile(r"-?[0-9]{1,100}")


def find(path: Path) -> list[Path]:
    """The lists of a folder and the pictures that they name; none where class folders say it, and no list has a column
    that is called as labels are.

    Raises:
        DataError: there are several lists, and none is called as usual, or one that is no text.
    """
    lists = None
    try:
        lists = _lists(path)
        if lists is None or (not any(map(lists.says_labels, lists.of.values())) and _in_folders(path)):
            return []
        return _files(lists)
    except DataError:
        if _in_folders(path):  # which do without a list
            return []
        if lists is None:
            raise
        return _all_that_may_be_read(lists)


def find_whatever(path: Path, image_column: str | None = None) -> list[Path]:
    """As :func:`find`, for those who name the columns, whatever else may say what pictures show."""
    lists = _lists(path)
    if lists is None:
        return []
    try:
        return _files(lists, image_column)
    except DataError:
        return _all_that_may_be_read(lists)


def columns_beside(path: Path) -> tuple[Path, list[str]] | None:
    """A list that names pictures of ``path`` and its other columns, for a hint where class folders are taken."""
    lists = None
    with suppress(DataError):
        lists = _lists(path)
    if lists is None:
        return None
    table = next(iter(lists.of.values()))
    pictures = table.naming(lists.shelf)
    return table.place, [name for at, name in enumerate(table.header) if at not in pictures]


@dataclass(frozen=True, kw_only=True)
class _Named:
    """Some lines of a list."""

    table: Table
    columns: tuple[str, str]
    """Of pictures, and of what they show."""
    pictures: list[Path]
    labels: list[str]
    owners: list[str] | None

    def of(self, chosen: set[Path]) -> _Named:
        kept = [at for at, file in enumerate(self.pictures) if file in chosen]
        owners = None if self.owners is None else [self.owners[at] for at in kept]
        pictures, labels = [self.pictures[at] for at in kept], [self.labels[at] for at in kept]
        return _Named(table=self.table, columns=self.columns, pictures=pictures, labels=labels, owners=owners)


def read(path: Path, part: Part, how: Reading = ANYHOW) -> Split | None:
    """One split; a class is what the label column says."""
    named = _parts(path, how)[0].get(part)
    if named is None:
        return None
    if not named.pictures:
        raise DataError(f"{path}: no picture is left to {'test on' if part == 'test' else 'train on'}")
    classes = _in_order(set(named.labels))
    owners = None
    if how.device_column is not None:
        owners = owned(lambda: named.owners, str(named.table.place), needed=how.device_needed)
    count = len(named.pictures)
    decoded = decode(lambda: counted(contents(named.pictures), count, f"reading {part} pictures"), how)
    position = {name: at for at, name in enumerate(classes)}
    labels_N = np.array([position[label] for label in named.labels], np.int64)
    return decoded.split(labels_N, classes, owners)


def notes(path: Path, how: Reading = ANYHOW) -> list[str]:
    """Which columns are taken, how the pictures are divided, and what is not taken."""
    parts, told = _parts(path, how)
    taken: list[Path] = []
    for named in {id(named.table): named for named in parts.values()}.values():
        pictures, labels = map(clean, named.columns)
        told.append(f"{named.table.place}: column '{pictures}' names the pictures, '{labels}' says what they show")
    for named in parts.values():
        taken += [named.table.place, *named.pictures]
    folders = {file.parent for file in taken}
    return told + left_out(path, taken, folders, loose="pictures that no list names for training or tests")


def _parts(path: Path, how: Reading) -> tuple[dict[Part, _Named], list[str]]:
    """What each list, or each part of one, names, and notes."""
    lists, told = _lists(path), list[str]()
    if lists is None:
        return {}, told
    table = lists.of.get("all") or lists.of["train"]
    named = _named(table, lists, how)
    if "test" in lists.of and "all" not in lists.of:
        table = lists.of["test"]
        label = named.columns[1]
        if label in table.header:
            tested = _named(table, lists, replace(how, label_column=label, device_needed=False))
            if both := set(named.pictures) & set(tested.pictures):
                raise DataError(f"{table.place}: {clean(min(both).name)} is in {named.table.place.name}, too")
            substitute = stand_in("test", table.place.stem if table.place.parent == path else table.place.parent.name)
            return {"train": named, "test": tested}, [f"{path}: {substitute}"] if substitute else []
        told.append(f"{table.place}: has no column '{clean(label)}', so that its pictures are not taken")
    if (by_column := _by_column(named)) is not None:
        return by_column, told + _not_taken(named, by_column)
    if (by_folder := _by_folder(named, lists)) is not None:
        return by_folder, told + _of_folders(named, by_folder, lists)
    of_class: dict[str, list[Path]] = {}
    for file, label in zip(named.pictures, named.labels, strict=True):
        of_class.setdefault(label, []).append(file)
    each = [divided(pictures, path) for pictures in of_class.values()]
    chosen = {part: {file for one in each for file in one[part]} for part in NAMES}
    if not chosen["test"]:
        raise DataError(f"{path}: each class has one picture only, which leaves none to test on")
    if says := tuple(sorted(set(named.table.splits))):
        told.append(f"{named.table.place}: column 'split' is not taken, as it tells no tests: {listed(says)}")
    told.append(
        f"{path}: nothing says which pictures are for tests: {len(chosen['test']):,} of {len(named.pictures):,} are "
        f"what is tested on: one in {TESTED} of each class, at least one"
    )
    return {part: named.of(chosen[part]) for part in NAMES}, told


def _named(table: Table, lists: _Lists, how: Reading) -> _Named:
    pictures = lists.column(table, how.image_column)
    labels = table.label_column(pictures, how.label_column)
    if labels is None:
        raise table.without_label(pictures)
    owners = None
    if how.device_column is not None and (how.device_needed or how.device_column in table.header):
        owners = table.values(table.column(how.device_column, "data.device_column"))
    return _Named(
        table=table,
        columns=(table.header[pictures], table.header[labels]),
        pictures=table.pictures(lists.shelf, pictures),
        labels=table.values(labels),
        owners=owners,
    )


def _by_column(named: _Named) -> dict[Part, _Named] | None:
    """Divided as a column ``split`` says, where there is one that says which pictures are for tests.

    Raises:
        DataError: it says so of some, and of none that they are to train on: what else is there may be held out, too.
    """
    table = named.table
    says = table.splits
    found = {part: choose(table.place, part, dict.fromkeys(says, "")) for part in NAMES}
    if found["test"] is None:
        return None
    if found["train"] is None:
        raise DataError(
            f"{table.place}: column 'split' has '{found['test'][0]}', and no line with {' or '.join(NAMES['train'])}: "
            f"{_counted(says)}; say so of the lines to train on"
        )
    return {
        part: named.of({file for file, word in zip(named.pictures, says, strict=True) if word == chosen[0]})
        for part, chosen in found.items()
        if chosen is not None
    }


def _by_folder(named: _Named, lists: _Lists) -> dict[Part, _Named] | None:
    """Divided as the pictures lie, where some are in the folder of the one split and some in that of the other."""
    within = {part: {file for file in named.pictures if file.is_relative_to(at)} for part, at in lists.splits.items()}
    return {part: named.of(within[part]) for part in NAMES} if all(within.get(part) for part in NAMES) else None


def _of_folders(named: _Named, parts: dict[Part, _Named], lists: _Lists) -> list[str]:
    """Notes of a list whose pictures are divided as they lie."""
    place, train, test = named.table.place, *(lists.splits[part].name for part in NAMES)
    rest = len(named.pictures) - sum(len(part.pictures) for part in parts.values())
    neither = [f"{place}: {rest:,} pictures are in neither of these, and are not taken"] if rest else []
    return [f"{place}: its pictures in {clean(test)}/ are tested on, those in {clean(train)}/ trained on", *neither]


def _not_taken(named: _Named, parts: dict[Part, _Named]) -> list[str]:
    """A note of lines whose word in the column ``split`` is another one."""
    taken = {file for part in parts.values() for file in part.pictures}
    others = [word for file, word in zip(named.pictures, named.table.splits, strict=True) if file not in taken]
    return [f"{named.table.place}: lines not taken, by column 'split': {_counted(others)}"] if others else []


def _counted(words: Sequence[str]) -> str:
    return listed(tuple(f"{count:,} with '{clean(word)}'" for word, count in sorted(Counter(words).items())))


@dataclass(frozen=True, kw_only=True)
class _Lists:
    """The lists of a folder."""

    shelf: Shelf
    of: dict[str, Table]
    """Of each split, or of ``all``."""
    splits: dict[Part, Path]
    """Folders that bear the names of splits."""

    def column(self, table: Table, named: str | None = None) -> int:
        """Which names pictures."""
        return table.picture_column(self.shelf, named)

    def says_labels(self, table: Table) -> bool:
        return table.has_usual_label(self.column(table))


def _lists(path: Path) -> _Lists | None:
    """The CSV files that name pictures."""
    if not path.is_dir():
        return None
    folders = {entry.name: entry for entry in path.iterdir() if entry.is_dir()}
    inner = {part: choose(path, part, folders) for part in NAMES}
    splits = {part: found[1] for part, found in inner.items() if found is not None}
    candidates = {folder: candidates_in(folder) for folder in (path, *splits.values())}
    if not any(candidates.values()):
        return None
    shelf, found = Shelf(path), dict[str, Table]()

    def naming(file: Path, looked_in: Sequence[Path]) -> list[Table]:
        table = read_table(file, looked_in)
        return [] if table is None or not table.naming(shelf) else [table]

    above: dict[str, Table] = {}
    for file in candidates[path]:
        own = [folder for part, folder in splits.items() if choose(path, part, {file.stem: file}) is not None]
        above.update((file.stem, table) for table in naming(file, [*own, path]))
    for part in NAMES:
        files = candidates[splits[part]] if part in splits else []
        if within := [table for file in files for table in naming(file, [file.parent])]:
            found[part] = _only(splits[part], within)
        elif (chosen := choose(path, part, above)) is not None:
            found[part] = chosen[1]
    if "train" not in found:
        rest = [table for table in above.values() if table not in found.values()]
        found = {"all": _only(path, rest)} if rest else {}
    return _Lists(shelf=shelf, of=found, splits=splits) if found else None


def _files(lists: _Lists, image_column: str | None = None) -> list[Path]:
    columns = [(table, lists.column(table, image_column)) for table in lists.of.values()]
    pictures = {file for table, column in columns for file in table.pictures(lists.shelf, column)}
    return [table.place for table in lists.of.values()] + sorted(pictures)


def _all_that_may_be_read(lists: _Lists) -> list[Path]:
    """Of lists one of which is not as it has to be: the name of a column may make it readable, or nobody may need it
    (one of tests, without labels). Reading says what is wrong, and whatever it takes has to be among these files."""
    return [table.place for table in lists.of.values()] + lists.shelf.files


def _only(folder: Path, tables: list[Table]) -> Table:
    usual = [table for name in _USUAL for table in tables if table.place.stem.lower() == name]
    if len(tables) > 1 and not usual:
        names = listed(tuple(table.place.name for table in tables))
        raise DataError(f"{folder}: several lists name its pictures ({names}); keep one, or call it {_USUAL[0]}.csv")
    return usual[0] if usual else tables[0]


def candidates_in(folder: Path) -> list[Path]:
    """Files that may be lists, by their names."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in SUFFIXES_OF_LISTS and not entry.name.startswith(".") and entry.is_file()
    )


def _in_folders(path: Path) -> bool:
    """Whether folders say what pictures show."""
    try:
        return bool(class_folders_in(path))
    except DataError:
        return False


def _in_order(names: set[str]) -> tuple[str, ...]:
    """Numbers as numbers; of those that are equal (``3``, ``03``) as they are written."""
    if all(map(_NUMBER.fullmatch, names)):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))
