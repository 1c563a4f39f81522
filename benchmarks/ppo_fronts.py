"""PPO's speed on OddOneOut, end to end: environment steps per second on tokens, on pixels, on the true state.

    python benchmarks/ppo_fronts.py

*lavae* encodes each frame once, before the policy (``VecLAVAEObservation``); *in the policy* encodes it once in
the rollout and once per epoch (``LAVAEFeaturesExtractor``), and reads flat tokens by one layer of 64; *pixels* is
Stable-Baselines3's own CNN on the frames; *oracle* observes the true state. Environments, rollouts, batches and epochs
are those of ``agents/train_agent.py``.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm

from lavae_rl.perception.sb3 import LAVAEFeaturesExtractor
from lavae_rl.rl.agents import make_agent
from lavae_rl.rl.presets import preset_for
from lavae_rl.rl.vec_envs import make_task_vec_env
from lavae_rl.runs.exits import program_console

TASK = "OddOneOut"
WRAPPERS = ("lavae", "in the policy", "pixels", "oracle")


def make_wrapped_agent(wrapper: str, num_envs: int) -> BaseAlgorithm:
    preset = preset_for(TASK)
    observation = "pixels" if wrapper == "in the policy" else wrapper
    venv = make_task_vec_env(TASK, observation, num_envs, seed=0, num_objects=preset.num_objects, reward=preset.reward)
    if wrapper != "in the policy":
        return make_agent(observation, preset, venv, seed=0)
    policy = {"features_extractor_class": LAVAEFeaturesExtractor, "net_arch": [64]}
    settings: dict[str, Any] = {"batch_size": preset.batch_size, "n_epochs": preset.epochs, "n_steps": preset.rollout}
    return PPO("CnnPolicy", venv, policy_kwargs=policy, seed=0, device="cpu", **settings)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-envs", type=int, default=64, help="environments (default: 64)")
    parser.add_argument("--rounds", type=int, default=3, help="rollouts and updates of each, in turns (default: 3)")
    args = parser.parse_args(argv)
    agents = {wrapper: make_wrapped_agent(wrapper, args.num_envs) for wrapper in WRAPPERS}
    steps = preset_for(TASK).rollout * args.num_envs
    for agent in agents.values():
        agent.learn(steps)  # warm up
    seconds = dict.fromkeys(WRAPPERS, 0.0)
    for _ in range(args.rounds):  # in turns, so that other load on the machine slows all of them alike
        for wrapper, agent in agents.items():
            start = time.perf_counter()
            agent.learn(steps)
            seconds[wrapper] += time.perf_counter() - start
    table = Table("wrapper", "steps/s", "over pixels", title=f"PPO on {TASK}, {args.num_envs} environments")
    for wrapper, time_taken in seconds.items():
        speed = args.rounds * steps / time_taken
        table.add_row(wrapper, f"{speed:,.0f}", f"{seconds['pixels'] / time_taken:.1f} times")
    program_console().print(table)


if __name__ == "__main__":
    main()
