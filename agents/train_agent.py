"""Trains an agent of Stable-Baselines3 on object tokens, or on what they are compared with.

    python agents/train_agent.py --env LAVAE/OddOneOut-v0 --observation lavae
    python agents/train_agent.py --env ALE/Pong-v5 --observation lavae --model runs/pong

Our tasks have numbers of objects and success rates; any other environment has its return.

All output goes to one run folder: config.json, agent.zip, progress.csv (progress-STEP.csv of a resumed run) and
TensorBoard events. Ctrl-C leaves a run that --resume continues: weights, optimiser and schedules go on where they were,
the environments begin new scenes, and DQN, SAC and TD3 fill their replay buffers anew before they go on learning.
"""

import argparse
import math
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich import progress as bars
from rich.console import Console
from rich.markup import escape
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, make_output_format

from lavae_rl.policies.set_extractor import ARCHITECTURES
from lavae_rl.registration import TASKS
from lavae_rl.rl.agents import ALGORITHMS, find_run, load_agent, make_agent, save_agent
from lavae_rl.rl.environments import is_task
from lavae_rl.rl.observations import OBSERVATIONS
from lavae_rl.rl.presets import preset_for
from lavae_rl.rl.run import DEFAULTS, AgentRun, Evaluation, given_settings, new_run, resumed_run
from lavae_rl.rl.scores import MeanReturn, play_episodes
from lavae_rl.rl.success import SuccessRate
from lavae_rl.rl.vec_envs import MOST_TEST_ENVS, make_run_vec_env, make_training_vec_env
from lavae_rl.runs.devices import DEVICES, choose_device
from lavae_rl.runs.exits import clean_exit, program_parser
from lavae_rl.runs.folder import claimed

SECONDS_BETWEEN_UPDATES = 0.2
TEST_SEED = 1_000_000
"""First seed of the environments of the evaluations."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; a flag that is not given stays None, unlike a default that --resume would compare."""
    parser = program_parser(__doc__)
    tasks = f"task: {', '.join(TASKS)}; or the id of any environment (default: OddOneOut)"
    parser.add_argument("--env", dest="task", help=tasks)
    parser.add_argument("--observation", choices=list(OBSERVATIONS), help="(default: lavae)")
    parser.add_argument("--algo", dest="algorithm", choices=list(ALGORITHMS), help="(default: the environment's)")
    parser.add_argument("--steps", type=int, help="environment steps (default: the environment's)")
    parser.add_argument("--num-envs", type=int, help="environments in one batch (default: the environment's)")
    numbers = "of our tasks: a number or a range (default: the environment's)"
    parser.add_argument("--num-objects", type=int, nargs="+", help=numbers)
    rewards = "of our tasks sparse or shaped, of others plain or clipped to its sign (default: the environment's)"
    parser.add_argument("--reward", choices=["sparse", "shaped", "plain", "clipped"], help=rewards)
    lives = "Atari: whether a life is an episode in training (default: it is)"
    parser.add_argument("--episodic-life", action=argparse.BooleanOptionalAction, help=lives)
    parser.add_argument("--arch", choices=ARCHITECTURES, help="of the set network (default: the environment's)")
    parser.add_argument("--model", help="LAVAE that makes the tokens (default: the bundled one); for vae, a baseline")
    parser.add_argument("--seed", type=int, help="(default: 0)")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="of policy and perception (default: cpu)")
    every = "steps between evaluations (default: 100,000; 250,000 where the environment is none of our tasks)"
    parser.add_argument("--eval-every", type=int, help=every)
    parser.add_argument("--eval-episodes", type=int, help="per evaluation (default: 200; 10)")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/ENV-OBSERVATION-ALGO-seedN)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 complete, 1 failed, 2 unusable arguments, 130 stopped and resumable."""
    args = parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # schedulers and timeout(1) send it: as Ctrl-C
    with clean_exit(stopped="stopped; what is in the run folder can be continued with --resume") as console:
        train(args, console)


def train(args: argparse.Namespace, console: Console) -> None:
    """Train and evaluate a new or a resumed run."""
    given = given_settings(vars(args))
    named = {**DEFAULTS, "algorithm": preset_for(given.get("task", DEFAULTS["task"])).algorithm, **given}
    default = "{task}-{observation}-{algorithm}-seed{seed}".format(**named)
    out = args.out or Path("runs") / default.replace("/", "-").replace(":", "-")
    if args.resume:
        run = resumed_run(find_run(out), given)
    elif out.exists() and any(out.iterdir()):
        raise FileExistsError(
            f"{out} holds another run or other files; continue with --resume, or choose another --out"
        )
    else:
        run = new_run(given)
    preset, device = run.preset, choose_device(args.device)
    venv = make_training_vec_env(run, device)
    resumed = load_agent(out, venv, device).agent if args.resume else None
    agent = resumed or make_agent(run.observation, preset, venv, run.seed, device)
    console.print(f"{run.task}, {run.observation}, {preset.algorithm}: {preset.steps:,} steps")
    if agent.num_timesteps < preset.steps:
        with claimed(out):
            learn(agent, out, run, console)
    console.print(f"agent and config.json in {escape(str(out))}: python agents/evaluate_agent.py {escape(str(out))}")


def learn(agent: BaseAlgorithm, out: Path, run: AgentRun, console: Console) -> None:
    """Train to the end, or until Ctrl-C."""
    save_agent(out, agent, run)
    first = agent.num_timesteps
    csv = make_output_format("csv", str(out), f"-{first}" if first else "")
    agent.set_logger(Logger(str(out), [csv, make_output_format("tensorboard", str(out))]))
    # Stable-Baselines3 seeds environments with seed, seed + 1, ..., so runs with seeds 0 and 1 would share nearly all
    # scenes, and a resumed run would repeat its first ones. Sessions with these seeds share none, but by chance.
    agent.set_random_seed(int(np.random.SeedSequence([run.seed, first]).generate_state(1)[0]))
    watch, interval = Watch(agent, out, run, console), ALGORITHMS[run.preset.algorithm].log_interval
    try:
        with watch.bar:
            agent.learn(run.preset.steps - first, watch, interval, reset_num_timesteps=not first)
            watch.finish()
    except KeyboardInterrupt:
        watch.save()
        raise
    finally:
        agent.logger.close()


class Watch(BaseCallback):
    """Evaluates and saves the agent every so many steps: the latest one, which --resume needs, not the best.

    Its ``bar`` shows the progress of the run, the success or the mean return of the latest 100 training episodes, and
    the speed.
    """

    def __init__(self, agent: BaseAlgorithm, out: Path, run: AgentRun, console: Console) -> None:
        super().__init__()
        self.model = agent  # learn() sets it too, but Ctrl-C may come before
        self._out, self._run, self._console = out, run, console
        options = {"num_objects": run.preset.num_objects} if is_task(run.task) else {}
        most = min(MOST_TEST_ENVS, run.eval_episodes)
        self._test = make_run_vec_env(run, most, seed=TEST_SEED, device=agent.device.type, **options)
        self._first, self._opened = agent.num_timesteps, time.perf_counter()
        self._start = self._opened - run.seconds
        columns = bars.BarColumn(20), bars.MofNCompleteColumn(), bars.TimeRemainingColumn()
        self.bar = bars.Progress(*columns, bars.TextColumn("{task.description}"), console=console)
        self._task = self.bar.add_task("", total=run.preset.steps, completed=self._first)
        self._shown = -math.inf
        # At the same steps whether a run was resumed or not; an evaluation that was interrupted is made at once.
        self._next = (self._last_step() // run.eval_every + 1) * run.eval_every

    def _last_step(self) -> int:
        return self._run.evaluations[-1].step if self._run.evaluations else 0

    def _on_step(self) -> bool:
        if time.perf_counter() - self._shown > SECONDS_BETWEEN_UPDATES:
            self.show()
        if self.num_timesteps >= self._next:
            self._next += self._run.eval_every
            self.evaluate()
        return True

    def show(self) -> None:
        """Update the bar."""
        self._shown = now = time.perf_counter()
        score = "no episode over yet"
        if is_task(self._run.task) and self.model.ep_success_buffer:
            score = f"success {np.mean(self.model.ep_success_buffer):.2f}"
        elif self.model.ep_info_buffer:
            score = f"return {np.mean([episode['r'] for episode in self.model.ep_info_buffer]):.1f}"
        speed = (self.model.num_timesteps - self._first) / max(now - self._opened, 1e-9)
        text = f"{score}  {speed:,.0f} steps/s"
        self.bar.update(self._task, completed=self.model.num_timesteps, description=text)

    def finish(self) -> None:
        """Evaluate the agent unless it has learned nothing since the last evaluation."""
        self.show()
        if self._last_step() < self.model.num_timesteps:
            self.evaluate()

    def evaluate(self) -> None:
        """Measure the success or the mean return of the agent, and save it."""
        step, logger = self.model.num_timesteps, self.model.logger
        self._test.seed(TEST_SEED)
        episodes = play_episodes(self.model.predict, self._test, self._run.eval_episodes)
        seconds = time.perf_counter() - self._start
        name, word, score = "mean_return", "return", MeanReturn.of(episodes).mean
        if is_task(self._run.task):
            name, word, score = "success_rate", "success", SuccessRate.of(episodes).rate
        self._run.evaluations.append(Evaluation(step, seconds=round(seconds, 1), **{name: score}))
        self.save()
        logger.record(f"eval/{name}", score)
        logger.dump(step)
        self._console.print(f"step {step:9,d}  {word} {score:.2f}  {step / seconds:,.0f} steps/s")

    def save(self) -> None:
        """Write the agent and its run as they are."""
        self._run.seconds = time.perf_counter() - self._start
        save_agent(self._out, self.model, self._run)


if __name__ == "__main__":
    main()
