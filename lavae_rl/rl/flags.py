"""Flags that the programs that train agents share, and the run that they ask for."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lavae_rl.policies.set_extractor import ARCHITECTURES
from lavae_rl.registration import TASKS
from lavae_rl.rl.agents import AGENT_FILE
from lavae_rl.rl.run import DEFAULTS, AgentRun, new_run, resumed_run
from lavae_rl.runs.claims import check_empty
from lavae_rl.runs.config import CONFIG_FILE


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that any engine follows; one that is not given stays None, for --resume compares the others."""
    tasks = f"task: {', '.join(TASKS)}; or the id of any environment (default: OddOneOut)"
    parser.add_argument("--env", dest="task", help=tasks)
    parser.add_argument(
        "--steps", type=int, help="environment steps, rounded up to whole rollouts (default: the environment's)"
    )
    numbers = "number of objects of our tasks, or a range (default: the environment's)"
    parser.add_argument("--num-objects", type=int, nargs="+", help=numbers)
    rewards = "sparse or shaped for our tasks, plain or clipped to its sign for others (default: the environment's)"
    parser.add_argument("--reward", choices=["sparse", "shaped", "plain", "clipped"], help=rewards)
    lives = "Atari: whether a life is an episode in training (default: it is)"
    parser.add_argument("--episodic-life", action=argparse.BooleanOptionalAction, help=lives)
    parser.add_argument(
        "--arch", choices=ARCHITECTURES, help="architecture of the set network (default: the environment's)"
    )
    parser.add_argument("--seed", type=int, help="seed of the run (default: 0)")
    every = "steps between evaluations (default: 100,000; 250,000 where the environment is none of our tasks)"
    parser.add_argument("--eval-every", type=int, help=every)
    parser.add_argument("--eval-episodes", type=int, help="episodes per evaluation (default: 200; 10)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")


def default_folder(given: Mapping[str, Any], learner: str) -> Path:
    """The folder of a run without --out; ``learner`` is the name of its algorithm or engine."""
    name = "{task}-{observation}-{learner}-seed{seed}".format(**{**DEFAULTS, **given, "learner": learner})
    return Path("runs") / name.replace("/", "-").replace(":", "-")


def open_run(out: Path, given: Mapping[str, Any], resume: bool, engine: str = "sb3") -> AgentRun:
    """The run to continue in a folder, or the run to start there.

    Raises:
        FileExistsError: the folder holds something, and nothing is to be continued.
        FileNotFoundError: there is nothing to continue, or an agent that has learned something is gone.
        ValueError: flags contradict each other or the run.
    """
    if not resume:
        check_empty(out)
        return new_run(given, engine)
    if not (out / CONFIG_FILE).exists():
        missing = f"nothing to resume in {out}: no {CONFIG_FILE} and {AGENT_FILE} there; start without --resume"
        raise FileNotFoundError(missing)
    run = resumed_run(out, given, engine)
    if run.evaluations and not (out / AGENT_FILE).exists():
        raise FileNotFoundError(f"expected {AGENT_FILE} in {out}, it is gone: train the agent again in another --out")
    return run


def planned_steps(asked: int, made: int, rollout: int) -> str:
    """Number of steps that a training makes in all, and why it is more than the one that was asked for.

    Args:
        asked: steps of the run's preset.
        made: steps that were made before, by a run that is resumed.
        rollout: steps that are collected before an agent learns from them. The last rollout is always completed.
    """
    end = made + max(-(-(asked - made) // rollout), 0) * rollout
    why = f" ({asked:,} rounded up to whole rollouts of {rollout:,})" if end != asked else ""
    return f"{end:,} steps{why}"
