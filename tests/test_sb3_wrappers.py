"""Stable-Baselines3's own wrappers around object tokens, as docs/agents.md describes them."""

from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize

from lavae_rl.perception.sb3 import VecLAVAEObservation
from lavae_rl.rl.vec_envs import make_task_vec_env


def _tokens(**options):
    frames = make_task_vec_env("ObjectGoal", "pixels", 2, seed=0)
    return VecLAVAEObservation(frames, "multi-dsprites", 8, **options)


def test_rewards_and_tokens_can_be_normalised_but_no_mask():
    for venv in (VecNormalize(_tokens(), norm_obs=False), VecNormalize(_tokens(), norm_obs_keys=["tokens"])):
        observations = venv.reset()
        assert isinstance(observations, dict)
        assert set(np.unique(observations["mask"])) <= {0, 1}
        venv.step(np.zeros(2, int))
    with pytest.raises(ValueError, match="mask is of type MultiBinary"):
        VecNormalize(_tokens())


def test_flat_tracked_tokens_are_stacked():
    tokens = _tokens(flatten=True, tracking="hungarian")
    venv: Any = VecFrameStack(tokens, 3)
    numbers = 3 * 8 * (1 + tokens.frame_encoder.layout.width)
    assert venv.observation_space.shape == (numbers,)
    venv.reset()
    assert venv.step(np.zeros(2, int))[0].shape == (2, numbers)
    with pytest.raises(TypeError, match="MultiBinary"):
        VecFrameStack(_tokens(), 3)
