"""Measure a trained LAVAE, or baseline, on the test splits of a data set, or without labels on any frames.

    python pretrain/evaluate_lavae.py multi-dsprites --json metrics.json
    python pretrain/evaluate_lavae.py runs/pong --frames runs/pong/frames --picture pong.png

The installed command is lavae-evaluate.
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich import progress as bars
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lavae_rl.data.recordings import FrameSpec
from lavae_rl.data.sources import DATASETS, open_source
from lavae_rl.evaluation.evaluate import evaluate, evaluate_frames
from lavae_rl.evaluation.figures import reconstruction_figure
from lavae_rl.model.checkpoint import find, load_model
from lavae_rl.pictures import png
from lavae_rl.pretraining.run import check_channels, read_data
from lavae_rl.runs.atomic import optional
from lavae_rl.runs.devices import DEVICES, choose_device
from lavae_rl.runs.exits import clean_exit, program_parser
from lavae_rl.runs.programs import as_typed
from lavae_rl.shapes import Frames


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = program_parser(__doc__)
    parser.add_argument("model", help="bundled name, or folder with config.json and model.safetensors")
    parser.add_argument("--dataset", choices=DATASETS, help="data set to test on (default: that of the training)")
    frames = as_typed("frames to test on, their last 15 %% (what train_lavae.py --frames takes)")
    parser.add_argument("--frames", type=Path, help=frames)
    parser.add_argument("--num-frames", type=int, default=500, help="with --frames: how many (default: 500)")
    parser.add_argument("--num-scenes", type=int, default=10_000, help="scenes of each test split (default: 10,000)")
    parser.add_argument("--num-samples", type=int, default=100, help="importance samples of the bound (default: 100)")
    parser.add_argument("--bound-scenes", type=int, default=1_000, help="scenes of ELBO and bound (default: 1,000)")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where to run (default: cpu)")
    parser.add_argument("--mnist-dir", help="folder of MNIST's IDX files to draw from (default: that of the training)")
    parser.add_argument("--json", type=Path, help="file to write the metrics to")
    parser.add_argument("--picture", type=Path, help="PNG to draw: frames, reconstructions, what is found")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 done, 1 failed, 2 unusable arguments, 130 stopped."""
    args = parse_args(argv)
    with clean_exit() as console:
        dataset, metrics = run(args, console)
    table = Table(title=f"{escape(args.model)} on {dataset}", show_header=False, title_justify="left")
    for name, value in metrics.items():
        table.add_row(name, "none found" if value is None else f"{value:.4f}")
    console.print(table)


def run(args: argparse.Namespace, console: Console) -> tuple[str, dict[str, float | None]]:
    """Measure, and write the files that the arguments name; return the data set and the metrics."""
    for name in ("num_scenes", "num_samples", "bound_scenes", "num_frames"):
        if getattr(args, name) < 1:
            raise ValueError(f"expected --{name.replace('_', '-')} of at least 1, got {getattr(args, name)}")
    with optional(args.picture) as picture, optional(args.json) as file:
        measured = measure(args, console, picture)
        if file is not None:
            file.write_text(json.dumps(measured.metrics, indent=2) + "\n")
    return measured.name, measured.metrics


class Measured(NamedTuple):
    """Measurements on a source of some name, and frames of it to draw."""

    name: str
    metrics: dict[str, float | None]
    shown: Frames


def measure(args: argparse.Namespace, console: Console, picture: Path | None) -> Measured:
    """Measure under a progress bar, and draw a picture if asked for."""
    model = load_model(args.model, choose_device(args.device))
    columns = bars.TextColumn("frames read"), bars.BarColumn(20), bars.MofNCompleteColumn(), bars.TimeElapsedColumn()
    with bars.Progress(*columns, console=console, transient=True) as bar:
        measured = (measure_scenes if args.frames is None else measure_frames)(args, model, bar)
    if picture is not None:
        picture.write_bytes(png(reconstruction_figure(model, measured.shown)))
    return measured


def measure_scenes(args: argparse.Namespace, model: Any, bar: bars.Progress) -> Measured:
    """Measure on scenes with truth."""
    data = read_data(find(args.model), args.dataset, args.mnist_dir)
    check_channels(model, data)
    bound_scenes = min(args.num_scenes, args.bound_scenes)
    task = bar.add_task("", total=2 * args.num_scenes * model.finds_objects + bound_scenes)
    metrics = evaluate(model, data, args.num_scenes, args.num_samples, bound_scenes, partial(bar.advance, task))
    return Measured(data.dataset, metrics, open_source(data, "test-7")[:6])


def measure_frames(args: argparse.Namespace, model: Any, bar: bars.Progress) -> Measured:
    """Measure on frames without truth."""
    if not model.finds_objects:
        raise ValueError(f"expected a LAVAE with --frames, got {args.model}, which finds no objects")
    spec = FrameSpec(str(args.frames))
    source = open_source(spec, "test")
    shown = np.linspace(0, len(source) - 1, 4).round().astype(int)
    task = bar.add_task("", total=2 * min(args.num_frames, len(source)))
    metrics = evaluate_frames(model, spec, args.num_frames, partial(bar.advance, task))
    return Measured(str(args.frames), metrics, source[shown])


if __name__ == "__main__":
    main()
