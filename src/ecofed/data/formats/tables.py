"""Lists of pictures: CSV files, a line for each picture, with a column that names it.

A picture is named by its path, its name or its name without the ending, as such lists have it, and lies anywhere in the
data's folder.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ecofed.data.formats.folders import pictures_under
from ecofed.data.formats.owners import as_path, delimiter_of, text_of
from ecofed.errors import DataError, nearest
from ecofed.errors.foreign_text import clean

SUFFIXES_OF_LISTS = (".csv", ".tsv")
#: In order, in any case.
PICTURE_COLUMNS = ("file_name", "filename", "file", "image", "img", "picture", "photo", "image_id", "path", "id")
#: Of these, what may number pictures that another column names.
_IDS = {"image_id", "id"}
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target", "species")
SPLIT_COLUMN = "split"
#: So many lines of a file tell whether it lists pictures.
_LOOKED_AT = 20


class Shelf:
    """Every picture of a folder, by its path, its name, and both without the ending."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by: dict[str, list[Path]] = {}
        self.files = pictures_under(root)[0]
        for file in self.files:
            within = PurePosixPath(_composed(file.relative_to(root).as_posix()))
            whole = f"/{within}"  # so that a path is not taken for a name
            for key in {whole, whole.removesuffix(within.suffix), within.name, within.stem}:
                self._by.setdefault(key, []).append(file)

    def named(self, text: str, places: Sequence[Path]) -> list[Path]:
        """The pictures that a line may mean: below the first of ``places`` (folders) that has any."""
        word = _composed(as_path(text))
        if not word:
            return []
        for place in places:
            below = _composed(place.relative_to(self.root).as_posix())
            found = self._by.get(f"/{word}" if below == "." else f"/{below}/{word}", [])
            named = [file for file in self._by.get(word, ()) if file.is_relative_to(place)]
            if found or named:
                return found or named
        return []


def _composed(name: str) -> str:
    """Archives of a Mac have decomposed letters in their names, and lists seldom do."""
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A list of pictures."""

    place: Path
    header: list[str]
    lines: list[tuple[int, list[str]]]
    """Each with its number in the file."""
    looked_in: tuple[Path, ...]
    """Folders that its pictures lie in, the likeliest first."""
    problem: str
    """Where it ends too early, and why; empty: it is whole."""

    def naming(self, shelf: Shelf) -> list[int]:
        """The columns that name pictures, or seem to."""
        first = self.lines[:_LOOKED_AT]
        return [
            at
            for at in range(len(self.header))
            if any(len(line) > at and shelf.named(line[at], self.looked_in) for _, line in first)
        ]

    def picture_column(self, shelf: Shelf, named: str | None = None) -> int:
        """Which column names pictures, of a list in which some do.

        Raises:
            DataError: the named one is not there; several columns do, and none is called as usual; or one that is and
                another one name different pictures in a line.
        """
        if named is not None:
            return self.column(named, "data.image_column")
        naming = self.naming(shelf)
        usual = self._usual(PICTURE_COLUMNS, naming)
        if usual is None and len(naming) > 1:
            raise DataError(
                f"{self.place}: several columns name pictures ({self._listed(naming)}); data.image_column says which"
            )
        chosen = naming[0] if usual is None else usual
        for other in self._rivals(chosen, naming):
            if (number := self._first_that_differs(shelf, chosen, other)) is not None:
                raise DataError(
                    f"{self.place}: the columns {self._listed((chosen, other))} name different pictures (line "
                    f"{number}); data.image_column says which of them counts"
                )
        return chosen

    def _rivals(self, chosen: int, naming: Sequence[int]) -> list[int]:
        """The columns that could as well be meant. A mask beside an ``image`` is not; a path beside an ``id`` is."""
        called = {at: self.header[at].lower() for at in naming if at != chosen}
        plain = self.header[chosen].lower() in set(PICTURE_COLUMNS) - _IDS
        return [at for at, name in called.items() if name in PICTURE_COLUMNS or not plain]

    def _first_that_differs(self, shelf: Shelf, chosen: int, other: int) -> int | None:
        """The first line for which two columns name different pictures; ``None``: they agree, or the other one only
        has words that are also names of pictures, as a column of numbers beside ``1.jpg`` does: such a column says the
        same in several lines, or in most lines nothing that is a name."""
        named = [shelf.named(line[other], self.looked_in) for _, line in self.lines]
        different = {files[0] for files in named if files}
        if len(different) < sum(map(bool, named)) or 2 * len(different) <= len(self.lines):
            return None
        for (number, line), files in zip(self.lines, named, strict=True):
            own = shelf.named(line[chosen], self.looked_in)
            if own and files and not set(own) & set(files):
                return number
        return None

    def label_column(self, pictures: int, named: str | None = None) -> int | None:
        """Which column says what they show: the named one, one that is called as usual, or the only other one."""
        if named is not None:
            return self.column(named, "data.label_column")
        others = [at for at, name in enumerate(self.header) if at != pictures and name.lower() != SPLIT_COLUMN]
        usual = self._usual(LABEL_COLUMNS, others)
        return usual if usual is not None else others[0] if len(others) == 1 else None

    @property
    def splits(self) -> list[str]:
        """What each line says in a column ``split``; empty without one."""
        at = self._usual((SPLIT_COLUMN,), range(len(self.header)))
        return [] if at is None else [line[at] for _, line in self.lines]

    def has_usual_label(self, pictures: int) -> bool:
        return self._usual(LABEL_COLUMNS, [at for at in range(len(self.header)) if at != pictures]) is not None

    def column(self, name: str, key: str) -> int:
        """Where a column is.

        Raises:
            DataError: nowhere, or at two places; the message names the key that asks for it.
        """
        if self.header.count(name) == 1:
            return self.header.index(name)
        several = "more than one" if name in self.header else "no"
        raise DataError(
            f"{self.place}: {several} column '{clean(name)}' ({key}){nearest(name, self.header)}; it has "
            f"{self._listed(range(len(self.header)))}"
        )

    def without_label(self, pictures: int) -> DataError:
        """The error of a list that has no label column."""
        others = [at for at in range(len(self.header)) if at != pictures]
        return DataError(
            f"{self.place}: which column says what a picture shows? data.label_column names it; without it one of "
            f"{', '.join(LABEL_COLUMNS)} is taken, or the only one beside '{clean(self.header[pictures])}'; found "
            f"{self._listed(others)}"
        )

    def pictures(self, shelf: Shelf, column: int) -> list[Path]:
        """The picture of each line.

        Raises:
            DataError: a line names none, several, or one that another line names; or the list is not whole.
        """
        if self.problem:
            raise DataError(f"{self.place}: {self.problem}")
        head = self.header[column]
        if head.lower() not in PICTURE_COLUMNS and shelf.named(head, self.looked_in):
            raise DataError(
                f"{self.place}: its first line names a picture ('{clean(head)}'), and has to name the columns; put "
                "one such as file,label above it"
            )
        missing: list[str] = []
        taken: dict[Path, int] = {}
        for number, line in self.lines:
            text = line[column]
            found = shelf.named(text, self.looked_in)
            if len(found) > 1:
                both = " and ".join(clean(str(file.relative_to(shelf.root))) for file in found[:2])
                raise DataError(f"{self.place}: line {number}: '{clean(text)}' may be {both}; give it with its folder")
            if not found:
                missing.append(f"line {number}: '{clean(text)}'")
            elif found[0] in taken:
                raise DataError(
                    f"{self.place}: line {number}: '{clean(text)}' is the picture of line {taken[found[0]]}, too"
                )
            else:
                taken[found[0]] = number
        if missing:
            raise DataError(
                f"{self.place}: {missing[0]} is no picture in {shelf.root}; such lines: {len(missing):,} of "
                f"{len(self.lines):,}"
            )
        return list(taken)

    def values(self, column: int) -> list[str]:
        """What each line says there.

        Raises:
            DataError: a line says nothing, or something that has lines itself.
        """
        for number, line in self.lines:
            if not line[column]:
                raise DataError(f"{self.place}: line {number}: nothing in column '{clean(self.header[column])}'")
            if len(line[column].splitlines()) > 1:
                raise DataError(
                    f"{self.place}: line {number}: '{clean(line[column])}' in column '{clean(self.header[column])}' "
                    "has a line break in it; write it in one line"
                )
        return [line[column] for _, line in self.lines]

    def _usual(self, names: Sequence[str], among: Sequence[int]) -> int | None:
        called = {self.header[at].lower(): at for at in reversed(among)}
        return next((called[name] for name in names if name in called), None)

    def _listed(self, columns: Sequence[int]) -> str:
        return clean(", ".join(self.header[at] for at in columns)) or "none"


def read_table(place: Path, looked_in: Sequence[Path]) -> Table | None:
    """A CSV file; ``None`` where it is no table with a head of several columns and a line.

    Raises:
        DataError: it is too large for a list, or no text.
    """
    text = text_of(place)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text))
    lines: list[tuple[int, list[str]]] = []
    problem = ""
    try:
        for cells in reader:
            line = [cell.strip() for cell in cells]
            width = len(lines[0][1]) if lines else len(line)
            if not any(line):
                continue
            if len(line) < width or any(line[width:]):
                problem = f"line {reader.line_num} has {len(line)} columns, the first one {width}"
                break
            lines.append((reader.line_num, line[:width]))
    except csv.Error as error:
        problem = f"line {reader.line_num}: {error}"
    if len(lines) < 2 or len(lines[0][1]) < 2:
        return None
    (_, header), *rest = lines
    return Table(place=place, header=header, lines=rest, looked_in=tuple(looked_in), problem=problem)
