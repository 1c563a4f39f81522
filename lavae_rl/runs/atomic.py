"""Files that are whole or not there: written beside their place, then renamed."""

import importlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# On Windows there is none, and two writers of one file are not kept apart.
fcntl: Any = importlib.import_module("fcntl") if find_spec("fcntl") else None

_MARK = ".tmp"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of ``path`` at the end; after an error, ``path`` is what it was.

    It is made and locked at once, so that a place that cannot be written to is an error before any work. It ends as
    ``path`` does, since some libraries go by that. The file gets the mode that the umask asks for. What is no plain
    file, such as /dev/stdout, is written to as it is.

    Raises:
        FileExistsError: another process is writing the same file.
        FileNotFoundError: the folder of ``path`` does not exist.
        IsADirectoryError: ``path`` is a folder.
        OSError: the file cannot be written, or the disk is full.
    """
    if _is_special(path):
        yield path
        return
    _check_place(path)
    place = Path(os.path.realpath(path))
    temporary = place.with_name(f"{place.stem}{_MARK}{place.suffix}")
    with _naming(temporary, path), _claimed(temporary, path) as mode:
        try:
            yield temporary
            _settle(temporary, place, mode)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def optional(path: Path | None) -> Iterator[Path | None]:
    """``replacing``, or None for a file that nobody asked for."""
    if path is None:
        yield None
        return
    with replacing(path) as temporary:
        yield temporary


def is_leftover(path: Path) -> bool:
    """Return whether a killed process can have left a path: half of a file or folder, or the lock of a folder."""
    return path.name == ".lock" or path.name.endswith(_MARK) or f"{_MARK}." in path.name


def _is_special(path: Path) -> bool:
    if not path.exists() or path.is_dir():
        return False
    return not path.is_file() or str(path).startswith(("/dev/", "/proc/"))


def _check_place(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder of {path} does not exist; make it first")
    if path.is_dir():
        raise IsADirectoryError(f"expected a file to write to, got the folder {path}")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"expected a file that can be written to, got {path}: choose another name")


@contextmanager
def _naming(temporary: Path, path: Path) -> Iterator[None]:
    """Name the file that a user asked for in errors of the system, which name the temporary one or none."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def _claimed(temporary: Path, path: Path) -> Iterator[int]:
    """Make and lock a temporary file, or take one that a killed process left; yield the mode of a file made here."""
    if fcntl is None:
        temporary.touch()
        yield stat.S_IMODE(temporary.stat().st_mode)
        return
    descriptor = _open(temporary)
    try:
        while not _is_locked(descriptor, temporary, path):
            os.close(descriptor)
            descriptor = _open(temporary)
        os.ftruncate(descriptor, 0)
        yield stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)  # and the lock with it


def _open(temporary: Path) -> int:
    return os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)


def _is_locked(descriptor: int, temporary: Path, path: Path) -> bool:
    """Lock a file; False if another process has renamed it since it was opened, so that it is not the one any more."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FileExistsError(f"another process is writing {path}; wait for it, or choose another name") from error
    except OSError:
        pass  # some network file systems have no locks
    try:
        return os.path.samestat(os.fstat(descriptor), temporary.stat())
    except FileNotFoundError:
        return False


def _settle(temporary: Path, place: Path, mode: int) -> None:
    """Rename a file once it is on the disk."""
    temporary.chmod(mode)  # some libraries replace the file by one that nobody else may read
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    temporary.replace(place)
    with suppress(OSError):  # folders cannot be opened on every system
        folder = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
