"""Train an agent of Stable-Baselines3 on object tokens, or on what they are compared with.

    python agents/train_agent.py --env LAVAE/OddOneOut-v0 --observation lavae
    python agents/train_agent.py --env ALE/Pong-v5 --observation lavae --model runs/pong

The installed command is lavae-train-agent.

Our tasks have numbers of objects and success rates; any other environment has its return.

All output goes to one run folder: config.json, agent.zip, progress.csv (progress-STEP.csv of a resumed run) and
TensorBoard events. Ctrl-C leaves a run that --resume continues: weights, optimiser and schedules go on where they were,
the environments begin new scenes, and DQN, SAC and TD3 fill their replay buffers anew before they go on learning.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, make_output_format

from lavae_rl.rl.agents import ALGORITHMS, begin_agent, save_agent, steps_of_rollout
from lavae_rl.rl.environments import is_task
from lavae_rl.rl.flags import add_run_flags, default_folder, open_run, planned_steps
from lavae_rl.rl.observations import OBSERVATIONS
from lavae_rl.rl.presets import preset_for
from lavae_rl.rl.progress import Progress
from lavae_rl.rl.run import DEFAULTS, AgentRun, Evaluation, given_settings
from lavae_rl.rl.vec_envs import make_training_vec_env
from lavae_rl.runs.claims import claimed_run
from lavae_rl.runs.devices import DEVICES, choose_device
from lavae_rl.runs.exits import clean_exit, program_parser
from lavae_rl.runs.programs import as_typed


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; a flag that is not given stays None, unlike a default that --resume would compare."""
    parser = program_parser(__doc__)
    add_run_flags(parser)
    parser.add_argument("--observation", choices=list(OBSERVATIONS), help="input of the agent (default: lavae)")
    parser.add_argument(
        "--algo", dest="algorithm", choices=list(ALGORITHMS), help="algorithm (default: the environment's)"
    )
    parser.add_argument("--num-envs", type=int, help="environments in one batch (default: the environment's)")
    colors = "exchange the colours of each scene at random in training, where a task names none"
    parser.add_argument("--permute-colors", action="store_true", default=None, help=colors)
    parser.add_argument("--model", help="LAVAE that makes the tokens (default: the bundled one); for vae, a baseline")
    parser.add_argument(
        "--device", choices=DEVICES, default="cpu", help="device of policy and perception (default: cpu)"
    )
    parser.add_argument("--out", type=Path, help="run folder (default: runs/ENV-OBSERVATION-ALGO-seedN)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 complete, 1 failed, 2 unusable arguments, 130 stopped and resumable."""
    args = parse_args(argv)
    with clean_exit(stopped="stopped; what is in the run folder can be continued with --resume") as console:
        train(args, console)


def train(args: argparse.Namespace, console: Console) -> None:
    """Train and evaluate a new or a resumed run."""
    given = given_settings(vars(args))
    algorithm = given.get("algorithm", preset_for(given.get("task", DEFAULTS["task"])).algorithm)
    out = args.out or default_folder(given, algorithm)
    run = open_run(out, given, args.resume)
    preset, device = run.preset, choose_device(args.device)
    venv = make_training_vec_env(run, device)
    agent = begin_agent(out, run, venv, args.resume, device)
    steps = planned_steps(preset.steps, agent.num_timesteps, steps_of_rollout(agent))
    console.print(f"{run.task}, {run.observation}, {preset.algorithm}: {steps}")
    if agent.num_timesteps < preset.steps:
        with claimed_run(out, args.resume):
            learn(agent, out, run, console)
    evaluate = as_typed("python agents/evaluate_agent.py")
    console.print(f"agent and config.json in {escape(str(out))}: {evaluate} {escape(str(out))}")


def learn(agent: BaseAlgorithm, out: Path, run: AgentRun, console: Console) -> None:
    """Train to the end, or until Ctrl-C."""
    save_agent(out, agent, run)
    first = agent.num_timesteps
    csv = make_output_format("csv", str(out), f"-{first}" if first else "")
    agent.set_logger(Logger(str(out), [csv, make_output_format("tensorboard", str(out))]))
    # Stable-Baselines3 seeds environments with seed, seed + 1, ..., so runs with seeds 0 and 1 would share nearly all
    # scenes, and a resumed run would repeat its first ones. Sessions with these seeds share none, but by chance.
    agent.set_random_seed(int(np.random.SeedSequence([run.seed, first]).generate_state(1)[0]))
    progress, interval = Progress(agent, out, run, console), ALGORITHMS[run.preset.algorithm].log_interval
    watch = Watch(progress)
    try:
        with progress.bar:
            agent.learn(run.preset.steps - first, watch, interval, reset_num_timesteps=not first)
            watch.finish()
    except KeyboardInterrupt:
        progress.save()
        raise
    finally:
        agent.logger.close()


class Watch(BaseCallback):
    """Callback that runs ``Progress`` from the training loop of Stable-Baselines3."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def _on_step(self) -> bool:
        if self._progress.stale():
            self._progress.show(self.scores())
        if self._progress.due():
            self.log(self._progress.evaluate())
        return True

    def scores(self) -> Sequence[float]:
        """Successes, or else returns, of the latest 100 training episodes."""
        if is_task(self._progress.run.task):
            return [float(success) for success in self.model.ep_success_buffer or ()]
        return [float(episode["r"]) for episode in self.model.ep_info_buffer or ()]

    def finish(self) -> None:
        """Show and evaluate the agent at the end."""
        self._progress.show(self.scores())
        if (evaluation := self._progress.finish()) is not None:
            self.log(evaluation)

    def log(self, evaluation: Evaluation) -> None:
        """Write an evaluation into the logs."""
        name = "success_rate" if evaluation.mean_return is None else "mean_return"
        self.logger.record(f"eval/{name}", evaluation.score)
        self.logger.dump(evaluation.step)


if __name__ == "__main__":
    main()
