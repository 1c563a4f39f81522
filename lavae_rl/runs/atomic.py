"""Files that are whole or not there: written beside their place, then renamed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of ``path`` at the end; after an error, ``path`` is what it was.

    It ends as ``path`` does, since some libraries go by that. The file gets the permissions that the umask gives to new
    files, which some libraries narrow to the owner.
    """
    temporary = path.with_name(f"{path.stem}.tmp{path.suffix}")
    temporary.unlink(missing_ok=True)
    temporary.touch()
    mode = temporary.stat().st_mode
    yield temporary
    if temporary.stat().st_mode != mode:
        temporary.chmod(mode)
    temporary.replace(path)
