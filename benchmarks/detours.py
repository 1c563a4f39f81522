"""Failures of agents that move: success by the extra path length that distractors force on them.

    python benchmarks/detours.py bundled:OddOneOut

The extra path length is the number of moves by which the shortest path to the target is longer than it would be
without distractors. The task must have one target, to be touched.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table

from lavae_rl.envs.agent import AgentTask
from lavae_rl.rl.agents import SavedAgent, find_run, load_agent
from lavae_rl.rl.success import SuccessRate
from lavae_rl.rl.vec_envs import make_run_vec_env
from lavae_rl.runs.exits import program_console

MOVES = {"none": range(1), "1": range(1, 2), "2": range(2, 3), "3 to 5": range(3, 6), "6 and more": range(6, 10_000)}
ENVS = 50
SEED = 3_000_000
"""Seed of the episodes, used neither in a training nor in its tests."""


def run(saved: SavedAgent, num_objects: int, episodes: int) -> list[tuple[int, bool, bool]]:
    """Extra path length, success and whether time ran out, of as many episodes in each environment.

    Raises:
        ValueError: the agent's task has no path to one target.
    """
    venv = make_run_vec_env(saved.run, ENVS, seed=SEED, num_objects=num_objects)
    base: Any = venv.unwrapped
    simulation = base.env.unwrapped.simulation
    observations: Any = venv.reset()
    task, world = simulation.task, simulation.world
    if not isinstance(task, AgentTask) or task.goal is not None or (world.total != 1).any():
        raise ValueError(f"expected an agent that goes to one object, got one of {saved.run.task}")
    extra = [task.extra_path_length(world, env) for env in range(ENVS)]
    left, rows = np.full(ENVS, -(-episodes // ENVS)), []
    while left.any():
        actions, _ = saved.agent.predict(observations, deterministic=True)
        observations, _, dones, infos = venv.step(actions)
        for env in np.flatnonzero(dones):
            if left[env] > 0:
                rows.append((extra[env], bool(infos[env]["is_success"]), bool(infos[env]["TimeLimit.truncated"])))
            left[env] = max(left[env] - 1, 0)
            extra[env] = task.extra_path_length(world, env)  # of the scene that has begun
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run folder, or bundled:TASK, of an agent that goes to one object")
    parser.add_argument("--num-objects", type=int, default=4, help="(default: 4)")
    parser.add_argument("--episodes", type=int, default=2_000, help="(default: 2000)")
    args = parser.parse_args(argv)
    saved = load_agent(find_run(args.run))
    try:
        rows = run(saved, args.num_objects, args.episodes)
    except ValueError as error:
        parser.error(str(error))
    table = Table("extra path length, moves", "episodes", "success", "95 %", "out of time", title=args.run)
    for name, lengths in [*MOVES.items(), ("all", range(10_000))]:
        some = [row for row in rows if row[0] in lengths]
        if not some:
            continue
        rate = SuccessRate(sum(success for _, success, _ in some), len(some))
        low, high = rate.ci95
        late = sum(late for _, _, late in some) / len(some)
        table.add_row(name, str(len(some)), f"{rate.rate:.3f}", f"{low:.3f} to {high:.3f}", f"{late:.3f}")
    program_console().print(table)


if __name__ == "__main__":
    main()
