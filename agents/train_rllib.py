"""Train an agent on object tokens by PPO of Ray RLlib: on several cores, or on a cluster.

    python agents/train_rllib.py --env ObjectGoal --env-runners 2 --learners 1 --out runs/goal
    python agents/train_rllib.py --env OddOneOut --env-runners 32 --learners 2 --address 10.0.0.1:6379 --out /shared/odd

The installed command is lavae-train-rllib.

On one machine, train_agent.py is faster with the same cores. Networks and settings are the same, and so is the run
folder: config.json, agent.zip for evaluate_agent.py, TensorBoard events; and checkpoint-STEP, of RLlib, which pickles:
resume only what you trust. --resume may have other numbers of processes.

Without --address, Ray listens on this machine alone. For a cluster see docs/distributed.md.
"""

import argparse
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.markup import escape
from stable_baselines3.common.base_class import BaseAlgorithm
from torch.utils.tensorboard import SummaryWriter

from lavae_rl.rl.agents import begin_agent
from lavae_rl.rl.flags import add_run_flags, default_folder, open_run, planned_steps
from lavae_rl.rl.observations import OBSERVATIONS
from lavae_rl.rl.progress import Progress
from lavae_rl.rl.run import given_settings
from lavae_rl.rl.vec_envs import make_run_vec_env
from lavae_rl.runs.claims import claimed_run
from lavae_rl.runs.cluster import LOCAL, ray_cluster, require_ray
from lavae_rl.runs.devices import choose_device
from lavae_rl.runs.exits import clean_exit, program_parser
from lavae_rl.runs.programs import as_typed
from lavae_rl.runs.signals import handling

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm

ENGINE = "rllib"
CHECKPOINT = "checkpoint-"
"""Beginning of the names of RLlib's checkpoints in a run folder; the number of steps follows."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; a flag that is not given stays None, unlike a default that --resume would compare."""
    parser = program_parser(__doc__)
    add_run_flags(parser)
    tokens = [name for name, kind in OBSERVATIONS.items() if kind.reads_tokens]
    parser.add_argument("--observation", choices=tokens, help="input of the agent (default: lavae)")
    runners = "processes that act; 0 acts in this one (default: 2)"
    parser.add_argument("--env-runners", type=int, default=2, help=runners)
    learners = "processes that learn, on a GPU each with --device cuda; 0 learns in this one (default: 0)"
    parser.add_argument("--learners", type=int, default=0, help=learners)
    parser.add_argument("--address", default=LOCAL, help="address of a Ray cluster, HOST:PORT or auto (default: local)")
    parser.add_argument("--num-envs", type=int, help="environments of all runners (default: the environment's)")
    parser.add_argument("--model", help="LAVAE that makes the tokens (default: the bundled one)")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="device of the learners (default: cpu)"
    )
    parser.add_argument("--out", type=Path, help="run folder (default: runs/ENV-OBSERVATION-rllib-seedN)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 complete, 1 failed, 2 unusable arguments, 130 stopped and resumable."""
    args = parse_args(argv)
    with clean_exit(stopped="stopped; what is in the run folder can be continued with --resume") as console:
        train(args, console)


def train(args: argparse.Namespace, console: Console) -> None:
    """Train and evaluate a new or a resumed run."""
    require_ray()
    from lavae_rl.rl.rllib import ppo_config  # here, since Ray is an extra

    given = given_settings({**vars(args), "algorithm": "ppo"})
    out = args.out or default_folder(given, ENGINE)
    run = open_run(out, given, args.resume, ENGINE)
    device = choose_device(args.device)
    tested = make_run_vec_env(run, 1)
    agent = begin_agent(out, run, tested, args.resume)
    start = latest_checkpoint(out, agent.num_timesteps) if args.resume else None
    config = ppo_config(run, args.env_runners, args.learners, device == "cuda", agent.num_timesteps)
    steps = planned_steps(run.preset.steps, agent.num_timesteps, run.preset.rollout * run.preset.num_envs)
    console.print(f"{run.task}, {run.observation}, RLlib: {steps}")
    if agent.num_timesteps < run.preset.steps:
        processes = args.env_runners + args.learners
        if args.address == LOCAL and processes and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(1)  # threads of several processes on the same cores would wait for each other
        with claimed_run(out, args.resume), ray_cluster(args.address, processes), stop_signals() as stopped:
            algorithm = config.build_algo()
            if start is not None:
                algorithm.restore_from_path(str(start.resolve()))
                agent.num_timesteps = step_of(start)
            learn(algorithm, agent, Progress(agent, out, run, console), out, stopped)
    evaluate = as_typed("python agents/evaluate_agent.py")
    console.print(f"agent and config.json in {escape(str(out))}: {evaluate} {escape(str(out))}")


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Tell whether Ctrl-C or SIGTERM came, so that iterations end whole, for a checkpoint; a second one interrupts."""
    came: list[int] = []

    def note(number: int, _: Any) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    with handling(note, signal.SIGINT, signal.SIGTERM):
        yield lambda: bool(came)


def learn(
    algorithm: "Algorithm", agent: BaseAlgorithm, progress: Progress, out: Path, stopped: Callable[[], bool]
) -> None:
    """Train to the end, or until a signal."""
    from lavae_rl.rl.rllib import SCORES, copy_weights

    copy_weights(algorithm, agent)
    progress.save()
    save_checkpoint(algorithm, out, agent.num_timesteps)
    with progress.bar, SummaryWriter(str(out)) as writer:
        while agent.num_timesteps < progress.run.preset.steps and not stopped():
            results = algorithm.train()["env_runners"]
            agent.num_timesteps = int(results["num_env_steps_sampled_lifetime"])
            scores = {name: float(results[name]) for name in SCORES if name in results}
            for name, value in scores.items():
                writer.add_scalar(f"rollout/{name}", value, agent.num_timesteps)
            progress.show(list(scores.values()))
            if progress.due():
                copy_weights(algorithm, agent)
                # Before the agent: after a crash between the two, the run goes on from the later one.
                save_checkpoint(algorithm, out, agent.num_timesteps)
                writer.add_scalar("eval/score", progress.evaluate().score, agent.num_timesteps)
        copy_weights(algorithm, agent)
        save_checkpoint(algorithm, out, agent.num_timesteps)
        progress.save()
        if stopped():
            raise KeyboardInterrupt
        progress.finish()


def save_checkpoint(algorithm: "Algorithm", out: Path, step: int) -> None:
    """Write RLlib's state and remove the one before; a crash leaves one of them whole."""
    whole, half = out / f"{CHECKPOINT}{step}", out / "saving.tmp"
    if not whole.exists():  # or it is the state at this step already, which a run was resumed from
        shutil.rmtree(half, ignore_errors=True)
        algorithm.save_to_path(str(half.resolve()))
        half.rename(whole)
    for other in checkpoints(out):
        if other != whole:
            shutil.rmtree(other)


def step_of(checkpoint: Path) -> int:
    """The number of steps that a checkpoint was written after."""
    return int(checkpoint.name.removeprefix(CHECKPOINT))


def checkpoints(out: Path) -> list[Path]:
    """RLlib's checkpoints in a run folder, the newest last."""
    found = [path for path in out.glob(f"{CHECKPOINT}*") if path.name.removeprefix(CHECKPOINT).isdecimal()]
    return sorted(found, key=step_of)


def latest_checkpoint(out: Path, steps: int) -> Path | None:
    """The newest of RLlib's checkpoints in a run folder; None where an agent of so many steps needs none.

    Raises FileNotFoundError where there is none, and the agent has learned something.
    """
    if found := checkpoints(out):
        return found[-1]
    if steps:
        raise FileNotFoundError(f"expected a folder {CHECKPOINT}STEP in {out}, got none: train it in another --out")
    return None


if __name__ == "__main__":
    main()
