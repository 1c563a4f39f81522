"""Environment steps per second of training by PPO, from frames to updated weights, by what agents observe.

    python benchmarks/agent_speed.py --env ALE/Pong-v5 --observations lavae pixels oracle

The agents take turns, one rollout and its update each, so that what else the machine does slows down all of them. The
columns give the steps per second of each part alone, and of all parts together.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.table import Table
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger

from lavae_rl.rl.agents import make_agent
from lavae_rl.rl.observations import OBSERVATIONS
from lavae_rl.rl.run import new_run
from lavae_rl.rl.vec_envs import make_training_vec_env
from lavae_rl.runs.exits import program_console

PARTS = ("environment", "encoding", "policy", "learning")
"""Parts of a training step: the environments, tokens from their frames, actions, and the update of the weights."""


def make(env: str, observation: str, num_envs: int | None, model: str | None) -> BaseAlgorithm:
    """An agent of the environment's preset that has learned nothing."""
    given: dict[str, Any] = {"task": env, "observation": observation}
    given |= {} if num_envs is None else {"num_envs": num_envs}
    given |= {"model": model} if OBSERVATIONS[observation].wrap and model else {}
    run = new_run(given)
    agent = make_agent(observation, run.preset, make_training_vec_env(run), seed=0)
    agent.set_logger(Logger(None, []))
    return agent


class Stopwatch:
    """Stopwatch of the seconds that calls take."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, owner: Any, method: str) -> None:
        """Measure the calls of a method from now on."""
        call: Callable[..., Any] = getattr(owner, method)

        def measured(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start

        setattr(owner, method, measured)


class Timed:
    """An agent, and the seconds per step that the parts of its rollouts and updates took."""

    def __init__(self, agent: BaseAlgorithm) -> None:
        self.agent = agent
        self.parts: list[list[float]] = []
        self._environment, self._observing, self._learning = watches = Stopwatch(), Stopwatch(), Stopwatch()
        venv: Any = agent.get_env()
        for watch, owner, method in zip(
            watches, (venv.unwrapped, venv, agent), ("step_wait", "step_wait", "train"), strict=True
        ):
            watch.watch(owner, method)

    def rollout(self) -> None:
        """Make one rollout and its update."""
        for watch in (self._environment, self._observing, self._learning):
            watch.seconds = 0.0
        before, start = self.agent.num_timesteps, time.perf_counter()
        self.agent.learn(1, reset_num_timesteps=before == 0)  # whole rollouts are the least
        environment, observing, learning = self._environment.seconds, self._observing.seconds, self._learning.seconds
        policy = time.perf_counter() - start - observing - learning
        parts = (environment, observing - environment, policy, learning)
        self.parts.append([seconds / (self.agent.num_timesteps - before) for seconds in parts])

    def speeds(self) -> dict[str, float]:
        """Steps per second of each part and of all together, medians of the second half of the rollouts."""
        later = self.parts[len(self.parts) // 2 :]
        speeds = {name: 1 / median(column) for name, column in zip(PARTS, zip(*later, strict=True), strict=True)}
        return speeds | {"together": 1 / median(map(sum, later))}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="ALE/Pong-v5", help="(default: ALE/Pong-v5)")
    parser.add_argument("--observations", nargs="+", choices=list(OBSERVATIONS), default=["lavae", "pixels"])
    parser.add_argument("--num-envs", type=int, help="environments in one batch (default: the environment's)")
    parser.add_argument("--model", help="LAVAE that makes the tokens (default: the bundled one)")
    parser.add_argument(
        "--rollouts", type=int, default=12, help="of each agent, of whose second half the median counts"
    )
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args(argv)
    agents = {name: Timed(make(args.env, name, args.num_envs, args.model)) for name in args.observations}
    for _ in range(args.rollouts):
        for agent in agents.values():
            agent.rollout()
    speeds = {name: agent.speeds() for name, agent in agents.items()}
    load = f"load {os.getloadavg()[0]:.1f}"
    title = f"steps/s, {args.env}, {torch.get_num_threads()} threads, {load}"
    table = Table("observation", *PARTS, "together", title=title)
    for name, row in speeds.items():
        table.add_row(name, *(f"{speed:,.0f}" for speed in row.values()))
    program_console().print(table)
    if args.json is not None:
        args.json.write_text(json.dumps(speeds, indent=2) + "\n")


if __name__ == "__main__":
    main()
