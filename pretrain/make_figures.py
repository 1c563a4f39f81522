"""Draw the paper's figures 1 to 9 with a trained model, and measure what an intervention changes.

    python pretrain/make_figures.py multi-dsprites --out figures

The installed command is lavae-figures.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Table

from lavae_rl.data.sources import DATASETS, SceneDataset, open_source
from lavae_rl.evaluation import gallery
from lavae_rl.evaluation.interventions import MoveErrors, measure_moves
from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.checkpoint import find
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pictures import save_png
from lavae_rl.pretraining.run import check_channels, read_data
from lavae_rl.runs.atomic import replacing
from lavae_rl.runs.exits import clean_exit, program_parser
from lavae_rl.shapes import Picture

MOVES_FILE = "interventions.json"
MOST_OBJECTS = 8


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = program_parser(__doc__)
    parser.add_argument("model", help="bundled name, or folder with config.json and model.safetensors")
    parser.add_argument(
        "--dataset", choices=list(DATASETS), help="data set of the scenes (default: that of the training)"
    )
    parser.add_argument("--baseline", help="folder of a trained baseline: draws its samples too")
    parser.add_argument("--out", type=Path, required=True, help="folder for the PNGs; made if it is missing")
    parser.add_argument("--num-scenes", type=int, default=1_000, help="scenes to intervene on (default: 1,000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of samples and interventions (default: 0)")
    parser.add_argument("--mnist-dir", help="folder of MNIST's IDX files to draw from (default: that of the training)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 done, 1 failed, 2 unusable arguments, 130 stopped."""
    args = parse_args(argv)
    with clean_exit(errors=(ValueError, TypeError, OSError)) as console:
        errors = run(args)
    table = Table(title="One object moved, drawn and encoded again", show_header=False, title_justify="left")
    for name, value in dataclasses.asdict(errors).items():
        table.add_row(name, "none" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4f}")
    console.print(table, f"pictures and {MOVES_FILE} in {escape(str(args.out))}")


def run(args: argparse.Namespace) -> MoveErrors:
    """Draw the figures and measure the interventions."""
    if args.num_scenes < 1:
        raise ValueError(f"expected --num-scenes of at least 1, got {args.num_scenes}")
    args.out.mkdir(parents=True, exist_ok=True)  # first, for it may be where nothing can be written
    model = LAVAE.from_pretrained(args.model)
    baseline = None if args.baseline is None else ConvVAE.from_pretrained(args.baseline)
    data = read_data(find(args.model), args.dataset, args.mnist_dir)
    check_channels(model, data)
    few, seven = (open_source(data, split) for split in ("test", "test-7"))
    for name, picture in pictures(model, baseline, few, seven, args.seed):
        save_png(args.out / f"{name}.png", picture)
    errors = measure_moves(model, few[: args.num_scenes], args.seed)
    with replacing(args.out / MOVES_FILE) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(errors), indent=2) + "\n")
    return errors


def pictures(
    model: LAVAE, baseline: ConvVAE | None, few: SceneDataset, seven: SceneDataset, seed: int
) -> Iterator[tuple[str, Picture]]:
    """Yield figures one by one, so that those before a figure that a poor model cannot draw are saved."""
    canvas_size = few.scenes.canvas_size
    several = np.flatnonzero(few.scenes.count == few.scenes.count.max())[:6]
    yield "inference", gallery.inference(model, few[several])
    yield "inference-7", gallery.inference(model, seven[:4])
    yield "samples", gallery.samples(model, 4, 8, seed, canvas_size)
    yield "samples-counted", gallery.counted_samples(model, MOST_OBJECTS, 3, seed, canvas_size)
    if baseline is not None:
        yield "samples-baseline", gallery.samples(baseline, 4, 8, seed, canvas_size)
    yield "interventions", gallery.interventions(model, few[several[:1]], seed)
    yield "interventions-7", gallery.interventions(model, seven[:1], seed)


if __name__ == "__main__":
    main()
