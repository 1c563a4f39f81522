"""Trains an agent of Stable-Baselines3 on a task, on object tokens or on what they are compared with.

    python agents/train_agent.py --env LAVAE/OddOneOut-v0 --observation lavae

Everything lands in one run folder: config.json, agent.zip, progress.csv and TensorBoard events. Ctrl-C leaves a run
that --resume continues; weights, optimiser and schedules go on where they were, the environments begin new episodes.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, make_output_format
from stable_baselines3.common.vec_env import VecEnv

from lavae_rl.learning.agents import ALGORITHMS, find_run, load_agent, make_agent, read_facts, save_agent
from lavae_rl.learning.evaluation import success_rate
from lavae_rl.learning.presets import PRESETS, Preset
from lavae_rl.learning.vec_envs import OBSERVATIONS, make_task_vec_env
from lavae_rl.perception.set_extractor import ARCHITECTURES
from lavae_rl.registration import task_name
from lavae_rl.training.provenance import provenance

EXIT_FAILED, EXIT_STOPPED = 1, 130
TEST_SEED = 1_000_000
"""Seeds of test episodes begin here, far from those of training."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--env", default="OddOneOut", help=f"task: {', '.join(PRESETS)}, or its id (default: OddOneOut)"
    )
    parser.add_argument("--observation", choices=OBSERVATIONS, default="lavae", help="(default: lavae)")
    parser.add_argument("--algo", choices=list(ALGORITHMS), default="ppo", help="(default: ppo)")
    parser.add_argument("--steps", type=int, help="environment steps (default: the task's preset)")
    parser.add_argument("--num-envs", type=int, help="environments side by side (default: the task's preset)")
    parser.add_argument(
        "--num-objects", type=int, nargs="+", help="a number, or a range as two (default: the preset's)"
    )
    parser.add_argument("--reward", choices=["sparse", "shaped"], help="(default: the task's preset)")
    parser.add_argument("--arch", choices=ARCHITECTURES, help="(default: the preset's)")
    parser.add_argument("--model", help="LAVAE that makes the tokens (default: the bundled one); for vae, a baseline")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("--eval-every", type=int, default=100_000, help="steps between evaluations (default: 100,000)")
    parser.add_argument("--eval-episodes", type=int, default=200, help="per evaluation (default: 200)")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/TASK-OBSERVATION-ALGO-seedN)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the program. Exit status: 0 complete, 1 failed, 2 unusable arguments, 130 stopped and resumable."""
    args, console = parse_args(argv), Console(highlight=False, soft_wrap=True)
    try:
        run(args, console)
    except KeyboardInterrupt:
        console.print("stopped; what is in the run folder can be continued with --resume")
        sys.exit(EXIT_STOPPED)
    except (ValueError, AssertionError, OSError) as error:
        console.print(f"[red]error:[/] {escape(str(error))}")
        sys.exit(EXIT_FAILED)


def run(args: argparse.Namespace, console: Console) -> None:
    """Trains and evaluates."""
    name = task_name(args.env)
    out = args.out or Path("runs") / f"{name}-{args.observation}-{args.algo}-seed{args.seed}"
    if args.resume:
        facts = read_facts(find_run(out))
    elif out.exists() and any(out.iterdir()):
        raise FileExistsError(
            f"{out} holds another run or other files; continue it with --resume, or choose another --out"
        )
    else:
        facts = fresh_facts(args, name)
    preset = Preset(**facts["preset"])
    venv = training_env(facts, preset)
    if args.resume:
        agent = load_agent(out, venv).agent
    else:
        agent = make_agent(facts["algorithm"], facts["observation"], preset, venv, facts["seed"])
        save_agent(out, agent, facts)
    console.print(f"{name}, {facts['observation']}, {facts['algorithm']}: {preset.steps:,} steps")
    if agent.num_timesteps < preset.steps:
        learn(agent, out, facts, args, console)
    console.print(f"agent and config.json in {escape(str(out))}: python agents/evaluate_agent.py {escape(str(out))}")


def learn(agent: BaseAlgorithm, out: Path, facts: dict[str, Any], args: argparse.Namespace, console: Console) -> None:
    """Trains to the end, or until somebody stops it."""
    first = agent.num_timesteps
    logs = [
        make_output_format("csv", str(out), f"-{first}" if first else ""),
        make_output_format("tensorboard", str(out)),
    ]
    agent.set_logger(Logger(str(out), logs))
    steps, bar = facts["preset"]["steps"] - first, console.is_terminal
    agent.set_random_seed(session_seed(facts["seed"], first))
    watch = Watch(out, facts, args, console)
    try:
        agent.learn(steps, watch, reset_num_timesteps=first == 0, progress_bar=bar)
        watch.finish()
    finally:
        agent.logger.close()


def session_seed(seed: int, first: int) -> int:
    """Seed of environments and actions for a session of a run that begins at step ``first``.

    Stable-Baselines3 seeds environments with seed, seed + 1, ...: seeds 0 and 1 would share nearly all of their scenes,
    and a resumed run would see its first ones again. These share none, but for chance.
    """
    return int(np.random.SeedSequence([seed, first]).generate_state(1)[0])


def fresh_facts(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """What config.json says of a new run."""
    changed = {
        key: getattr(args, key) for key in ("steps", "num_envs", "reward", "arch") if getattr(args, key) is not None
    }
    if args.num_objects is not None:
        if len(args.num_objects) > 2:
            raise ValueError(f"expected --num-objects as a number or two, got {args.num_objects}")
        changed["num_objects"] = tuple(args.num_objects) if len(args.num_objects) == 2 else args.num_objects[0]
    preset = dataclasses.replace(PRESETS[name], **changed)
    return {
        "task": name,
        "observation": args.observation,
        "algorithm": args.algo,
        "seed": args.seed,
        "model": args.model,
        "preset": dataclasses.asdict(preset),
        "evaluations": [],
        "seconds": 0.0,
        **provenance(),
    }


def training_env(facts: dict[str, Any], preset: Preset) -> VecEnv:
    """What the agent learns on."""
    return make_task_vec_env(
        facts["task"],
        facts["observation"],
        preset.num_envs,
        model=facts["model"],
        num_objects=preset.num_objects,
        reward=preset.reward,
    )


class Watch(BaseCallback):
    """Evaluates and saves every so many steps."""

    def __init__(self, out: Path, facts: dict[str, Any], args: argparse.Namespace, console: Console) -> None:
        super().__init__()
        self._out, self._facts, self._args, self._console = out, facts, args, console
        preset = Preset(**facts["preset"])
        self._test = make_task_vec_env(
            facts["task"], facts["observation"], 50, TEST_SEED, facts["model"], num_objects=preset.num_objects
        )
        self._start, self._before = time.perf_counter(), facts["seconds"]

    def _on_training_start(self) -> None:
        # At the same steps whether a run was resumed or not.
        self._next = (self.num_timesteps // self._args.eval_every + 1) * self._args.eval_every

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._next += self._args.eval_every
            self.save()
        return True

    def finish(self) -> None:
        """Saves what has been learned since the last evaluation."""
        evaluations = self._facts["evaluations"]
        if not evaluations or evaluations[-1]["step"] < self.model.num_timesteps:
            self.save()

    def save(self) -> None:
        """Measures the success of the agent as it is, and writes both."""
        agent: BaseAlgorithm = self.model
        self._test.seed(TEST_SEED)
        measured = success_rate(agent.predict, self._test, self._args.eval_episodes)
        seconds = self._before + time.perf_counter() - self._start
        row = {"step": agent.num_timesteps, "success_rate": measured.rate, "seconds": round(seconds, 1)}
        self._facts["evaluations"].append(row)
        self._facts["seconds"] = seconds
        agent.logger.record("eval/success_rate", measured.rate)
        save_agent(self._out, agent, self._facts)
        speed = agent.num_timesteps / seconds
        self._console.print(f"step {agent.num_timesteps:9,d}  success {measured.rate:.2f}  {speed:,.0f} steps/s")


if __name__ == "__main__":
    main()
