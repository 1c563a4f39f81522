"""Trains an agent of Stable-Baselines3 on a task, on object tokens or on what they are compared with.

    python agents/train_agent.py --env LAVAE/OddOneOut-v0 --observation lavae

Everything lands in one run folder: config.json, agent.zip, progress.csv (progress-STEP.csv of a resumed run) and
TensorBoard events. Ctrl-C leaves a run that --resume continues: weights, optimiser and schedules go on where they were,
the environments begin new scenes, and what DQN and SAC remember is filled anew before they go on learning.
"""

import argparse
import signal
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

from lavae_rl.policies.set_extractor import ARCHITECTURES
from lavae_rl.rl.agents import ALGORITHMS, find_run, load_agent, make_agent, save_agent
from lavae_rl.rl.presets import PRESETS, Preset
from lavae_rl.rl.settings import DEFAULTS, fresh_facts, given_settings, resumed_facts
from lavae_rl.rl.success import success_rate
from lavae_rl.rl.vec_envs import OBSERVATIONS, make_run_vec_env
from lavae_rl.runs.devices import DEVICES, choose_device
from lavae_rl.runs.exits import clean_exit
from lavae_rl.runs.folder import claimed

TEST_ENVS, TEST_SEED = 50, 1_000_000
"""Environments of the evaluations, and the first of their seeds."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; what is not given stays None, so that --resume can tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--env", help=f"task: {', '.join(PRESETS)}, or its id (default: OddOneOut)")
    parser.add_argument("--observation", choices=OBSERVATIONS, help="(default: lavae)")
    parser.add_argument("--algo", choices=list(ALGORITHMS), help="(default: the task's preset)")
    parser.add_argument("--steps", type=int, help="environment steps (default: the task's preset)")
    parser.add_argument("--num-envs", type=int, help="environments side by side (default: the task's preset)")
    parser.add_argument(
        "--num-objects", type=int, nargs="+", help="a number, or a range as two (default: the preset's)"
    )
    parser.add_argument("--reward", choices=["sparse", "shaped"], help="(default: the task's preset)")
    parser.add_argument("--arch", choices=ARCHITECTURES, help="of the set network (default: the preset's)")
    parser.add_argument("--model", help="LAVAE that makes the tokens (default: the bundled one); for vae, a baseline")
    parser.add_argument("--seed", type=int, help="(default: 0)")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="of policy and perception (default: cpu)")
    parser.add_argument("--eval-every", type=int, help="steps between evaluations (default: 100,000)")
    parser.add_argument("--eval-episodes", type=int, help="per evaluation (default: 200)")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/TASK-OBSERVATION-ALGO-seedN)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the program. Exit status: 0 complete, 1 failed, 2 unusable arguments, 130 stopped and resumable."""
    args, console = parse_args(argv), Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # schedulers and timeout(1) send it: as Ctrl-C
    with clean_exit(console, "stopped; what is in the run folder can be continued with --resume"):
        run(args, console)


def run(args: argparse.Namespace, console: Console) -> None:
    """Trains and evaluates."""
    given = given_settings(vars(args))
    chosen: dict[str, Any] = DEFAULTS | given
    chosen.setdefault("algorithm", PRESETS[chosen["task"]].algorithm)
    out = args.out or Path("runs") / "{task}-{observation}-{algorithm}-seed{seed}".format(**chosen)
    if args.resume:
        facts = resumed_facts(find_run(out), given)
    elif out.exists() and any(out.iterdir()):
        raise FileExistsError(
            f"{out} holds another run or other files; continue it with --resume, or choose another --out"
        )
    else:
        facts = fresh_facts(given)
    preset, device = Preset(**facts["preset"]), choose_device(args.device)
    venv = make_run_vec_env(facts, preset.num_envs, device=device, **preset.env_options())
    if args.resume:
        agent = load_agent(out, venv, device).agent
    else:
        agent = make_agent(facts["observation"], preset, venv, facts["seed"], device)
    console.print(f"{facts['task']}, {facts['observation']}, {preset.algorithm}: {preset.steps:,} steps")
    if agent.num_timesteps < preset.steps:
        with claimed(out):
            learn(agent, out, facts, console)
    console.print(f"agent and config.json in {escape(str(out))}: python agents/evaluate_agent.py {escape(str(out))}")


def learn(agent: BaseAlgorithm, out: Path, facts: dict[str, Any], console: Console) -> None:
    """Trains to the end, or until somebody stops it."""
    save_agent(out, agent, facts)
    first = agent.num_timesteps
    logs = [
        make_output_format("csv", str(out), f"-{first}" if first else ""),
        make_output_format("tensorboard", str(out)),
    ]
    agent.set_logger(Logger(str(out), logs))
    agent.set_random_seed(session_seed(facts["seed"], first))
    watch = Watch(agent, out, facts, console)
    interval = ALGORITHMS[facts["preset"]["algorithm"]].log_interval
    try:
        agent.learn(
            facts["preset"]["steps"] - first,
            watch,
            log_interval=interval,
            reset_num_timesteps=first == 0,
            progress_bar=console.is_terminal,
        )
        watch.finish()
    except KeyboardInterrupt:
        watch.save()
        raise
    finally:
        agent.logger.close()


def session_seed(seed: int, first: int) -> int:
    """Seed of environments and actions for a session of a run that begins at step ``first``.

    Stable-Baselines3 seeds environments with seed, seed + 1, ...: seeds 0 and 1 would share nearly all of their scenes,
    and a resumed run would see its first ones again. These share none, but for chance.
    """
    return int(np.random.SeedSequence([seed, first]).generate_state(1)[0])


class Watch(BaseCallback):
    """Evaluates and saves every so many steps: one agent, the latest, which is the one that --resume needs."""

    def __init__(self, agent: BaseAlgorithm, out: Path, facts: dict[str, Any], console: Console) -> None:
        super().__init__()
        self.model = agent  # as learn() will, but somebody may stop it before
        self._out, self._facts, self._console = out, facts, console
        number = facts["preset"]["num_objects"]
        self._test = make_run_vec_env(facts, TEST_ENVS, seed=TEST_SEED, device=agent.device.type, num_objects=number)
        self._start, self._before = time.perf_counter(), facts["seconds"]

    def _on_training_start(self) -> None:
        # At the same steps whether a run was resumed or not; an evaluation that was interrupted is made at once.
        evaluations, every = self._facts["evaluations"], self._facts["eval_every"]
        self._next = ((evaluations[-1]["step"] if evaluations else 0) // every + 1) * every

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._next += self._facts["eval_every"]
            self.evaluate()
        return True

    def finish(self) -> None:
        """Evaluates what has been learned since the last time."""
        evaluations = self._facts["evaluations"]
        if not evaluations or evaluations[-1]["step"] < self.model.num_timesteps:
            self.evaluate()

    def evaluate(self) -> None:
        """Measures the success of the agent as it is, and saves it."""
        agent = self.model
        self._test.seed(TEST_SEED)
        measured = success_rate(agent.predict, self._test, self._facts["eval_episodes"])
        seconds = self._before + time.perf_counter() - self._start
        row = {"step": agent.num_timesteps, "success_rate": measured.rate, "seconds": round(seconds, 1)}
        self._facts["evaluations"].append(row)
        self.save()
        agent.logger.record("eval/success_rate", measured.rate)
        agent.logger.dump(agent.num_timesteps)
        speed = agent.num_timesteps / seconds
        self._console.print(f"step {agent.num_timesteps:9,d}  success {measured.rate:.2f}  {speed:,.0f} steps/s")

    def save(self) -> None:
        """Writes the agent as it is, and what is known of it."""
        self._facts["seconds"] = self._before + time.perf_counter() - self._start
        save_agent(self._out, self.model, self._facts)


if __name__ == "__main__":
    main()
