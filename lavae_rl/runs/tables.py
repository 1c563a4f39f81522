"""Tables of results as CSV files, to which several processes and machines add rows."""

import csv
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lavae_rl.runs.atomic import replacing
from lavae_rl.runs.locks import locked
from lavae_rl.runs.reading import check_file

Row = Mapping[str, Any]


@contextmanager
def report_folder(folder: Path) -> Iterator[None]:
    """Lock a folder of tables, creating it if needed, so that one process at a time reads, merges and writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        yield


def read_csv(file: Path) -> list[list[str]]:
    """Read the rows of a CSV file, the header among them. Raises ValueError where it is damaged, or no file."""
    check_file(file)
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            return list(csv.reader(stream))
    except (csv.Error, UnicodeError) as error:
        raise ValueError(f"{file} is damaged ({error}): remove it, or put back a copy") from error


def read_rows(file: Path, texts: Collection[str]) -> list[Row]:
    """Read a CSV of ``write_rows``, without its empty cells: numbers, but texts in columns ``texts``; [] if missing.

    Raises ValueError where the file is damaged.
    """
    if not file.exists():
        return []
    header, *rows = read_csv(file) or [[]]
    try:
        return [
            {key: value if key in texts else _number(value) for key, value in zip(header, row, strict=True) if value}
            for row in rows
        ]
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}): remove it, or put back a copy") from error


def _number(cell: str) -> int | float:
    return int(cell) if cell.isdecimal() else float(cell)


def write_rows(file: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write a CSV. Its rows may exist nowhere else, so a crash leaves the previous file whole."""
    with replacing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def grouped(rows: Sequence[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """Rows with the same key, in order of their first occurrence."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups
