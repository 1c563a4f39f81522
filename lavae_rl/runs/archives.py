"""Zip files that may be damaged or hostile: read in memory for what they hold, and no more."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from lavae_rl.runs.reading import check_file, shortened

_ENCRYPTED = 0x1
_MOST_DEFLATED = 1_032
"""Most bytes that a byte of Deflate can stand for."""

DAMAGED = (BadZipFile, EOFError, LookupError, NotImplementedError, RuntimeError, UnicodeError, zlib.error)
"""Exceptions that reading a damaged zip file raises, besides errors of the system."""


@contextmanager
def open_zip(path: Path, kind: str) -> Iterator[ZipFile]:
    """Open a zip file, and check all of its members.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, encrypted, or no zip file; ``kind`` says what it should be.
    """
    check_file(path)
    try:
        archive = ZipFile(path)
    except DAMAGED as error:
        raise ValueError(f"{path} is not an {kind} or is truncated ({shortened(error)})") from error
    try:
        with archive:
            for member in archive.infolist():
                _check_member(member, path.stat().st_size)
            yield archive
    except DAMAGED as error:
        raise ValueError(f"{path} is damaged ({shortened(error)})") from error


def _check_member(member: ZipInfo, size: int) -> None:
    """Refuse what cannot be read, and sizes that so few bytes cannot have."""
    if member.flag_bits & _ENCRYPTED:
        raise BadZipFile(f"{member.filename} is encrypted")
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise BadZipFile(f"{member.filename} is compressed by another method than Deflate")
    most = member.compress_size * (1 if member.compress_type == ZIP_STORED else _MOST_DEFLATED)
    if member.compress_size > size or member.file_size > most:
        raise BadZipFile(f"{member.filename} cannot have the size that it claims, {member.file_size:,} bytes")
