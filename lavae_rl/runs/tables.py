"""Tables of results as CSV files, to which several processes and machines add rows."""

import csv
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lavae_rl.runs.atomic import replacing
from lavae_rl.runs.locks import locked

Row = Mapping[str, Any]


@contextmanager
def report_folder(folder: Path) -> Iterator[None]:
    """Lock a folder of tables, creating it if needed, so that one process at a time reads, merges and writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        yield


def read_rows(file: Path, texts: Collection[str]) -> list[Row]:
    """Read a CSV of ``write_rows``, without its empty cells: numbers, but texts in columns ``texts``; [] if missing."""
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [{key: value if key in texts else _number(value) for key, value in row.items() if value} for row in rows]


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
