"""Tables of results as CSV files, to which several processes and machines add rows."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from lavae_rl.runs.atomic import replacing

Row = Mapping[str, Any]


@contextmanager
def report_folder(folder: Path) -> Iterator[None]:
    """Lock a folder of tables, creating it if needed, so that one process at a time reads, merges and writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        yield


def read_rows(file: Path, kinds: Mapping[str, type]) -> list[dict[str, Any]]:
    """Read the rows of a CSV of ``write_rows``, without their empty cells; none where there is no file.

    Args:
        file: the CSV.
        kinds: types of the columns that do not hold floats.
    """
    if not file.exists():
        return []
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{key: kinds.get(key, float)(value) for key, value in row.items() if value} for row in rows]


def write_rows(file: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write a CSV. Its rows may exist nowhere else, so a crash leaves the previous file whole."""
    with replacing(file) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
