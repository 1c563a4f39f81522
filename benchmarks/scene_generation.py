"""Measure how fast scenes are sampled and rendered, against a plain loop over scenes in NumPy.

python benchmarks/scene_generation.py --json scene_generation.json

Both sides follow the same placement rule with the same bank, and are timed in turns, so that whatever else the
machine does hits both. Then the memory and the time it takes to build the training split of 190,000 scenes.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from lavae_rl.data.scenes import GAP, render_scenes, sample_scenes
from lavae_rl.data.sources import load_bank, load_dataset
from lavae_rl.data.sprites import SpriteBank
from lavae_rl.runs.exits import program_console
from lavae_rl.shapes import Frames

CANVAS_SIZE = (64, 64)
TRIES_PER_OBJECT = 64
COUNTS = {"0 to 3 objects": (0, 3), "7 objects": (7, 7)}
BATCHES = (64, 1024)
SCENES_PER_ROUND = {
    "0 to 3 objects": {"lavae_rl": 16_384, "plain loop": 2_048},
    "7 objects": {"lavae_rl": 2_048, "plain loop": 1_024},
}
"""Multiples of the batches: at least a tenth of a second each, the whole in less than half a minute."""


def make_batched(rng: np.random.Generator, bank: SpriteBank, num_scenes: int, counts: tuple[int, int]) -> Frames:
    """A batch of frames by ``lavae_rl.data.scenes``."""
    return render_scenes(sample_scenes(rng, bank, num_scenes, counts, CANVAS_SIZE), bank)


def make_one_by_one(rng: np.random.Generator, bank: SpriteBank, num_scenes: int, counts: tuple[int, int]) -> Frames:
    """A batch of frames the plain way: scene by scene, object by object, a slice at a time."""
    frames = np.zeros((num_scenes, *CANVAS_SIZE, bank.channels), np.uint8)
    boxes = (bank.boxes + np.array([-GAP, -GAP, GAP, GAP])).tolist()
    for frame in frames:
        sprites = rng.integers(len(bank), size=rng.integers(counts[0], counts[1] + 1)).tolist()
        corners = None
        while corners is None:
            corners = place([boxes[sprite] for sprite in sprites], rng, bank.size)
        for sprite, (row, column) in zip(sprites, corners, strict=True):
            window = frame[row : row + bank.size, column : column + bank.size]
            np.maximum(window, bank.patches[sprite], out=window)
    return frames


def place(boxes: list[list[int]], rng: np.random.Generator, size: int) -> list[tuple[int, int]] | None:
    """Corners of the patches of one scene; None where an object finds no place. Plain integers beat arrays here."""
    corners: list[tuple[int, int]] = []
    taken: list[tuple[int, int, int, int]] = []
    for top, left, bottom, right in boxes:
        for _ in range(TRIES_PER_OBJECT):
            row, column = int(rng.integers(CANVAS_SIZE[0] - size + 1)), int(rng.integers(CANVAS_SIZE[1] - size + 1))
            t, l, b, r = top + row, left + column, bottom + row, right + column  # noqa: E741
            if all(t >= b2 or t2 >= b or l >= r2 or l2 >= r for t2, l2, b2, r2 in taken):
                corners.append((row, column))
                taken.append((t, l, b, r))
                break
        else:
            return None
    return corners


def scenes_per_second(make: Callable[[int], Frames], total: int, batch: int) -> float:
    """Speed over ``total`` scenes made in batches."""
    start = time.perf_counter()
    for _ in range(total // batch):
        make(batch)
    return total / (time.perf_counter() - start)


def peak_megabytes() -> float:
    """Most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def measure_split() -> dict[str, float]:
    """Time and memory of the training split; the bank is drawn once before, so that only the rise counts."""
    load_bank("multi-dsprites")
    before, start = peak_megabytes(), time.perf_counter()
    scenes = load_dataset("multi-dsprites", "train").scenes
    seconds = time.perf_counter() - start
    held = scenes.sprite_index.nbytes + scenes.location.nbytes + scenes.count.nbytes
    return {"scenes": len(scenes), "seconds": seconds, "held_mb": held / 1e6, "peak_rise_mb": peak_megabytes() - before}


def measure_speed(title: str, batch: int, rounds: int) -> dict[str, Any]:
    """Scenes per second of both sides, in alternating rounds, after one batch of warm-up each."""
    bank, rng, counts = load_bank("multi-dsprites"), np.random.default_rng(0), COUNTS[title]
    sides: dict[str, Callable[[int], Frames]] = {
        "lavae_rl": lambda n: make_batched(rng, bank, n, counts),
        "plain loop": lambda n: make_one_by_one(rng, bank, n, counts),
    }
    for make in sides.values():
        make(batch)
    speeds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, make in sides.items():
            speeds[side].append(scenes_per_second(make, SCENES_PER_ROUND[title][side], batch))
    ratio = statistics.median(speeds["lavae_rl"]) / statistics.median(speeds["plain loop"])
    return {"scenes": title, "batch": batch, "scenes_per_second": speeds, "ratio": ratio}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side (default: 5)")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error(f"expected --rounds of at least 1, got {args.rounds}")
    console = program_console()
    split = measure_split()  # first, while the peak of the process is still low
    table = Table("scenes", "batch", "made by", "median", "min", "max", "ratio", title="scenes per second")
    results = [measure_speed(title, batch, args.rounds) for title in COUNTS for batch in BATCHES]
    for result in results:
        for side, speeds in result["scenes_per_second"].items():
            figures = (f"{figure(speeds):,.0f}" for figure in (statistics.median, min, max))
            ratio = f"{result['ratio']:.1f}" if side == "lavae_rl" else ""
            table.add_row(result["scenes"], str(result["batch"]), side, *figures, ratio)
    console.print(table)
    console.print(
        f"training split of {split['scenes']:,} scenes: {split['seconds']:.2f} s, holds {split['held_mb']:.1f} MB, "
        f"peak memory rose by {split['peak_rise_mb']:.0f} MB (its frames would take 2,335 MB)",
        soft_wrap=True,
    )
    if args.json is not None:
        args.json.write_text(json.dumps({"speed": results, "training_split": split}, indent=2) + "\n")


if __name__ == "__main__":
    main()
