"""Frames encoded per second by a model with a background: searched where they differ from it, and read whole.

    python benchmarks/world_encoding.py                                  # an untrained model on synthetic frames
    python benchmarks/world_encoding.py --model runs/pong --frames frames.npy

Both give the same objects, which is checked. They take turns, so that what else the machine does slows down both.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from lavae_rl.model import search
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objects import Objects
from lavae_rl.shapes import Frames

SIZE = (210, 160)
BATCHES = (1, 64)
ALWAYS_WHOLE = -1.0
"""Share of a frame beyond which it is read whole."""


def untrained_model() -> LAVAE:
    """The networks of the recipe for environments, on a background of one colour."""
    config = LAVAEConfig(
        networks="world",
        scales=(1, 2),
        likelihood="normal",
        composition="over",
        background_states=1,
        canvas_size=SIZE,
    )
    return LAVAE(config)


def synthetic_frames(model: LAVAE, number: int, blobs: int) -> Frames:
    """Frames of the background with some bright blobs of 4 to 16 px a side on each."""
    rng = np.random.default_rng(0)
    background: Frames = model.get_buffer("background.states")[0].permute(1, 2, 0).numpy()
    frames = np.repeat(background[None], number, axis=0)
    for frame in frames:
        for _ in range(blobs):
            sides = rng.integers(4, 17, 2)
            row, column = rng.integers(0, np.array(SIZE) - sides)
            frame[row : row + sides[0], column : column + sides[1]] = rng.integers(160, 256, 3)
    return frames


def recorded_frames(path: Path, number: int) -> Frames:
    """Frames spread over a recording."""
    frames = np.load(path, mmap_mode="r")
    return np.ascontiguousarray(frames[np.linspace(len(frames) // 4, len(frames) - 1, number).astype(int)])


def encode(model: LAVAE, frames: Frames, share: float) -> Objects:
    with patch.object(search, "LARGEST_SHARE", share):
        return model.encode(frames)


def measure(model: LAVAE, frames: Frames, rounds: int) -> dict[str, float]:
    """Median frames per second of both ways."""
    found, expected = encode(model, frames, search.LARGEST_SHARE), encode(model, frames, ALWAYS_WHOLE)
    if not (np.array_equal(found.count, expected.count) and np.array_equal(found.location, expected.location)):
        raise AssertionError("searching found other objects than reading whole frames")
    seconds: dict[str, list[float]] = {"searched": [], "whole": []}
    for _ in range(rounds):
        for way, share in (("searched", search.LARGEST_SHARE), ("whole", ALWAYS_WHOLE)):
            start = time.perf_counter()
            encode(model, frames, share)
            seconds[way].append(time.perf_counter() - start)
    results = {
        f"{way}_{kind}": len(frames) / value
        for way, times in seconds.items()
        for kind, value in (("median", median(times)), ("best", min(times)))
    }
    return results | {"objects": float(found.count.mean())}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a model with a background (default: an untrained one)")
    parser.add_argument("--frames", type=Path, help=".npy of frames for the model (default: synthetic ones)")
    parser.add_argument("--blobs", type=int, default=3, help="blobs on each synthetic frame (default: 3)")
    parser.add_argument("--rounds", type=int, default=15, help="repetitions, of which the median counts (default: 15)")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args(argv)
    model = LAVAE.from_pretrained(args.model) if args.model else untrained_model()
    results = {}
    load = f"load {os.getloadavg()[0]:.1f}"
    table = Table(title=f"{args.model or 'untrained'}, {torch.get_num_threads()} threads, {load}", title_justify="left")
    for name in ("batch", "objects a frame", "searched, frames/s", "best", "read whole, frames/s", "best", "ratio"):
        table.add_column(name, justify="right")
    for batch in BATCHES:
        frames = recorded_frames(args.frames, batch) if args.frames else synthetic_frames(model, batch, args.blobs)
        results[batch] = found = measure(model, frames, args.rounds)
        values = [found[name] for name in ("searched_median", "searched_best", "whole_median", "whole_best")]
        ratio = f"{values[0] / values[2]:.1f}"
        table.add_row(str(batch), f"{found['objects']:.1f}", *(f"{value:,.0f}" for value in values), ratio)
    Console().print(table)
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
