"""Frames encoded per second by a model with a background: recalled, searched where they differ from it, read whole.

    python benchmarks/world_encoding.py                                  # an untrained model on synthetic frames
    python benchmarks/world_encoding.py --model runs/pong --frames frames.npy

*recalled* are frames in the order of a recording, of which parts are as in earlier ones; *searched* are frames of which
nothing is remembered. All give the same objects, which is checked. They take turns, so that what else the machine does
slows down all of them.
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
from rich.table import Table

from lavae_rl.model import search
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objects import Objects
from lavae_rl.runs.exits import program_console
from lavae_rl.shapes import Frames

SIZE = (210, 160)
BATCHES = (1, 64)
WAYS = ("recalled", "searched", "whole")
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
    """The second half of a recording, as many whole batches as it holds."""
    frames = np.load(path, mmap_mode="r")
    second = frames[len(frames) // 2 :]
    return np.ascontiguousarray(second[: len(second) // number * number])


def encode(model: LAVAE, frames: Frames, way: str) -> Objects:
    """Encode a batch; only what is "recalled" remembers the batches before."""
    if way != "recalled":
        model._evaluated().forget()  # type: ignore[operator]
    with patch.object(search, "LARGEST_SHARE", ALWAYS_WHOLE if way == "whole" else search.LARGEST_SHARE):
        return model.encode(frames)


def measure(model: LAVAE, remembering: LAVAE, frames: Frames, batch: int, rounds: int) -> dict[str, float]:
    """Median frames per second of all ways, over batches in their order."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    objects = []
    batches = [frames[start : start + batch] for start in range(0, len(frames) - batch + 1, batch)]
    for given in batches[:rounds]:
        found = {}
        for way in WAYS:
            start = time.perf_counter()
            found[way] = encode(remembering if way == "recalled" else model, given, way)
            seconds[way].append(time.perf_counter() - start)
        whole = found["whole"]
        objects.append(whole.count.mean())
        if not all(np.array_equal(each.location, whole.location) for each in found.values()):
            raise AssertionError("searching found other objects than reading whole frames")
    # What is recalled becomes more and more at first, so the second half of the batches counts, for all ways.
    medians = {way: batch / median(times[len(times) // 2 :]) for way, times in seconds.items()}
    return medians | {"objects": float(np.mean(objects))}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a model with a background (default: an untrained one)")
    parser.add_argument("--frames", type=Path, help=".npy of a recording for the model (default: synthetic frames)")
    parser.add_argument("--blobs", type=int, default=3, help="blobs on each synthetic frame (default: 3)")
    parser.add_argument("--rounds", type=int, default=30, help="batches, of whose second half the median counts")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args(argv)
    model, remembering = (LAVAE.from_pretrained(args.model) if args.model else untrained_model() for _ in range(2))
    results = {}
    load = f"load {os.getloadavg()[0]:.1f}"
    table = Table(title=f"{args.model or 'untrained'}, {torch.get_num_threads()} threads, {load}", title_justify="left")
    for name in ("batch", "objects a frame", *(f"{way}, frames/s" for way in WAYS)):
        table.add_column(name, justify="right")
    for batch in BATCHES:
        number = batch * args.rounds
        frames = recorded_frames(args.frames, batch) if args.frames else synthetic_frames(model, number, args.blobs)
        results[batch] = found = measure(model, remembering, frames, batch, args.rounds)
        speeds = (f"{found[way]:,.0f} ({found[way] / found['whole']:.1f}x)" for way in WAYS)
        table.add_row(str(batch), f"{found['objects']:.1f}", *speeds)
    program_console().print(table)
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
