"""Stable-Baselines3's wrappers against a reference that encodes frame by frame, and against Gymnasium's."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.model.lavae import LAVAE
from lavae_rl.perception.sb3 import LAVAEFeaturesExtractor, VecLAVAEObservation
from lavae_rl.perception.vae_vector import VecVAEObservation
from lavae_rl.perception.wrappers import LAVAEObservation, VectorLAVAEObservation


@pytest.mark.slow
@pytest.mark.parametrize("venv_class", [DummyVecEnv, SubprocVecEnv])
def test_a_vec_env_encodes_every_observation_and_terminal_observation(
    venv_class, factories, slots, reference, assert_same
):
    plain, wrapped = DummyVecEnv(factories), VecLAVAEObservation(venv_class(factories), max_objects=slots)
    plain.seed(5)
    wrapped.seed(5)
    frames: Any = plain.reset()
    tokens: Any = wrapped.reset()
    finals = 0
    for _ in range(10):
        for i in range(4):
            assert_same({key: value[i] for key, value in tokens.items()}, reference(frames[i]))
        frames, rewards, dones, infos = plain.step(np.zeros(4, int))
        tokens, rewards_wrapped, dones_wrapped, infos_wrapped = wrapped.step(np.zeros(4, int))
        np.testing.assert_array_equal(rewards, rewards_wrapped)
        np.testing.assert_array_equal(dones, dones_wrapped)
        for k in np.flatnonzero(dones):
            finals += 1
            assert_same(infos_wrapped[k]["terminal_observation"], reference(infos[k]["terminal_observation"]))
            assert infos_wrapped[k]["TimeLimit.truncated"] == infos[k]["TimeLimit.truncated"]
    wrapped.close()
    assert finals == 3 + 2 + 2 + 1


def test_all_wrappers_give_the_same_tokens(make_env, factories, slots):
    frames = np.stack([make_env().reset(seed=seed)[0] for seed in range(4)])
    options: dict[str, Any] = {"max_objects": slots, "flatten": True}
    single = np.stack([LAVAEObservation(make_env(), **options).reset(seed=seed)[0] for seed in range(4)])
    vector, _ = VectorLAVAEObservation(SyncVectorEnv(factories), **options).reset(seed=[0, 1, 2, 3])
    venv = VecLAVAEObservation(DummyVecEnv(factories), **options)
    venv.seed(0)
    extractor = LAVAEFeaturesExtractor(gym.spaces.Box(0, 255, (3, 64, 64), np.uint8), max_objects=slots)
    features = extractor(torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255).detach().numpy()
    for other in (vector, venv.reset(), features):
        np.testing.assert_allclose(single, other, atol=1e-5)


@pytest.mark.slow
def test_tracks_end_with_their_episode_in_a_vec_env(factories, tracked, references, assert_same):
    plain, wrapped = DummyVecEnv(factories), VecLAVAEObservation(DummyVecEnv(factories), **tracked)
    plain.seed(5)
    wrapped.seed(5)
    frames: Any = plain.reset()
    tokens: Any = wrapped.reset()
    expected = [reference.start(frame) for reference, frame in zip(references, frames, strict=True)]
    for _ in range(9):
        for i in range(4):
            assert_same({key: value[i] for key, value in tokens.items()}, expected[i])
        frames, _, dones, infos = plain.step(np.zeros(4, int))
        tokens, _, _, infos_wrapped = wrapped.step(np.zeros(4, int))
        for i, reference in enumerate(references):
            if dones[i]:
                assert_same(infos_wrapped[i]["terminal_observation"], reference(infos[i]["terminal_observation"]))
            expected[i] = reference.start(frames[i]) if dones[i] else reference(frames[i])


def test_policies_do_not_overwrite_the_weights_of_the_extractor(make_env, slots):
    venv = DummyVecEnv([lambda: make_env(8)] * 2)
    policy = {"features_extractor_class": LAVAEFeaturesExtractor, "features_extractor_kwargs": {"max_objects": slots}}
    agent = PPO("CnnPolicy", venv, n_steps=8, batch_size=8, n_epochs=1, policy_kwargs=policy)
    trained = LAVAE.from_pretrained("multi-dsprites").state_dict()
    extractor: Any = agent.policy.features_extractor
    assert all(torch.equal(value, trained[name]) for name, value in extractor.lavae.state_dict().items())
    with pytest.raises(ValueError, match=r"expected pixel values 0 and 255 only, got 128"):
        extractor(torch.full((1, 3, 64, 64), 0.5))
    with pytest.raises(
        ValueError, match=r"expected values 0 to 1, got values from 255 to 255: .*normalize_images=True"
    ):
        extractor(torch.full((1, 3, 64, 64), 255.0))
    agent.learn(16)
    changed = extractor.lavae.state_dict()
    assert all(torch.equal(changed[name], trained[name]) for name in trained if name.startswith("location_network"))
    assert any(not torch.equal(changed[name], trained[name]) for name in trained if name.startswith("appearance"))


def test_an_extractor_applies_the_preprocessing_stored_with_the_weights(prepared_model, make_env, dim_square, slots):
    env = make_env()
    env.observation_space = gym.spaces.Box(0, 255, (32, 32, 3), np.uint8)
    options: dict[str, Any] = {"model": prepared_model, "max_objects": slots}
    tokens = LAVAEObservation(env, flatten=True, **options).observation(dim_square)
    assert tokens.any()
    images = torch.from_numpy(dim_square)[None].float() / 255
    for given in (images, images.permute(0, 3, 1, 2)):
        extractor = LAVAEFeaturesExtractor(gym.spaces.Box(0, 255, tuple(given.shape[1:]), np.uint8), **options)
        np.testing.assert_allclose(extractor(given).detach()[0].numpy(), tokens, atol=1e-5)


def test_a_vae_applies_the_preprocessing_stored_with_its_weights(tmp_path, factories):
    torch.manual_seed(0)
    vae = ConvVAE(BaselineConfig(latents=2))
    fields: dict[str, Any] = {"resize": [32, 32], "threshold": 127}
    vae.save_pretrained(tmp_path, {"preprocessing": fields})
    plain, wrapped = DummyVecEnv(factories), VecVAEObservation(DummyVecEnv(factories), str(tmp_path))
    plain.seed(5)
    wrapped.seed(5)
    expected = vae.encode(Preprocessing(**fields)(np.asarray(plain.reset()))).flatten(1)
    assert expected.shape == (4, 2 * 4 * 4)
    np.testing.assert_allclose(np.asarray(wrapped.reset()), expected, atol=1e-5)


def test_tokens_inside_a_policy_are_those_of_encode_for_models_with_a_background():
    model = LAVAE.from_pretrained("Pong")
    picture = (model.background(torch.zeros(1, 3, 210, 160))[0] * 255).round().byte().permute(1, 2, 0).numpy()
    frames = np.stack([picture] * 4)
    for i, frame in enumerate(frames[1:]):
        frame[60 + 20 * i : 76 + 20 * i, 140:144] = (92, 186, 92)
        frame[100 + 7 * i : 104 + 7 * i, 70:72] = 236
    extractor = LAVAEFeaturesExtractor(gym.spaces.Box(0, 255, (210, 160, 3), np.uint8), "Pong", max_objects=6)
    objects = model.encode(frames, max_objects=6)
    assert objects.count.max() >= 2
    features = extractor(torch.from_numpy(frames) / 255).detach().numpy().reshape(4, 6, -1)
    np.testing.assert_array_equal(features[..., 0], objects.mask)
    extent = np.array([209, 159])
    xy = (objects.location / extent * 2 - 1)[..., ::-1]
    np.testing.assert_allclose(features[..., 1:3][objects.mask], xy[objects.mask], atol=1e-5)
    np.testing.assert_allclose(features[..., 3:][objects.mask], objects.appearance[objects.mask], atol=1e-4)
