"""Imitation of optimal moves in OddOneOut by set networks, from the true state.

    python benchmarks/imitation.py --archs relation attention deepsets flat

Every batch has new scenes, with the agent at any place from which a path leads to the target. A move along any shortest
path is optimal. The program prints the share of optimal moves in new scenes, and the success of walks that always take
the likeliest move.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from rich.table import Table
from torch import Tensor, nn

from lavae_rl.policies.set_extractor import ARCHITECTURES, SetFeaturesExtractor
from lavae_rl.rl.success import success_rate
from lavae_rl.rl.vec_envs import make_task_vec_env
from lavae_rl.runs.exits import program_console

TASK = "OddOneOut"
SCENES, PLACES = 64, 8
"""Scenes in a batch, and positions of the agent in each."""
WALKERS, WALK_SEED = 50, 3_000_000
"""Number of environments to walk in, and their seed, which no training or test uses."""
NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""Displacements of actions 1 to 4: (row, column) on the lattice."""

Batch = tuple[dict[str, Tensor], Tensor]
"""Observations, and which of the four moves are optimal."""


class Teacher:
    """Teacher that draws scenes and finds the optimal moves."""

    def __init__(self, num_objects: int, seed: int) -> None:
        vector = gym.make_vec(f"LAVAE/{TASK}-v0", num_envs=SCENES, observation="oracle", num_objects=num_objects)
        self.space = vector.single_observation_space
        unwrapped: Any = vector.unwrapped
        self._simulation, self._rng = unwrapped.simulation, np.random.default_rng(seed)

    def batch(self) -> Batch:
        for env in range(SCENES):
            self._simulation.begin(env, self._rng)
        shown, right = zip(*(self._move_agents() for _ in range(PLACES)), strict=True)
        tensors = {key: torch.tensor(np.concatenate([view[key] for view in shown])).float() for key in shown[0]}
        return tensors, torch.tensor(np.concatenate(right))

    def _move_agents(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        world, task, right = self._simulation.world, self._simulation.task, np.zeros((SCENES, 4), bool)
        for env in range(SCENES):
            lattice, moves = task.distance_field(world, env)
            place = tuple(self._rng.choice(np.argwhere(moves > 0)).tolist())
            world.scenes.location[env, 0] = lattice.location(place)
            beside = np.pad(moves, 1, constant_values=-1)
            right[env] = [
                beside[place[0] + 1 + row, place[1] + 1 + column] == moves[place] - 1 for row, column in NEIGHBOURS
            ]
        return self._simulation.observe(), right


class Pupil(nn.Module):
    """A features extractor with the head that Stable-Baselines3 would put on it."""

    def __init__(self, space: "spaces.Space[Any]", arch: str) -> None:
        super().__init__()
        extractor = SetFeaturesExtractor(space, arch)
        self.layers = nn.Sequential(extractor, nn.Linear(extractor.features_dim, 64), nn.Tanh(), nn.Linear(64, 4))

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        return self.layers(observations)

    @torch.inference_mode()
    def predict(self, observations: dict[str, np.ndarray], **_: bool) -> tuple[np.ndarray, None]:
        logits = self({key: torch.tensor(value).float() for key, value in observations.items()})
        return logits.argmax(dim=1).numpy() + 1, None


def teach(arch: str, args: argparse.Namespace) -> list[str]:
    torch.manual_seed(args.seed)
    teacher, examiner = Teacher(args.num_objects, args.seed), Teacher(args.num_objects, 1_000_000 + args.seed)
    pupil, seconds = Pupil(teacher.space, arch), 0.0
    optimiser = torch.optim.Adam(pupil.parameters(), 1e-3)
    falling = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, args.batches)
    for _ in range(args.batches):
        observations, right = teacher.batch()
        start = time.perf_counter()
        chances = pupil(observations).log_softmax(dim=1).masked_fill(~right, -torch.inf)
        optimiser.zero_grad()
        (-chances.logsumexp(dim=1).mean()).backward()
        nn.utils.clip_grad_norm_(pupil.parameters(), 0.5)
        optimiser.step()
        falling.step()
        seconds += time.perf_counter() - start
    exam = [examiner.batch() for _ in range(20)]
    with torch.inference_mode():
        marks = [right.gather(1, pupil(seen).argmax(dim=1, keepdim=True)).float().mean() for seen, right in exam]
    venv = make_task_vec_env(TASK, "oracle", WALKERS, WALK_SEED, num_objects=args.num_objects)
    walks = success_rate(pupil.predict, venv, args.episodes)
    low, high = walks.ci95
    parameters = sum(parameter.numel() for parameter in pupil.parameters())
    right_moves = f"{torch.stack(marks).mean():.3f}"
    return [
        arch,
        f"{parameters:,}",
        right_moves,
        f"{walks.rate:.3f} ({low:.3f} to {high:.3f})",
        f"{1_000 * seconds / args.batches:.0f}",
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archs", nargs="+", choices=ARCHITECTURES, default=["relation"], help="(default: relation)")
    parser.add_argument("--batches", type=int, default=2_500, help=f"of {SCENES * PLACES} frames (default: 2500)")
    parser.add_argument("--num-objects", type=int, default=4, help="(default: 4)")
    parser.add_argument("--episodes", type=int, default=1_000, help="walks (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    args = parser.parse_args(argv)
    table = Table("network", "parameters", "right moves", "success of walks, 95 %", "ms a batch", title=TASK)
    for arch in args.archs:
        table.add_row(*teach(arch, args))
    program_console().print(table)


if __name__ == "__main__":
    main()
