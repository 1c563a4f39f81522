import importlib

import pytest
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_util import make_vec_env

from lavae_rl.registration import TASKS
from lavae_rl.rl.agents import make_agent
from lavae_rl.rl.presets import preset_for
from lavae_rl.rl.vec_envs import make_task_vec_env
from lavae_rl.rl.zoo import hyperparams

SAME = {
    PPO: ("n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "ent_coef", "policy_kwargs"),
    SAC: ("buffer_size", "learning_starts", "gradient_steps", "batch_size", "gamma", "ent_coef", "policy_kwargs"),
}


def test_every_task_has_hyperparameters():
    assert set(hyperparams) == {f"LAVAE/{task}-v0" for task in TASKS}


@pytest.mark.parametrize(("task", "kind"), [("OddOneOut", PPO), ("MatchDigit", SAC)])
def test_zoo_trains_the_same_agent_as_our_program(task, kind):
    settings = dict(hyperparams[f"LAVAE/{task}-v0"])
    # What rl-baselines3-zoo does with the entries that are not the algorithm's.
    ((wrapper, options),) = settings.pop("vec_env_wrapper")[0].items()
    module, _, name = wrapper.rpartition(".")
    venv = make_vec_env(f"LAVAE/{task}-v0", 2, env_kwargs=settings.pop("env_kwargs"))
    venv = getattr(importlib.import_module(module), name)(venv, **options)
    assert settings.pop("n_timesteps") == preset_for(task).steps
    assert settings.pop("n_envs") == preset_for(task).num_envs
    schedule, rate = settings.pop("learning_rate").split("_")
    assert (schedule, float(rate)) == ("lin", preset_for(task).learning_rate)
    theirs = kind(env=venv, **(settings | {"batch_size": 2}))
    ours = make_agent("lavae", preset_for(task), make_task_vec_env(task, "lavae", 64), seed=0)
    assert isinstance(ours, kind)
    assert str(theirs.policy) == str(ours.policy)
    assert all(getattr(ours, name) == settings[name] for name in SAME[kind])
