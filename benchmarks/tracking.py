"""Identity switches, ghosts and flicker of trackers on Atari recordings, with and without hysteresis.

    python benchmarks/tracking.py --games Pong Boxing Freeway

True objects come from OCAtari, on every step of random play, inside the playfield of ``truths.atari``. Per 100 frames:
*switches* are hits of an object whose last hit came from another slot; *ghosts* are tokens that hit nothing; *flicker*
counts objects that are hit, missed in the next frame, and hit in the one after. *recall* is the share of objects hit.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table
from truths.atari import HEIGHT, ROWS, WIDTH

from lavae_rl.evaluation.detection import Detection, measure_detection
from lavae_rl.model.lavae import LAVAE
from lavae_rl.perception.tracking import SlotTracker, TrackingConfig
from lavae_rl.rl.atari import AtariOracle, make_game
from lavae_rl.rl.presets import TRACKING
from lavae_rl.runs.exits import program_console
from lavae_rl.shapes import Frames

TEST_SEED = 10_000
TRACKERS = {"plain": TrackingConfig(), "hysteresis": TRACKING}
BATCH = 50


class Recording(NamedTuple):
    """Frames of random play and what is truly in them."""

    frames: Frames
    starts: np.ndarray
    """True for the first frame of each episode."""
    boxes: list[np.ndarray]
    identities: list[list[tuple[int, int]]]
    """(episode, slot of OCAtari) of each object of each frame."""


def record(game: str, steps: int, seed: int) -> Recording:
    """Random play, with the objects whose centre lies in the playfield."""
    oracle = AtariOracle(make_game(f"ALE/{game}-v5", "frames"))
    top, bottom = ROWS.get(game, (0, HEIGHT))
    env: Any = oracle.env
    env.action_space.seed(seed)
    frames, starts, boxes, identities = [], [], [], []
    frame: Any = None
    over, episode = True, -1
    for _ in range(steps):
        if over:
            oracle.reset(seed=seed if episode < 0 else None)
            episode += 1
            frame, *_ = env.step(0)
        tokens = oracle.observation(frame)
        here, mine = [], []
        for slot in np.flatnonzero(tokens["mask"]):
            x, y, *_, width, height = tokens["tokens"][slot]
            column, row = (x + 1) / 2 * (WIDTH - 1), (y + 1) / 2 * (HEIGHT - 1)
            size = np.array([height * (HEIGHT - 1), width * (WIDTH - 1)]) / 2
            if top <= row < bottom:
                here.append([*(np.array([row, column]) + 0.5 - size / 2), *size])
                mine.append((episode, int(slot)))
        frames.append(frame)
        starts.append(over)
        boxes.append(np.array(here).reshape(-1, 4))
        identities.append(mine)
        frame, _, ended, cut, _ = env.step(env.action_space.sample())
        over = ended or cut
    return Recording(np.stack(frames), np.array(starts), boxes, identities)


def follow(model: LAVAE, recording: Recording, config: TrackingConfig, slots: int) -> tuple[list[Any], list[Any]]:
    """The boxes, of size 0, and the slots that a tracker reports in each frame."""
    tracker = SlotTracker(slots, config)
    places, numbers = [], []
    for start in range(0, len(recording.frames), BATCH):
        objects = model.encode(recording.frames[start : start + BATCH], slots)
        for i in range(len(objects.count)):
            if recording.starts[start + i]:
                tracker.reset()
            found, _ = tracker.track(objects[i : i + 1], np.zeros(1, int))
            used = np.flatnonzero(found.mask[0])
            centre = found.location[0, used] + 0.5
            places.append(np.concatenate([centre, 0 * centre], axis=1))
            numbers.append(used)
    return places, numbers


def flicker(recording: Recording, places: list[np.ndarray]) -> int:
    """Number of times that an object is hit, missed in the next frame, and hit in the one after."""
    hits = []
    for boxes, found, identities in zip(recording.boxes, places, recording.identities, strict=True):
        one = [measure_detection([found], [box[None]], (HEIGHT, WIDTH)).hits for box in boxes]
        hits.append(dict(zip(identities, one, strict=True)))
    triples = zip(hits, hits[1:], hits[2:], strict=False)
    return sum((a.get(each), b[each], c.get(each)) == (1, 0, 1) for a, b, c in triples for each in b)


def measure(model: LAVAE, recording: Recording, config: TrackingConfig, game: str) -> dict[str, float]:
    """Switches, ghosts and flicker per 100 frames, and recall."""
    places, slots = follow(model, recording, config, slots=64)
    top, bottom = ROWS.get(game, (0, HEIGHT))
    inside = [(top <= each[:, 0]) & (each[:, 0] < bottom) for each in places]
    places = [each[mask] for each, mask in zip(places, inside, strict=True)]
    slots = [each[mask] for each, mask in zip(slots, inside, strict=True)]
    found: Detection = measure_detection(
        places, recording.boxes, (HEIGHT, WIDTH), slots=slots, identities=recording.identities
    )
    hundreds = len(recording.frames) / 100
    ghosts = found.predictions - found.hits - found.duplicates
    rates = {"switches": found.switches, "ghosts": ghosts, "flicker": flicker(recording, places)}
    return {name: value / hundreds for name, value in rates.items()} | {"recall": found.recall}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=["Pong", "Boxing", "Freeway", "SpaceInvaders"])
    parser.add_argument("--models", nargs="*", default=[], metavar="GAME=FOLDER", help="(default: the bundled ones)")
    parser.add_argument("--steps", type=int, default=1_000, help="of each game (default: 1,000)")
    parser.add_argument("--seed", type=int, default=TEST_SEED, help=f"(default: {TEST_SEED})")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args(argv)
    models = dict(pair.split("=", 1) for pair in args.models)
    table, results = Table("game", "tracker", "switches", "ghosts", "flicker", "recall"), {}
    for game in args.games:
        model, recording = LAVAE.from_pretrained(models.get(game, game)), record(game, args.steps, args.seed)
        for name, config in TRACKERS.items():
            results[f"{game} {name}"] = row = measure(model, recording, config, game)
            table.add_row(game, name, *(f"{value:.2f}" for value in row.values()))
    program_console().print(table)
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
