"""Frames encoded per second, against networks of the paper's size, and the overhead of the wrappers, in one run.

    python benchmarks/encoding.py
    python benchmarks/encoding.py --compile    # the gain by torch.compile too; needs a C++ compiler

The paper's networks are two residual networks at full resolution, 4 blocks of 2 convolutions with 48 channels each,
every convolution followed by LeakyReLU and batch normalisation (appendix B; the number of channels is ours, chosen so
that each has about a third of the paper's 500k parameters). Their cost is that of two forward passes in eval mode.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space
from rich.table import Table
from torch import Tensor, nn

from lavae_rl.data.scenes import render_scenes, sample_scenes
from lavae_rl.data.sources import load_bank
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.networks.families import fold_batch_norms
from lavae_rl.perception.wrappers import VectorLAVAEObservation
from lavae_rl.runs.exits import program_console


class PaperNetwork(nn.Module):
    """A residual network at full resolution, as the paper describes it."""

    def __init__(self, channels: int, outputs: int, width: int = 48) -> None:
        super().__init__()

        def conv(inputs: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(inputs, width, 3, padding=1), nn.LeakyReLU(), nn.BatchNorm2d(width))

        self.first = conv(channels)
        self.blocks = nn.ModuleList(nn.Sequential(conv(width), conv(width)) for _ in range(4))
        self.last = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.first(images)
        for block in self.blocks:
            features = features + block(features)
        result: Tensor = self.last(features)
        return result


class StillFrames(VectorEnv):
    """A vector environment without costs of its own: the same frames at every step."""

    def __init__(self, frames: np.ndarray) -> None:
        self.num_envs, self._frames = len(frames), frames
        self.single_observation_space = gym.spaces.Box(0, 255, frames.shape[1:], np.uint8)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._nothing = np.zeros(self.num_envs)

    def step(self, actions: object) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, object]]:
        done = self._nothing.astype(bool)
        return self._frames, self._nothing, done, done, {}


def seconds(work: Callable[[], object], rounds: int) -> float:
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return median(times)


def measure(model_name: str, rounds: int) -> dict[str, float]:
    model, bank = LAVAE.from_pretrained(model_name), load_bank(model_name)
    rng = np.random.default_rng(0)
    results = {}
    for batch in (1, 8, 64, 512):
        # About three objects per frame, as agents will have.
        frames = render_scenes(sample_scenes(rng, bank, batch, (2, 4)), bank)
        results[f"encode_{batch}"] = batch / seconds(lambda frames=frames: model.encode(frames), rounds)  # type: ignore[misc]
    frames = render_scenes(sample_scenes(rng, bank, 64, (2, 4)), bank)
    images = model.images(frames)
    networks = [PaperNetwork(model.config.channels, outputs).eval() for outputs in (1, 2 * model.config.latents)]
    with torch.inference_mode():
        results["paper_64"] = 64 / seconds(lambda: [network(images) for network in networks], max(3, rounds // 5))
    results["encode_64_again"] = 64 / seconds(lambda: model.encode(frames), rounds)
    few = frames[:16]
    env = VectorLAVAEObservation(StillFrames(few), model=model_name)
    results["wrapper_over_encode_16"] = seconds(lambda: env.step(None), rounds) / seconds(
        lambda: model.encode(few, 8), rounds
    )
    return results


def compiled_over_eager(model_name: str, rounds: int) -> float:
    """Speed-up by ``torch.compile`` of the location network, which is most of the cost of encoding."""
    model, bank = LAVAE.from_pretrained(model_name), load_bank(model_name)
    frames = render_scenes(sample_scenes(np.random.default_rng(0), bank, 64, (2, 4)), bank)
    images = model.images(frames).to(memory_format=torch.channels_last)
    eager = fold_batch_norms(model.location_network)
    compiled = torch.compile(eager, dynamic=False)
    with torch.inference_mode():
        return seconds(lambda: eager(images), rounds) / seconds(lambda: compiled(images), rounds)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="multi-dsprites", help="bundled name (default: multi-dsprites)")
    parser.add_argument("--rounds", type=int, default=20, help="repetitions, of which the median counts (default: 20)")
    parser.add_argument("--compile", action="store_true", help="try torch.compile too, which takes half a minute")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args(argv)
    results = measure(args.model, args.rounds)
    table = Table(title=f"{args.model}, {torch.get_num_threads()} threads", show_header=False, title_justify="left")
    for batch in (1, 8, 64, 512):
        table.add_row(f"encode, batch {batch}", f"{results[f'encode_{batch}']:,.0f} frames/s")
    ratio = (results["encode_64"] + results["encode_64_again"]) / 2 / results["paper_64"]
    table.add_row("the paper's two networks, batch 64", f"{results['paper_64']:,.1f} frames/s")
    table.add_row("encode over the paper's networks, batch 64", f"{ratio:,.0f} times")
    table.add_row("a step of 16 wrapped environments over encode(16)", f"{results['wrapper_over_encode_16']:.2f} times")
    if args.compile:
        results["compiled_over_eager"] = compiled_over_eager(args.model, args.rounds)
        table.add_row("location network, compiled over eager", f"{results['compiled_over_eager']:.2f} times")
    program_console().print(table)
    if args.json is not None:
        args.json.write_text(json.dumps(results | {"ratio_64": ratio}, indent=2) + "\n")


if __name__ == "__main__":
    main()
