"""F1 of detection on games with known objects, of LAVAE and of a detector without learning, by the same rule.

    python benchmarks/detection.py --games Pong SpaceInvaders --seeds 0 1 2 --minutes 10
    python benchmarks/detection.py --games Pong --minutes 0            # without learning alone
    python benchmarks/detection.py --games Pong --models Pong=runs/pong

Games are those of Atari (true objects by OCAtari, or --files), minatar-breakout and its like, ids of Minigrid, and
sprites-plain, -coloured, -textured and -changing. For each game and seed a LAVAE is trained on frames of a random
policy and measured on every fifth step of another roll-out. The rule stands in ``lavae_rl.evaluation.detection``: only
moving objects whose centre lies in the playfield count. *components* are those of the difference to the mode of 200
training frames. A folder in --out that holds a model already is measured as it is.
"""

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Column, Table
from truths.games import open_game
from truths.truth import Game, Rectangle, Truth, inside

from lavae_rl.evaluation.components import ComponentDetector, background_states
from lavae_rl.evaluation.detection import Detection, measure_detection
from lavae_rl.model.lavae import LAVAE
from lavae_rl.runs.atomic import replacing
from lavae_rl.runs.exits import EXIT_STOPPED, clean_exit, program_parser
from lavae_rl.runs.provenance import Provenance
from lavae_rl.runs.tables import grouped, write_rows
from lavae_rl.shapes import Frames

Predictions = list[tuple[np.ndarray, np.ndarray]]
"""For each frame the boxes (objects, 4), see ``lavae_rl.evaluation.detection``, and their confidence."""
Predict = Callable[[Frames], Predictions]

TEST_SEED = 10_000
"""Added to a seed of training, which is below it, for the frames of the test."""
BACKGROUND_FRAMES, BACKGROUND_GAP = 200, 10
"""The background is taken from so many frames, so many steps apart."""
TRAINING_FRAMES = 4_000
"""Number of frames written for a game that ``train_lavae.py`` cannot open."""
TRAIN = Path(__file__).parents[1] / "pretrain" / "train_lavae.py"
BATCH = 50

COLUMNS: dict[str, tuple[str, float]] = {
    "f1": ("F1", 100),
    "near_f1": ("F1<5px", 100),
    "exact_count": ("exact", 100),
    "duplicates_per_100": ("dupl.", 1),
    "visible_share": ("seen", 100),
    "visible_f1": ("F1seen", 100),
    "visible_exact_count": ("ex.seen", 100),
}
"""The metrics that are printed: title and factor; *seen* are visible objects, *exact* frames with the exact count."""


def lavae_predictor(folder: Path) -> Predict:
    """The detector of a trained model. The rule reads centres only, so a location is a box of size 0."""
    model = LAVAE.from_pretrained(folder).eval()

    def predict(frames: Frames) -> Predictions:
        found: Predictions = []
        for start in range(0, len(frames), BATCH):
            objects = model.encode(frames[start : start + BATCH]).numpy()
            for location, presence, mask in zip(objects.location, objects.presence, objects.mask, strict=True):
                centre = location[mask] + 0.5  # of a pixel
                found.append((np.concatenate([centre, np.zeros_like(centre)], 1), presence[mask]))
        return found

    return predict


def components_predictor(game: Game, seed: int, playfield: Rectangle) -> ComponentDetector:
    """The detector without learning, blind outside the playfield."""
    moments = islice(game.play(seed), 0, BACKGROUND_FRAMES * BACKGROUND_GAP, BACKGROUND_GAP)
    return ComponentDetector(background_states(np.stack([moment.frame for moment in moments])), playfield=playfield)


def measure(predict: Predict, truth: Truth, visible: Sequence[np.ndarray]) -> Detection:
    """Compare what is predicted inside the playfield with the truth."""
    predicted = []
    for boxes, confidence in predict(truth.frames):
        boxes = boxes[np.argsort(-confidence, kind="stable")]
        predicted.append(boxes[inside(boxes, truth.playfield)])
    height, width = truth.frames.shape[1:3]
    return measure_detection(predicted, truth.boxes, (height, width), visible=visible)


def write_episodes(game: Game, seed: int, folder: Path) -> None:
    """Write training frames as one .npy of (steps, height, width, 3) for each episode."""
    folder.mkdir(parents=True, exist_ok=True)
    moments = list(islice(game.play(seed), TRAINING_FRAMES))
    starts = [i for i, moment in enumerate(moments) if moment.first]
    for number, (start, stop) in enumerate(zip(starts, [*starts[1:], len(moments)], strict=True)):
        np.save(folder / f"episode-{number:04d}.npy", np.stack([moment.frame for moment in moments[start:stop]]))


def train(game: Game, seed: int, minutes: float, folder: Path) -> None:
    """Train a LAVAE on a game, interrupted after ``minutes`` if it is not complete by then.

    Raises:
        ValueError: the program fails, or leaves no model.
    """
    frames = folder.with_name(folder.name + "-frames")
    if game.env_id is None:
        write_episodes(game, seed, frames)
    source = ["--frames", str(frames)] if game.env_id is None else ["--env", game.env_id]
    with subprocess.Popen([sys.executable, str(TRAIN), *source, "--seed", str(seed), "--out", str(folder)]) as process:
        try:
            status = process.wait(minutes * 60)
        except subprocess.TimeoutExpired:
            process.terminate()  # the program writes its model and ends; a background job would ignore SIGINT
            status = process.wait()
    if status not in (0, EXIT_STOPPED) or not (folder / "model.safetensors").exists():
        raise ValueError(f"training on {game.name} left no model in {folder} (exit status {status}): see its output")


def results(args: argparse.Namespace, console: Console) -> Iterator[dict[str, Any]]:
    """The results of each game, seed and detector."""
    models = dict(pair.split("=", 1) for pair in args.models)
    for name in args.games:
        game = open_game(name, args.files)
        for seed in args.seeds:
            truth = game.truth(TEST_SEED + seed, args.steps).judged()
            components = components_predictor(game, seed, truth.playfield)
            detectors: dict[str, Predict] = {"components": components}
            if name in models or args.minutes:
                folder = Path(models.get(name, args.out / f"{name}-seed{seed}"))
                if name not in models and not (folder / "model.safetensors").exists():
                    train(game, seed, args.minutes, folder)
                detectors["lavae"] = lavae_predictor(folder)
            visible = truth.visible(components.foreground(truth.frames))
            for method, predict in detectors.items():
                found = measure(predict, truth, visible)
                console.print(f"{name}, seed {seed}, {method}: F1 {100 * found.f1:.1f}")
                yield {"game": name, "method": method, "seed": seed, **asdict(found), **found.summary()}


def save(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write the results as CSV and, with how they were obtained, as JSON, in which NaN is null."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "detection.csv", list(rows[0]), rows)
    clean = [{key: None if value != value else value for key, value in row.items()} for row in rows]
    with replacing(folder / "detection.json") as temporary:
        temporary.write_text(json.dumps({"provenance": asdict(Provenance.here()), "results": clean}, indent=2) + "\n")


def summary(rows: list[dict[str, Any]]) -> Table:
    """Means over seeds, in per cent but for duplicates, which are per 100 objects."""
    titles = ("seeds", *(title for title, _ in COLUMNS.values()))
    numbers = [Column(title, justify="right", no_wrap=True) for title in titles]
    names = Column("game", overflow="fold"), Column("detector", no_wrap=True)
    table = Table(*names, *numbers, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for (game, method), group in grouped(rows, lambda row: (row["game"], row["method"])).items():
        means = [factor * fmean(row[key] for row in group) for key, (_, factor) in COLUMNS.items()]
        table.add_row(game, method, str(len(group)), *("-" if math.isnan(mean) else f"{mean:.1f}" for mean in means))
    return table


def main(argv: Sequence[str] | None = None) -> None:
    parser = program_parser(__doc__)
    parser.add_argument("--games", nargs="+", required=True, help="names of games, see above")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of trainings, below 10,000 (default: 0)")
    parser.add_argument("--minutes", type=float, default=10, help="of each training; 0 trains nothing (default: 10)")
    parser.add_argument("--models", nargs="+", default=[], metavar="GAME=FOLDER", help="trained models to measure")
    parser.add_argument("--files", type=Path, help="folder of GAME.npz with true objects, in place of OCAtari")
    parser.add_argument(
        "--steps", type=int, default=1_400, help="of each test, of which a fifth counts (default: 1400)"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/detection"), help="folder (default: runs/detection)")
    args = parser.parse_args(argv)
    if any("=" not in pair for pair in args.models):
        parser.error(f"expected --models of the form GAME=FOLDER, got {' '.join(args.models)}")
    if not all(0 <= seed < TEST_SEED for seed in args.seeds):
        parser.error(f"expected seeds from 0 to {TEST_SEED - 1}, got {args.seeds}")
    rows: list[dict[str, Any]] = []
    with clean_exit() as console:
        for row in results(args, console):
            rows.append(row)
            save(args.out, rows)
        console.print(summary(rows))


if __name__ == "__main__":
    main()
