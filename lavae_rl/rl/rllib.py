"""Agents under Ray RLlib, on one machine or many: environments, networks, settings of PPO.

Environments of a runner are one batch, so that LAVAE encodes their frames in one pass. Networks are the policies of
Stable-Baselines3 that ``train_agent.py`` trains, so that an agent can be loaded as one of its own.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.wrappers.vector import RecordEpisodeStatistics, TransformReward
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.tune import register_env
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from lavae_rl.perception.wrappers import VectorLAVAEObservation
from lavae_rl.rl.agents import policy_kwargs
from lavae_rl.rl.atari import VectorLives
from lavae_rl.rl.environments import is_task
from lavae_rl.rl.observations import SLOTS, observation_kind, require, screen_view
from lavae_rl.rl.presets import Preset
from lavae_rl.rl.run import AgentRun
from lavae_rl.rl.screens import make_screens
from lavae_rl.rl.vec_envs import make_task_vector, token_options

ENVIRONMENT = "lavae-rl"
"""Name under which ``make_runner_env`` is registered with Ray."""
SCORES = ("success", "return")
"""Metrics of episodes in the results of env runners."""


class ScatteredSeeds(VectorWrapper):
    """Wrapper that hashes the seed of a reset.

    RLlib seeds runner w with seed + w, and Gymnasium its environment i with seed + w + i, so that neighbouring runners
    would share nearly all scenes.
    """

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset all environments."""
        return self.env.reset(seed=None if seed is None else scattered(seed), options=options)


def scattered(*seeds: int) -> int:
    """A seed of 31 bits that is a hash of others."""
    return int(np.random.SeedSequence(seeds).generate_state(1)[0]) >> 1


def make_runner_env(context: Mapping[str, Any], mode: AutoresetMode = AutoresetMode.NEXT_STEP) -> VectorEnv:
    """Make the environments of one env runner, with rewards and ends of episodes as in training.

    Infos of the last step of an episode have "is_success" on our tasks, and "episode", with the sum "r" of plain
    rewards, on others.

    Args:
        context: "run", an ``AgentRun`` that observes tokens, and "num_envs", the number of environments.
        mode: autoreset mode.

    Raises:
        ValueError: another mode than NEXT_STEP, in which RLlib would take the first observation of an episode for the
            last of the one before, without an error; an observation without tokens; too many objects.
    """
    if mode != AutoresetMode.NEXT_STEP:
        raise ValueError(f"expected autoreset mode NEXT_STEP, the only one that RLlib reads correctly, got {mode}")
    run, num_envs = context["run"], context["num_envs"]
    require("RLlib", run.observation, lambda kind: kind.reads_tokens)
    preset, kind = run.preset, observation_kind(run.observation)
    if is_task(run.task):
        options: dict[str, Any] = {"max_objects": SLOTS}
        vector = make_task_vector(run.task, run.observation, num_envs, mode, **preset.env_options())
    else:
        options = token_options(run)
        vector = RecordEpisodeStatistics(make_screens(run.task, screen_view(run.task, run.observation), num_envs, mode))
    if (model := kind.model(run.task, run.model)) is not None:
        vector = VectorLAVAEObservation(vector, model, **options)
    if preset.episodic_life:
        vector = VectorLives(vector)
    if preset.reward == "clipped":
        vector = TransformReward(vector, np.sign)
    return ScatteredSeeds(vector)


class PolicyModule(TorchRLModule, ValueFunctionAPI):
    """A policy of Stable-Baselines3 on object tokens as an RLModule.

    ``model_config`` has "observation", a name of ``OBSERVATIONS``, and "preset", a ``Preset``.
    """

    def setup(self) -> None:
        """Make the networks."""
        kind = observation_kind(self.model_config["observation"])
        make: Any = PPO.policy_aliases[kind.policy]
        kwargs = policy_kwargs(kind, self.model_config["preset"])
        # The rate is that of the policy's own optimiser, which is not used.
        self.policy = make(self.observation_space, self.action_space, lambda _: 0.0, **kwargs)

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {Columns.ACTION_DIST_INPUTS: self._actions(self.policy.extract_features(batch[Columns.OBS]))}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        features = self.policy.extract_features(batch[Columns.OBS])
        # Not from _forward, whose outputs but the actions would all be sent to the learners.
        return {Columns.ACTION_DIST_INPUTS: self._actions(features), Columns.EMBEDDINGS: features}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Values of observations, or of their features where these are known."""
        features = self.policy.extract_features(batch[Columns.OBS]) if embeddings is None else embeddings
        values: Tensor = self.policy.value_net(self.policy.mlp_extractor.forward_critic(features))
        return values.squeeze(-1)

    def _actions(self, features: Tensor) -> Tensor:
        inputs: Tensor = self.policy.action_net(self.policy.mlp_extractor.forward_actor(features))
        if isinstance(self.action_space, spaces.Box):  # means and logarithms of standard deviations
            inputs = torch.cat([inputs, self.policy.log_std.expand_as(inputs)], dim=-1)
        return inputs


class Scores(RLlibCallback):
    """Callback that logs the success of the latest 100 episodes on our tasks, and their return on others."""

    def on_episode_end(self, *, episode: Any, metrics_logger: Any, **kwargs: Any) -> None:
        """Log the score of an episode; a lost life is the end of none."""
        info = episode.get_infos(-1)
        if "is_success" in info:
            metrics_logger.log_value("success", float(info["is_success"]), window=100)
        if "episode" in info:
            metrics_logger.log_value("return", float(info["episode"]["r"]), window=100)


def ppo_config(run: AgentRun, env_runners: int = 0, learners: int = 0, gpu: bool = False, first: int = 0) -> PPOConfig:
    """Settings of RLlib's PPO: those of ``run.preset``, its environments and batches divided among the processes.

    Args:
        run: of the algorithm "ppo".
        env_runners: processes that act; 0 acts in this one.
        learners: processes that learn; 0 learns in this one.
        gpu: whether every learner has a GPU of its own.
        first: steps that the agent has learned from already; environments go on with other scenes.

    Raises:
        ValueError: another algorithm, or less than one environment or one transition of a batch for each process.
    """
    preset = run.preset
    if preset.algorithm != "ppo":
        raise ValueError(f"expected algorithm ppo under RLlib, got {preset.algorithm}")
    for number, name in ((env_runners, "env runners"), (learners, "learners")):
        if not 0 <= number <= min(preset.num_envs, preset.batch_size):
            raise ValueError(f"expected 0 to {preset.num_envs} {name}, one for each environment, got {number}")
    register_env(ENVIRONMENT, make_runner_env)
    spec = RLModuleSpec(PolicyModule, model_config={"observation": run.observation, "preset": preset})
    config = PPOConfig().environment(ENVIRONMENT, env_config={"run": run}, clip_actions=True, normalize_actions=False)
    config = config.env_runners(
        num_env_runners=env_runners,
        num_envs_per_env_runner=math.ceil(preset.num_envs / max(env_runners, 1)),
        gym_env_vectorize_mode="vector_entry_point",
    )
    config = config.learners(num_learners=learners, num_gpus_per_learner=int(gpu))
    config = config.training(**_training(preset, max(learners, 1)))
    config = config.rl_module(rl_module_spec=spec).callbacks(Scores)
    # RLlib adds the number of a process, so runs with seeds 0 and 1 would share most of their scenes.
    return config.debugging(seed=scattered(run.seed, first), log_level="ERROR")


def _training(preset: Preset, learners: int) -> dict[str, Any]:
    """Arguments of ``PPOConfig.training``, where Stable-Baselines3's defaults are others than RLlib's, too."""
    steps = preset.rollout * preset.num_envs
    return {
        "gamma": preset.gamma,
        "lambda_": preset.gae_lambda,
        "lr": [[0, preset.learning_rate], [preset.steps, 0.0]],
        "train_batch_size_per_learner": steps // learners,
        "minibatch_size": max(min(preset.batch_size, steps) // learners, 1),
        "num_epochs": preset.epochs,
        "entropy_coeff": preset.entropy,
        "clip_param": 0.2,
        "vf_clip_param": math.inf,  # it would clip the squared error itself
        "vf_loss_coeff": 0.5,
        "use_kl_loss": False,
        "grad_clip": 0.5,
        "grad_clip_by": "global_norm",
    }


def copy_weights(algorithm: Algorithm, agent: BaseAlgorithm) -> None:
    """Give an agent of Stable-Baselines3 the weights that RLlib has learned."""
    module: Any = algorithm.get_module()
    agent.policy.load_state_dict(module.policy.state_dict())
