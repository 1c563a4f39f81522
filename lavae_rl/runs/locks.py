"""Locks of files, where the file system has them."""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

from lavae_rl.warn import warn_user

_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


@contextmanager
def locked(path: Path, timeout: int = -1) -> Iterator[None]:
    """Hold a lock; where the file system has none, as some network drives, warn and go on without.

    Args:
        path: of a file that is made for the lock, in a folder that exists.
        timeout: seconds to wait for another process; -1 waits for ever.

    Raises:
        filelock.Timeout: another process held the lock all the time.
    """
    lock = FileLock(path, timeout=timeout)
    try:
        _try_locks(path.parent)
        lock.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warn_user(
            f"the file system of {path.parent} has no locks ({error.strerror}): nothing notices if two programs write "
            "there, so start one at a time"
        )
    try:
        yield
    finally:
        lock.release()


def _try_locks(folder: Path) -> None:
    """Raise the OSError of a folder without locks, some of which FileLock would replace by files that can stay."""
    if find_spec("fcntl") is not None:
        import fcntl  # there is none on Windows

        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
