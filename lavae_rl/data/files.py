"""Frames and counts in npz files of the author's format."""

from pathlib import Path

import numpy as np

from lavae_rl.data.arrays import MAGIC, array_names, first_bytes, read_array
from lavae_rl.data.sources import SceneDataset
from lavae_rl.runs.atomic import replacing
from lavae_rl.shapes import Counts, Frames

_SAVE = "save both, by np.savez(file, x=frames, n_obj=counts); lavae-train --frames takes frames alone"


def save_npz(path: str | Path, dataset: SceneDataset) -> None:
    """Write a data set as a whole, see ``write_npz``; the file is there at the end, or is what it was."""
    path = Path(path)
    with replacing(path.with_name(path.name.removesuffix(".npz") + ".npz")) as temporary:  # as NumPy itself names it
        write_npz(temporary, dataset)


def write_npz(path: Path, dataset: SceneDataset) -> None:
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
    path = Path(path)
    if first_bytes(path) == MAGIC:
        raise ValueError(f"expected an npz file of arrays 'x' and 'n_obj', got one array in {path}: {_SAVE}")
    names = array_names(path)
    if "x" not in names or not {"n_obj", "labels"} & {*names}:
        raise ValueError(f"expected arrays 'x' and 'labels' (or 'n_obj') in {path}, got {sorted(names)}")
    if "n_obj" in names:
        count = read_array(path, "n_obj")
    elif allow_pickle:
        labels = read_array(path, "labels", allow_pickle)
        if labels.shape != () or not isinstance(labels.item(), dict) or "n_obj" not in labels.item():
            raise ValueError(f"expected 'labels' in {path} to be a dictionary with a key 'n_obj'")
        count = np.asarray(labels.item()["n_obj"])
    else:
        raise ValueError(
            f"the labels in {path} are pickled, and unpickling runs code from the file. If you trust its author, "
            "load it with allow_pickle=True (--allow-pickle)"
        )
    frames, count = read_array(path, "x"), _whole(count, path)
    if frames.dtype != np.uint8 or frames.ndim != 4 or count.shape != frames.shape[:1]:
        raise ValueError(
            f"expected 'x' as uint8 (N, height, width, channels) and N counts in {path}, "
            f"got {frames.dtype} {frames.shape} and {count.shape}"
        )
    return frames, count


def _whole(count: np.ndarray, path: Path) -> Counts:
    """Counts as whole numbers, which they have to be, whatever their type. Raises ValueError where they are not."""
    if count.dtype.kind not in "iuf" or not (count == np.clip(np.nan_to_num(count), 0, 2**31)).all():
        some = ", ".join(map(str, count.ravel()[:3]))
        raise ValueError(f"expected counts of objects, whole numbers from 0, in {path}, got {count.dtype}: {some} ...")
    whole = count.astype(np.int64)
    if not (whole == count).all():
        raise ValueError(f"expected counts of objects, whole numbers from 0, in {path}, got fractions")
    return whole
