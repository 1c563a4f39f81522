"""LAVAE beside its peers: connected components, AIR and a slot model count the objects of the same scenes.

    pip install pyro-ppl
    python benchmarks/peers.py --dataset multi-dsprites --minutes 30 --seeds 0 1 2 --out runs/peers

Every peer trains for as long on the same cores, LAVAE by its fast recipe and no longer than that takes. While it
trains, it counts validation scenes: the first table has the minutes of training until 90, 95 and 99 % are right, then
the counts of test scenes of 0 to 3 and of 7 objects, and the frames counted per second. The second table has test
scenes that are harder than those of training. No peer sees a count. Results are kept: the same command goes on.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from peer_frames import VARIATIONS
from peer_slots import SlotTraining
from rich.table import Table

from lavae_rl.data.sources import SceneDataset, load_dataset
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretraining.run import new_run
from lavae_rl.pretraining.state import Training, make_accelerator
from lavae_rl.runs.devices import DEVICES, choose_device
from lavae_rl.runs.exits import program_console
from lavae_rl.shapes import Counts, Frames

MILESTONES = (0.90, 0.95, 0.99)
BATCH = 64
VALIDATION, TEST, VARIED = 500, 2_000, 500
MOST = {"test": 3, "test-7": 8}
"""Objects that a peer may count at most, where it has to be given."""


class Peer(Protocol):
    """A model that learns from frames without labels, and counts objects."""

    learns: bool

    def step(self, frames: Frames) -> bool:
        """Learn from a batch; False once there is nothing more to learn."""

    def count(self, frames: Frames, most: int) -> Counts:
        """Number of objects in each frame."""


class Components:
    """Connected components of the lit pixels, by OpenCV: no learning."""

    learns = False

    def __init__(self, dataset: str, seed: int, device: str) -> None:
        pass

    def step(self, frames: Frames) -> bool:
        return False

    def count(self, frames: Frames, most: int) -> Counts:
        lit = (frames.max(axis=3) > 127).astype(np.uint8)
        return np.array([cv2.connectedComponents(frame)[0] - 1 for frame in lit])


class FastLAVAE:
    """LAVAE by the fast recipe."""

    learns = True

    def __init__(self, dataset: str, seed: int, device: str) -> None:
        run, accelerator = new_run("lavae", "fast", dataset, seed=seed), make_accelerator(cpu=device == "cpu")
        self._training = Training(run.make_method(accelerator), run.recipe, seed, accelerator)
        self._source = load_dataset(dataset, "train")

    def step(self, frames: Frames) -> bool:
        self._training.step(self._source)  # draws its own batch
        return self._training.progress.step < self._training.recipe.steps

    def count(self, frames: Frames, most: int) -> Counts:
        model: LAVAE = self._training.average
        return model.encode(frames).count


class OnImages:
    """A peer that reads images as tensors (batch, channels, height, width) of 0 to 1."""

    learns = True

    def __init__(self, training: Any, device: str) -> None:
        self._training, self._device = training, device

    def step(self, frames: Frames) -> bool:
        self._training.step(self._images(frames))
        return True

    def count(self, frames: Frames, most: int) -> Counts:
        counted: Counts = self._training.count(self._images(frames), most).cpu().numpy()
        return counted

    def _images(self, frames: Frames) -> torch.Tensor:
        return torch.from_numpy(frames).to(self._device).permute(0, 3, 1, 2).float() / 255


def make_slots(dataset: str, seed: int, device: str) -> Peer:
    return OnImages(SlotTraining(load_dataset(dataset, "train").shape[2], 3, seed, device), device)


def make_air(dataset: str, seed: int, device: str) -> Peer:
    from peer_air import AIRTraining  # here, since Pyro is no part of the project

    height, width, channels = load_dataset(dataset, "train").shape
    return OnImages(AIRTraining(channels, (height, width), 3, seed, device), device)


PEERS: Mapping[str, Callable[[str, int, str], Peer]] = {
    "components": Components,
    "lavae": FastLAVAE,
    "slots": make_slots,
    "air": make_air,
}


def accuracy(peer: Peer, frames: Frames, counts: Counts, most: int) -> float:
    """Share of frames counted right."""
    found = [peer.count(frames[i : i + BATCH], most) for i in range(0, len(frames), BATCH)]
    return float((np.concatenate(found) == counts).mean())


def train(peer: Peer, dataset: str, seconds: float, seed: int) -> dict[str, Any]:
    """Train for as long, and note the seconds of training until each milestone."""
    source, rng = load_dataset(dataset, "train"), np.random.default_rng(seed)
    validation = load_dataset(dataset, "validation")[:VALIDATION], load_dataset(dataset, "validation").scenes.count
    reached: dict[str, float] = {}
    spent, steps, looked, more = 0.0, 0, 0.0, peer.learns
    while more and spent < seconds:
        frames = source[rng.integers(len(source), size=BATCH)]
        start = time.perf_counter()
        more = peer.step(frames)
        spent, steps = spent + time.perf_counter() - start, steps + 1
        if spent > 1.1 * looked + 5 or not more:  # rarely, when much has been learned
            looked, right = spent, accuracy(peer, validation[0], validation[1][:VALIDATION], MOST["test"])
            reached |= {str(goal): spent for goal in MILESTONES if right >= goal and str(goal) not in reached}
            print(f"  {spent:6.0f} s, {steps:6d} steps: {right:.3f}", flush=True)
    return {"seconds": spent, "steps": steps, "reached": reached}


def test(peer: Peer, dataset: str) -> dict[str, Any]:
    """Counts of test scenes, frames per second, and counts of harder scenes."""
    found: dict[str, Any] = {}
    for split, most in MOST.items():
        scenes = load_dataset(dataset, split)
        found[split] = accuracy(peer, scenes[:TEST], scenes.scenes.count[:TEST], most)
    frames, start = load_dataset(dataset, "test")[:BATCH], time.perf_counter()
    for _ in range(5):
        peer.count(frames, MOST["test"])
    found["frames_per_second"] = 5 * BATCH / (time.perf_counter() - start)
    scenes = load_dataset(dataset, "test")
    some = SceneDataset(scenes.scenes[:VARIED], scenes.bank)
    for name, vary in VARIATIONS.items():
        found[name] = accuracy(peer, *vary(some, np.random.default_rng(0)), MOST["test"])
    return found


def tables(results: Mapping[str, Sequence[dict[str, Any]]]) -> list[Table]:
    """Means over the seeds; how many of them reached a milestone."""
    learning = Table("peer", "minutes", *(f"to {goal:.0%}" for goal in MILESTONES), "0 to 3", "7", "frames/s")
    harder = Table("peer", *VARIATIONS)
    for name, runs in results.items():
        cells = [f"{mean(run['seconds'] for run in runs) / 60:.1f}"]
        for goal in MILESTONES:
            times = [run["reached"][str(goal)] / 60 for run in runs if str(goal) in run["reached"]]
            cells.append(f"{mean(times):.1f} ({len(times)} of {len(runs)})" if times else f"0 of {len(runs)}")
        cells += [_spread([run[split] for run in runs]) for split in MOST]
        learning.add_row(name, *cells, f"{mean(run['frames_per_second'] for run in runs):,.0f}")
        harder.add_row(name, *(_spread([run[variation] for run in runs]) for variation in VARIATIONS))
    return [learning, harder]


def _spread(values: Sequence[float]) -> str:
    """The mean, and the worst and best if there are several."""
    return f"{mean(values):.3f}" + (f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else "")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="multi-dsprites", help="(default: multi-dsprites)")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS), help="(default: all)")
    parser.add_argument("--minutes", type=float, default=30, help="of training (default: 30)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="(default: cpu)")
    parser.add_argument("--out", type=Path, default=Path("runs/peers"), help="(default: runs/peers)")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    device = choose_device(args.device)
    results: dict[str, list[dict[str, Any]]] = {}
    for name in args.peers:
        for seed in args.seeds if name != "components" else [0]:
            file = args.out / f"{args.dataset}-{name}-{device}-{args.minutes:g}min-seed{seed}.json"
            if not file.exists():
                print(f"{name}, seed {seed}", flush=True)
                peer = PEERS[name](args.dataset, seed, device)
                trained = train(peer, args.dataset, 60 * args.minutes, seed)
                file.write_text(json.dumps(trained | test(peer, args.dataset), indent=2) + "\n")
            results.setdefault(name, []).append(json.loads(file.read_text()))
    for table in tables(results):
        table.title = f"{args.dataset}, {device}, {torch.get_num_threads()} threads"
        program_console().print(table)


if __name__ == "__main__":
    main()
