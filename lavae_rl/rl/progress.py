"""The training of an agent as it goes on: a bar, evaluations, and the files of its run."""

import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich import progress as bars
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm

from lavae_rl.rl.agents import save_agent
from lavae_rl.rl.environments import is_task
from lavae_rl.rl.run import AgentRun, Evaluation
from lavae_rl.rl.scores import MeanReturn, play_episodes
from lavae_rl.rl.success import SuccessRate
from lavae_rl.rl.vec_envs import MOST_TEST_ENVS, make_run_vec_env

SECONDS_BETWEEN_UPDATES = 0.2
TEST_SEED = 1_000_000
"""First seed of the environments of the evaluations."""


class Progress:
    """Display, evaluation and saving of an agent while it learns: the latest one, which --resume needs, not the best.

    Its ``bar`` shows the progress of the run, the success or the mean return of the latest training episodes, and the
    speed.
    """

    def __init__(self, agent: BaseAlgorithm, out: Path, run: AgentRun, console: Console) -> None:
        self.agent, self.run = agent, run
        self._out, self._console = out, console
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
        return self.run.evaluations[-1].step if self.run.evaluations else 0

    def due(self) -> bool:
        """Return True once an evaluation is due."""
        return self.agent.num_timesteps >= self._next

    def stale(self) -> bool:
        """Return True if the bar was not updated for some time."""
        return time.perf_counter() - self._shown > SECONDS_BETWEEN_UPDATES

    def show(self, scores: Sequence[float]) -> None:
        """Update the bar with the successes, or else the returns, of the latest training episodes."""
        self._shown = now = time.perf_counter()
        score = "no episode over yet"
        if scores:
            mean = float(np.mean(scores))
            score = f"success {mean:.2f}" if is_task(self.run.task) else f"return {mean:.1f}"
        step = self.agent.num_timesteps
        speed = (step - self._first) / max(now - self._opened, 1e-9)
        self.bar.update(self._task, completed=step, description=f"{score}  {speed:,.0f} steps/s")

    def finish(self) -> Evaluation | None:
        """Evaluate the agent unless it has learned nothing since the last evaluation."""
        return self.evaluate() if self._last_step() < self.agent.num_timesteps else None

    def evaluate(self) -> Evaluation:
        """Measure the success or the mean return of the agent, and save it."""
        step = self.agent.num_timesteps
        self._next = (step // self.run.eval_every + 1) * self.run.eval_every
        self._test.seed(TEST_SEED)
        episodes = play_episodes(self.agent.predict, self._test, self.run.eval_episodes)
        seconds = time.perf_counter() - self._start
        name, word, score = "mean_return", "return", MeanReturn.of(episodes).mean
        if is_task(self.run.task):
            name, word, score = "success_rate", "success", SuccessRate.of(episodes).rate
        evaluation = Evaluation(step, seconds=round(seconds, 1), **{name: score})
        self.run.evaluations.append(evaluation)
        self.save()
        self._console.print(f"step {step:9,d}  {word} {score:.2f}  {step / seconds:,.0f} steps/s")
        return evaluation

    def save(self) -> None:
        """Write the agent and its run as they are."""
        self.run.seconds = time.perf_counter() - self._start
        save_agent(self._out, self.agent, self.run)
