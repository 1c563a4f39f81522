"""Export a split of a data set as frames and labels, or check such a file.

    python pretrain/make_dataset.py --dataset multi-dsprites --split test --out test.npz --preview test.png
    python pretrain/make_dataset.py --check test.npz

The installed command is lavae-make-dataset.

Training needs no such file: it renders frames as it goes. The format is that of the author's generator; the object
counts in it can also be read without pickle. All frames of the split are held in memory: 2.3 GB for the 190,000 RGB
frames of 64 x 64 pixels of a training split, 0.8 GB in grey.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lavae_rl.data.files import load_npz, write_npz
from lavae_rl.data.sources import DATASETS, SPLITS, SceneDataset, SceneSpec, open_source
from lavae_rl.pictures import mark_centres, png
from lavae_rl.runs.atomic import optional, replacing
from lavae_rl.runs.exits import clean_exit, program_parser
from lavae_rl.shapes import Picture

_PREVIEW_COLUMNS = 4


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line: either a data set to export or a file to check."""
    parser = program_parser(__doc__)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--dataset", choices=list(DATASETS), help="data set to export")
    task.add_argument("--check", type=Path, metavar="FILE.npz", help="load this file and print what is in it")
    parser.add_argument("--split", choices=list(SPLITS), help="split to export")
    parser.add_argument("--num-scenes", type=int, help="export only that many scenes (default: the whole split)")
    parser.add_argument("--seed", type=int, help="seed of the data set, a whole number from 0 (default: 0)")
    parser.add_argument("--mnist-dir", help="folder of MNIST's IDX files, to draw digits from all 60,000")
    parser.add_argument("--out", type=Path, metavar="FILE.npz", help="file to write")
    parser.add_argument("--preview", type=Path, metavar="FILE.png", help="also draw the first 16, centres marked")
    pickled = "with --check: unpickle the labels of a file that has no plain ones, which runs code from the file"
    parser.add_argument("--allow-pickle", action="store_true", default=None, help=pickled)
    args = parser.parse_args(argv)
    chosen, foreign = "--dataset", ["allow_pickle"]
    if args.check is not None:
        chosen, foreign = "--check", ["split", "num_scenes", "seed", "mnist_dir", "out", "preview"]
    for name in foreign:
        if getattr(args, name) is not None:
            parser.error(f"argument --{name.replace('_', '-')}: not allowed with argument {chosen}")
    if args.check is None and (args.split is None or args.out is None):
        parser.error("--dataset needs --split and --out as well")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 done, 1 failed, 2 unusable arguments, 130 stopped."""
    args = parse_args(argv)
    with clean_exit() as console:
        if args.check is None:
            export(args, console)
        else:
            check(args.check, bool(args.allow_pickle), console)


def export(args: argparse.Namespace, console: Console) -> None:
    """Write a split and its preview."""
    refuse_output(args.out, ".npz")
    if args.preview is not None:
        refuse_output(args.preview, ".png")
    with replacing(args.out) as out, optional(args.preview) as drawn:
        dataset = chosen(args)
        if drawn is not None:
            drawn.write_bytes(png(preview(dataset)))
        write_npz(out, dataset)
    shape, size = " x ".join(map(str, dataset.shape)), len(dataset) * math.prod(dataset.shape)
    console.print(
        f"wrote {escape(str(args.out))}: {len(dataset):,} frames of {shape}, "
        f"{args.out.stat().st_size / 1e6:,.2f} MB ({size / 1e6:,.2f} MB in memory)"
    )


def chosen(args: argparse.Namespace) -> SceneDataset:
    """The scenes asked for."""
    whole = open_source(SceneSpec(args.dataset, args.mnist_dir, seed=args.seed or 0), args.split)
    num_scenes = len(whole) if args.num_scenes is None else args.num_scenes
    if not 1 <= num_scenes <= len(whole):
        raise ValueError(f"expected --num-scenes of 1 to {len(whole)} for {args.split}, got {num_scenes}")
    return SceneDataset(whole.scenes[:num_scenes], whole.bank)


def refuse_output(path: Path, suffix: str) -> None:
    """Raise, before any work is done, where a file cannot or should not be written."""
    if path.suffix != suffix:
        raise ValueError(f"expected the name of a {suffix} file, got {path}")
    if path.exists():
        raise FileExistsError(f"{path} is there already; remove it first, or choose another name")


def preview(dataset: SceneDataset) -> Picture:
    """The first 16 frames in rows of four, true centres marked; black where the data set has fewer."""
    scenes, frames = dataset.scenes, dataset[: _PREVIEW_COLUMNS**2]
    marked = [mark_centres(frame, scenes.location[i, : scenes.count[i]]) for i, frame in enumerate(frames)]
    marked += [np.zeros_like(marked[0])] * (-len(marked) % _PREVIEW_COLUMNS)
    rows = [marked[i : i + _PREVIEW_COLUMNS] for i in range(0, len(marked), _PREVIEW_COLUMNS)]
    return np.vstack([np.hstack(row) for row in rows])


def check(path: Path, allow_pickle: bool, console: Console) -> None:
    """Load a file, print the shape and type of its frames and how many scenes have how many objects."""
    frames, count = load_npz(path, allow_pickle)
    console.print(f"{escape(str(path))}: x is {frames.dtype} {frames.shape}")
    table = Table("objects", "scenes", "share")
    for value, scenes in zip(*np.unique(count, return_counts=True), strict=True):
        table.add_row(str(value), f"{scenes:,}", f"{scenes / len(count):.1%}")
    console.print(table)


if __name__ == "__main__":
    main()
