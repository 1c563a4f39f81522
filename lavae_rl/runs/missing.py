"""Messages about a folder that was named and is not there, or is not what it should be."""

from collections.abc import Sequence
from pathlib import Path

_MOST = 8


def what_there_is(path: Path, files: Sequence[str]) -> str:
    """Describe what is there in place of a folder with ``files``: the like of it that are nearest."""
    if path.is_file():
        return f"it is a file; name the folder that holds it, {path.parent}"
    if path.is_dir():
        absent = [file for file in files if not (path / file).is_file()]
        return f"{' and '.join(absent)} {'are' if absent[1:] else 'is'} missing there; {_held(path, files)}"
    near = next(parent for parent in path.absolute().parents if parent.is_dir())
    return f"there is no such folder; {_held(near, files)}"


def _held(folder: Path, files: Sequence[str]) -> str:
    try:
        held = sorted(each.name for each in folder.iterdir() if all((each / file).is_file() for file in files))
    except OSError as error:  # the rest of the message stands without it
        return f"{folder} cannot be read ({error})"
    listed = ", ".join(held[:_MOST]) + (", ..." if len(held) > _MOST else "")
    return f"{folder} holds {listed or 'no folder with ' + ' and '.join(files)}"
