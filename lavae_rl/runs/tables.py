"""Tables of results as CSV files, which several sessions and machines add to."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

Row = Mapping[str, Any]


@contextmanager
def report_folder(folder: Path) -> Iterator[None]:
    """A folder of tables, made if it is missing, for one process at a time: what it reads there is what it adds to."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        yield


def read_rows(file: Path, kinds: Mapping[str, type]) -> list[dict[str, Any]]:
    """Rows of a CSV that ``write_rows`` wrote; none where there is no file.

    Args:
        file: the CSV.
        kinds: types of the columns that are no floats.

    Returns:
        Rows without the cells that are empty.
    """
    if not file.exists():
        return []
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{key: kinds.get(key, float)(value) for key, value in row.items() if value} for row in rows]


def write_rows(file: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Writes a CSV. What is in it may be nowhere else: a crash leaves the previous one whole."""
    temporary = file.with_suffix(".tmp")
    with temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(file)
