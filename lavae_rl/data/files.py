"""Frames and counts in npz files of the author's format."""

import zlib
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from lavae_rl.data.sources import SceneDataset
from lavae_rl.shapes import Counts, Frames

_SAVE = "save both, by np.savez(file, x=frames, n_obj=counts); train_lavae.py --frames takes frames alone"


def save_npz(path: str | Path, dataset: SceneDataset) -> None:
    """Write frames and labels in the format of the author's generator, readable with and without pickle.

    ``x`` holds frames, uint8 (N, height, width, channels). ``labels`` is the author's pickled dictionary: ``n_obj``
    and, for each attribute, one array per scene. The same values stand beside it as plain arrays without pickle:
    ``n_obj`` (N,), ``location`` (N, slots, 2) and each attribute (N, slots).
    """
    scenes, bank = dataset.scenes, dataset.bank
    plain = {name: values[scenes.sprite_index] for name, values in bank.attributes.items()}
    plain["location"] = scenes.location
    ragged = {name: [row[:n] for row, n in zip(rows, scenes.count, strict=True)] for name, rows in plain.items()}
    labels = np.array({"n_obj": scenes.count, **ragged}, dtype=object)
    np.savez_compressed(path, x=dataset[:], labels=labels, n_obj=scenes.count, **plain)


def load_npz(path: str | Path, allow_pickle: bool = False) -> tuple[Frames, Counts]:
    """Read frames and object counts from an npz file with ``x`` and ``n_obj`` or the author's pickled ``labels``.

    Args:
        path: the file.
        allow_pickle: unpickle a file without plain ``n_obj``. Unpickling runs code that the file contains: only for
            files from people you trust.

    Raises:
        ValueError: not such a file; frames of the wrong type or shape; or pickle is needed and not allowed.
    """
    with Path(path).open("rb") as file:
        if file.read(6) == b"\x93NUMPY":
            raise ValueError(f"expected an npz file of arrays 'x' and 'n_obj', got one array in {path}: {_SAVE}")
    try:
        with ZipFile(path) as archive:
            names = {Path(member).stem for member in archive.namelist()}
    except BadZipFile as error:
        raise ValueError(f"{path} is not an npz file or is truncated ({error})") from error
    try:
        return _read_npz(path, names, allow_pickle)
    except (BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error})") from error


def _read_npz(path: str | Path, names: set[str], allow_pickle: bool) -> tuple[Frames, Counts]:
    if "x" not in names or not names & {"n_obj", "labels"}:
        raise ValueError(f"expected arrays 'x' and 'labels' (or 'n_obj') in {path}, got {sorted(names)}")
    plain = "n_obj" in names
    if not plain and not allow_pickle:
        raise ValueError(
            f"the labels in {path} are pickled, and unpickling runs code from the file. If you trust its author, "
            "load it with allow_pickle=True (--allow-pickle)"
        )
    with np.load(path, allow_pickle=not plain) as data:
        frames, count = data["x"], data["n_obj" if plain else "labels"]
    if not plain:
        if count.shape != () or not isinstance(count.item(), dict) or "n_obj" not in count.item():
            raise ValueError(f"expected 'labels' in {path} to be a dictionary with a key 'n_obj'")
        count = count.item()["n_obj"]
    count = np.asarray(count, np.int64)
    if frames.dtype != np.uint8 or frames.ndim != 4 or count.shape != frames.shape[:1]:
        raise ValueError(
            f"expected 'x' as uint8 (N, height, width, channels) and N counts in {path}, "
            f"got {frames.dtype} {frames.shape} and {count.shape}"
        )
    return frames, count
