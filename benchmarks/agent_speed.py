"""Environment steps per second of training by PPO, from frames to updated weights, by what agents observe.

    python benchmarks/agent_speed.py --env ALE/Pong-v5 --observations lavae pixels oracle

The agents take turns, one rollout and its update each, so that what else the machine does slows down all of them.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
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


def make(env: str, observation: str, num_envs: int | None, model: str | None) -> BaseAlgorithm:
    """An agent of the environment's preset that has learned nothing."""
    given: dict[str, Any] = {"task": env, "observation": observation}
    given |= {} if num_envs is None else {"num_envs": num_envs}
    given |= {"model": model} if OBSERVATIONS[observation].wrap and model else {}
    run = new_run(given)
    agent = make_agent(observation, run.preset, make_training_vec_env(run), seed=0)
    agent.set_logger(Logger(None, []))
    return agent


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
    agents = {name: make(args.env, name, args.num_envs, args.model) for name in args.observations}
    speeds: dict[str, list[float]] = {name: [] for name in agents}
    for _ in range(args.rollouts):
        for name, agent in agents.items():
            before, start = agent.num_timesteps, time.perf_counter()
            agent.learn(1, reset_num_timesteps=before == 0)  # whole rollouts are the least
            speeds[name].append((agent.num_timesteps - before) / (time.perf_counter() - start))
    medians = {name: median(values[len(values) // 2 :]) for name, values in speeds.items()}
    load = f"load {os.getloadavg()[0]:.1f}"
    table = Table("observation", "steps/s", title=f"{args.env}, {torch.get_num_threads()} threads, {load}")
    for name, speed in medians.items():
        table.add_row(name, f"{speed:,.0f}")
    program_console().print(table)
    if args.json is not None:
        args.json.write_text(json.dumps(medians, indent=2) + "\n")


if __name__ == "__main__":
    main()
