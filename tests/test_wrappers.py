"""All fronts against a reference that encodes frame by frame, at every episode boundary and in every vector mode."""

import json
import sys
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env as check_gymnasium_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorWrapper
from gymnasium.wrappers import RecordEpisodeStatistics
from gymnasium.wrappers.vector import RecordEpisodeStatistics as VectorEpisodeStatistics
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as check_sb3_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from lavae_rl.model.lavae import LAVAE
from lavae_rl.perception.sb3 import GymVectorToSB3, LAVAEFeaturesExtractor, VecLAVAEObservation
from lavae_rl.perception.tokens import TokenLayout
from lavae_rl.perception.tracking import SlotTracker, TrackingConfig, track
from lavae_rl.perception.wrappers import LAVAEObservation, VectorLAVAEObservation

SLOTS = 6

# Workers must not import this file, which imports torch.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def make_env(length=5, end="truncated", dictionary=False):
    """An environment whose frames are random scenes. Its class is local, so that it pickles by value."""

    class SceneEnv(gym.Env):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

        def __init__(self, render_mode=None):
            from lavae_rl.datasets import load_bank

            self.render_mode = render_mode
            self.bank = load_bank("multi-dsprites")
            frame = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
            self.observation_space = (
                gym.spaces.Dict({"frame": frame, "clock": gym.spaces.Box(0, 100, (1,), np.float32)})
                if dictionary
                else frame
            )
            self.action_space = gym.spaces.Discrete(2)

        def _observation(self):
            from lavae_rl.scenes import render_scenes, sample_scenes

            self.frame = render_scenes(sample_scenes(self.np_random, self.bank, 1, (0, 5)), self.bank)[0]
            clock = np.array([self.clock], np.float32)
            return {"frame": self.frame.copy(), "clock": clock} if dictionary else self.frame.copy()

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.clock = 0
            return self._observation(), {"torch": "torch" in sys.modules}

        def step(self, action):
            self.clock += 1
            over = self.clock == length
            ended = {"terminated": False, "truncated": False}
            ended[end] = over
            return (
                self._observation(),
                float(self.clock),
                ended["terminated"],
                ended["truncated"],
                {"clock": self.clock},
            )

        def render(self):
            return self.frame.repeat(4, axis=0).repeat(4, axis=1)

    return SceneEnv()


FACTORIES = [
    lambda: make_env(3, "terminated"),
    lambda: make_env(4, "truncated"),
    lambda: make_env(5, "terminated"),
    lambda: make_env(7, "truncated"),
]


@pytest.fixture(scope="module")
def reference():
    """Tokens of one frame, straight from the model."""
    model = LAVAE.from_pretrained("multi-dsprites")
    layout = TokenLayout(SLOTS, model.config.latents)

    def encode(frame):
        return {key: value[0] for key, value in layout.tokens(model.encode(frame[None], SLOTS)).items()}

    return encode


def _assert_same(tokens, expected):
    assert set(tokens) == set(expected)
    np.testing.assert_array_equal(tokens["mask"], expected["mask"])
    np.testing.assert_allclose(tokens["tokens"], expected["tokens"], atol=1e-5)


def test_a_single_environment_shows_the_tokens_of_its_frames(reference):
    plain, wrapped = make_env(), LAVAEObservation(make_env(), max_objects=SLOTS)
    frame, _ = plain.reset(seed=3)
    tokens, _ = wrapped.reset(seed=3)
    for _ in range(5):
        _assert_same(tokens, reference(frame))
        assert wrapped.observation_space.contains(tokens)
        (frame, *rest), (tokens, *rest_wrapped) = plain.step(0), wrapped.step(0)
        assert rest == rest_wrapped


@pytest.mark.parametrize("mode", AutoresetMode)
def test_every_observation_and_final_observation_of_a_vector_is_right(mode, reference):
    plain, inner = (SyncVectorEnv(FACTORIES, autoreset_mode=mode) for _ in range(2))
    wrapped = VectorLAVAEObservation(inner, max_objects=SLOTS)
    frames, _ = plain.reset(seed=11)
    tokens: Any = wrapped.reset(seed=11)[0]
    finals = 0
    for _ in range(16):
        for i in range(4):
            _assert_same({key: value[i] for key, value in tokens.items()}, reference(frames[i]))
        frames, rewards, terminations, truncations, infos = plain.step(np.zeros(4, int))
        tokens, *same, infos_wrapped = wrapped.step(np.zeros(4, int))
        for values, values_wrapped in zip((rewards, terminations, truncations), same, strict=True):
            np.testing.assert_array_equal(values, values_wrapped)
        for k in np.flatnonzero(infos.get("_final_obs", [])):
            finals += 1
            _assert_same(infos_wrapped["final_obs"][k], reference(infos["final_obs"][k]))
        done = terminations | truncations
        if mode == AutoresetMode.DISABLED and done.any():
            frames, _ = plain.reset(options={"reset_mask": done})
            tokens, _ = wrapped.reset(options={"reset_mask": done})
    assert finals == (14 if mode == AutoresetMode.SAME_STEP else 0)  # 5 + 4 + 3 + 2 episodes ended


@pytest.mark.parametrize("venv_class", [DummyVecEnv, SubprocVecEnv])
def test_every_observation_and_terminal_observation_of_a_vec_env_is_right(venv_class, reference):
    plain, wrapped = DummyVecEnv(FACTORIES), VecLAVAEObservation(venv_class(FACTORIES), max_objects=SLOTS)
    plain.seed(5)
    wrapped.seed(5)
    frames: Any = plain.reset()
    tokens: Any = wrapped.reset()
    finals = 0
    for _ in range(10):
        for i in range(4):
            _assert_same({key: value[i] for key, value in tokens.items()}, reference(frames[i]))
        frames, rewards, dones, infos = plain.step(np.zeros(4, int))
        tokens, rewards_wrapped, dones_wrapped, infos_wrapped = wrapped.step(np.zeros(4, int))
        np.testing.assert_array_equal(rewards, rewards_wrapped)
        np.testing.assert_array_equal(dones, dones_wrapped)
        for k in np.flatnonzero(dones):
            finals += 1
            _assert_same(infos_wrapped[k]["terminal_observation"], reference(infos[k]["terminal_observation"]))
            assert infos_wrapped[k]["TimeLimit.truncated"] == infos[k]["TimeLimit.truncated"]
    wrapped.close()
    assert finals == 3 + 2 + 2 + 1


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_a_gymnasium_vector_is_the_vec_env_that_stable_baselines_would_make(mode):
    made = DummyVecEnv(FACTORIES)
    adapted = GymVectorToSB3(SyncVectorEnv(FACTORIES, autoreset_mode=mode))
    made.seed(5)
    adapted.seed(5)
    np.testing.assert_array_equal(made.reset(), adapted.reset())
    for _ in range(10):
        (frames, rewards, dones, infos), stepped = made.step(np.zeros(4, int)), adapted.step(np.zeros(4, int))
        for expected, value in zip((frames, rewards, dones), stepped[:3], strict=True):
            np.testing.assert_array_equal(expected, value)
        for expected, info in zip(infos, stepped[3], strict=True):
            assert info["clock"] == expected["clock"]
            assert info["TimeLimit.truncated"] == expected["TimeLimit.truncated"]
            np.testing.assert_array_equal(info.get("terminal_observation", 0), expected.get("terminal_observation", 0))


def _statistics(mode, inside):
    def make(i):
        return (lambda: RecordEpisodeStatistics(FACTORIES[i]())) if inside else FACTORIES[i]

    env = SyncVectorEnv([make(i) for i in range(4)], autoreset_mode=mode)
    return GymVectorToSB3(env if inside else VectorEpisodeStatistics(env))


# Not DISABLED with statistics of the vector: at a partial reset, Gymnasium's wrapper forgets the counts of all itself.
@pytest.mark.parametrize(
    ("mode", "inside"),
    [(AutoresetMode.SAME_STEP, True), (AutoresetMode.SAME_STEP, False), (AutoresetMode.DISABLED, True)],
)
def test_episode_statistics_reach_the_infos_of_the_last_step(mode, inside):
    adapted = _statistics(mode, inside)
    adapted.reset()
    for step in range(1, 8):
        infos = adapted.step(np.zeros(4, int))[3]
        for length, info in zip((3, 4, 5, 7), infos, strict=True):
            assert ("episode" in info) == (step % length == 0)
            if "episode" in info:
                assert (info["episode"]["l"], info["episode"]["r"]) == (length, length * (length + 1) / 2)


def test_ppo_learns_on_tokens_of_an_adapted_vector():
    adapted = _statistics(AutoresetMode.SAME_STEP, inside=True)
    agent = PPO("MlpPolicy", VecLAVAEObservation(adapted, max_objects=SLOTS, flatten=True), n_steps=8, batch_size=8)
    agent.learn(32)
    assert len(agent.ep_info_buffer or []) == 6  # 8 steps: 2 + 2 + 1 + 1


def test_an_adapted_vector_reaches_its_environments():
    adapted = GymVectorToSB3(SyncVectorEnv(FACTORIES, autoreset_mode=AutoresetMode.SAME_STEP))
    adapted.reset()
    assert adapted.get_attr("clock") == [0] * 4
    adapted.set_attr("clock", 2, indices=[1, 3])
    assert adapted.get_attr("clock") == [0, 2, 0, 2]
    assert adapted.get_attr("clock", indices=3) == [2]
    assert adapted.env_is_wrapped(gym.Wrapper) == [False] * 4
    assert len(adapted.env_method("render", indices=[0])) == 1
    adapted.set_options([{"level": 1}, {"level": 2}, {}, {}])
    with pytest.raises(ValueError, match="same options for all"):
        adapted.reset()


def test_a_same_step_vector_without_final_observations_is_refused():
    class Forgetful(VectorWrapper):
        def step(self, actions):
            *rest, infos = super().step(actions)
            infos.pop("final_obs", None)
            return (*rest, infos)

    adapted = GymVectorToSB3(Forgetful(SyncVectorEnv(FACTORIES, autoreset_mode=AutoresetMode.SAME_STEP)))
    adapted.reset()
    adapted.step(np.zeros(4, int))
    adapted.step(np.zeros(4, int))
    with pytest.raises(ValueError, match="must give infos"):
        adapted.step(np.zeros(4, int))  # the first episode ends


def test_models_loaded_inside_inference_mode_work():
    with torch.inference_mode():
        env = LAVAEObservation(make_env(), max_objects=SLOTS)
        first, _ = env.reset(seed=3)
    again, _ = env.reset(seed=3)
    np.testing.assert_array_equal(first["tokens"], again["tokens"])


def test_next_step_autoreset_cannot_be_adapted():
    with pytest.raises(ValueError, match="SAME_STEP or DISABLED, got NEXT_STEP"):
        GymVectorToSB3(SyncVectorEnv(FACTORIES))


def test_all_fronts_give_the_same_tokens():
    frames = np.stack([make_env().reset(seed=seed)[0] for seed in range(4)])
    options: dict[str, Any] = {"max_objects": SLOTS, "flatten": True}
    single = np.stack([LAVAEObservation(make_env(), **options).reset(seed=seed)[0] for seed in range(4)])
    vector, _ = VectorLAVAEObservation(SyncVectorEnv(FACTORIES), **options).reset(seed=[0, 1, 2, 3])
    venv = VecLAVAEObservation(DummyVecEnv(FACTORIES), **options)
    venv.seed(0)
    extractor = LAVAEFeaturesExtractor(gym.spaces.Box(0, 255, (3, 64, 64), np.uint8), max_objects=SLOTS)
    features = extractor(torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255).detach().numpy()
    for other in (vector, venv.reset(), features):
        np.testing.assert_allclose(single, other, atol=1e-5)


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version:UserWarning")
def test_environment_checkers_are_content(flatten, monkeypatch):
    entry_point: Any = lambda render_mode=None: make_env()  # noqa: E731
    monkeypatch.setitem(gym.registry, "test/Scene-v0", gym.envs.registration.EnvSpec("test/Scene-v0", entry_point))
    env = gym.make("test/Scene-v0", disable_env_checker=True)
    wrapped = LAVAEObservation(env, max_objects=SLOTS, flatten=flatten, preprocessing={"threshold": 127})
    assert wrapped.spec is not None
    rebuilt = gym.make(wrapped.spec)
    assert rebuilt.has_wrapper_attr("frame_encoder")
    assert rebuilt.observation_space == wrapped.observation_space
    json.dumps(wrapped.spec.additional_wrappers[-1].kwargs)
    check_gymnasium_env(wrapped, skip_render_check=True)
    if flatten:
        check_sb3_env(wrapped, warn=True)
    else:
        with pytest.warns(UserWarning, match="unconventional shape"):
            check_sb3_env(wrapped, warn=True)


def test_observations_never_share_memory():
    env = LAVAEObservation(make_env(), max_objects=SLOTS)
    first, _ = env.reset(seed=0)
    second, *_ = env.step(0)
    vector = VectorLAVAEObservation(SyncVectorEnv(FACTORIES), max_objects=SLOTS)
    third, _ = vector.reset(seed=0)
    fourth, *_ = vector.step(np.zeros(4, int))
    for one, other in ((first, second), (third, fourth)):
        assert not any(np.shares_memory(one[key], other[key]) for key in one)


def test_a_wrapped_environment_pickles_without_weights():
    env = LAVAEObservation(make_env(), max_objects=SLOTS)
    expected, _ = env.reset(seed=1)
    env.__dict__["env"] = None  # the bank of the environment is larger than what is measured here
    assert len(cloudpickle.dumps(env)) < 100_000
    pickled = cloudpickle.dumps(env.frame_encoder)
    copy = cloudpickle.loads(pickled)
    frame, _ = make_env().reset(seed=1)
    _, tokens = copy.observe(copy.find(frame[None]), np.array([0]))
    np.testing.assert_array_equal(tokens["tokens"][0], expected["tokens"])


def test_workers_never_load_torch_when_the_wrapper_stands_outside():
    vector = VectorLAVAEObservation(AsyncVectorEnv(FACTORIES[:2], context="spawn"), max_objects=SLOTS)
    tokens, infos = vector.reset(seed=0)
    vector.close()
    assert tokens["tokens"].shape == (2, SLOTS, 10)
    assert infos["torch"].tolist() == [False, False]


def test_dictionary_observations_keep_their_other_keys():
    env = LAVAEObservation(make_env(dictionary=True), max_objects=SLOTS, frame_key="frame")
    observation, _ = env.reset(seed=0)
    assert set(observation) == {"clock", "tokens", "mask"}
    assert env.observation_space.contains(observation)
    with pytest.raises(ValueError, match="key 'picture'"):
        LAVAEObservation(make_env(dictionary=True), frame_key="picture")
    with pytest.raises(TypeError, match="frame_key"):
        LAVAEObservation(make_env(dictionary=True))


def test_rendering_is_untouched_unless_objects_are_asked_for():
    plain, wrapped = make_env(), LAVAEObservation(make_env(), max_objects=SLOTS)
    drawn = LAVAEObservation(make_env(), max_objects=SLOTS, render_objects=True)
    for env in (plain, wrapped, drawn):
        env.reset(seed=4)
    np.testing.assert_array_equal(plain.render(), wrapped.render())
    picture = drawn.render()
    assert picture.shape == (256 + 2 * 48, 256, 3)
    assert (picture[:256] != plain.render()).any()


@pytest.mark.parametrize(
    ("space", "options", "error", "message"),
    [
        (gym.spaces.Box(-1, 1, (4,), np.float32), {}, TypeError, "AddRenderObservation"),
        (gym.spaces.Box(0, 255, (64, 64, 1), np.uint8), {}, ValueError, r"have 1: Preprocessing\(channels=3\)"),
        (gym.spaces.Box(0, 255, (3, 64, 64), np.uint8), {}, ValueError, r'Preprocessing\(layout="chw"\)'),
        (gym.spaces.Box(0, 255, (16, 16, 3), np.uint8), {}, ValueError, r"Preprocessing\(resize="),
        (gym.spaces.Box(0, 255, (64, 64, 3), np.uint8), {"model": "multi-cats"}, FileNotFoundError, "bundled"),
        (gym.spaces.Box(0, 255, (64, 64, 3), np.uint8), {"max_objects": 0}, ValueError, "max_objects"),
        (gym.spaces.Box(0, 255, (64, 64, 3), np.uint8), {"velocity": True}, ValueError, 'add tracking="hungarian"'),
        (gym.spaces.Box(0, 255, (64, 64, 3), np.uint8), {"tracking": "sort"}, ValueError, "expected tracking"),
    ],
    ids=[
        "state",
        "grey",
        "channel first",
        "small",
        "model",
        "slots",
        "velocity",
        "tracking",
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy(space, options, error, message):
    env = make_env()
    env.observation_space = space
    with pytest.raises(error, match=message):
        LAVAEObservation(env, **options)


def test_frames_that_are_not_binary_are_refused_with_the_remedy():
    env = LAVAEObservation(make_env())
    with pytest.raises(ValueError, match=r"Preprocessing\(threshold=127\)"):
        env.observation(np.full((64, 64, 3), 100, np.uint8))


class Reference:
    """Tracked tokens with velocity of one environment, frame by frame, from the model and a tracker of its own."""

    def __init__(self):
        self.model = LAVAE.from_pretrained("multi-dsprites")
        self.layout = TokenLayout(SLOTS, self.model.config.latents, velocity=True)
        self.tracker = SlotTracker(SLOTS, TrackingConfig())

    def start(self, frame):
        self.tracker.reset()
        return self(frame)

    def __call__(self, frame):
        objects, velocity = track(self.model.encode(frame[None], SLOTS), [self.tracker], np.array([0]))
        return {key: value[0] for key, value in self.layout.tokens(objects, velocity).items()}


TRACKED: dict[str, Any] = {"max_objects": SLOTS, "tracking": "hungarian", "velocity": True}


@pytest.mark.parametrize("mode", AutoresetMode)
def test_tracks_end_with_their_episode_in_every_mode(mode):
    plain, inner = (SyncVectorEnv(FACTORIES, autoreset_mode=mode) for _ in range(2))
    wrapped = VectorLAVAEObservation(inner, **TRACKED)
    references = [Reference() for _ in range(4)]
    frames, _ = plain.reset(seed=11)
    tokens: Any = wrapped.reset(seed=11)[0]
    expected = [reference.start(frame) for reference, frame in zip(references, frames, strict=True)]
    done = np.zeros(4, bool)
    for _ in range(14):
        for i in range(4):
            _assert_same({key: value[i] for key, value in tokens.items()}, expected[i])
        resetting = done
        frames, _, terminations, truncations, infos = plain.step(np.zeros(4, int))
        tokens, *_, infos_wrapped = wrapped.step(np.zeros(4, int))
        done = terminations | truncations
        for i, reference in enumerate(references):
            if mode == AutoresetMode.SAME_STEP and done[i]:
                _assert_same(infos_wrapped["final_obs"][i], reference(infos["final_obs"][i]))
                expected[i] = reference.start(frames[i])
            elif mode == AutoresetMode.NEXT_STEP and resetting[i]:
                expected[i] = reference.start(frames[i])
            else:
                expected[i] = reference(frames[i])
        if mode == AutoresetMode.DISABLED and done.any():
            frames, _ = plain.reset(options={"reset_mask": done})
            options = {"reset_mask": done}
            tokens, _ = wrapped.reset(options=options)
            assert options == {"reset_mask": done}
            for k in np.flatnonzero(done):
                expected[k] = references[k].start(frames[k])


def test_tracks_end_with_their_episode_in_a_vec_env():
    plain, wrapped = DummyVecEnv(FACTORIES), VecLAVAEObservation(DummyVecEnv(FACTORIES), **TRACKED)
    plain.seed(5)
    wrapped.seed(5)
    references = [Reference() for _ in range(4)]
    frames: Any = plain.reset()
    tokens: Any = wrapped.reset()
    expected = [reference.start(frame) for reference, frame in zip(references, frames, strict=True)]
    for _ in range(9):
        for i in range(4):
            _assert_same({key: value[i] for key, value in tokens.items()}, expected[i])
        frames, _, dones, infos = plain.step(np.zeros(4, int))
        tokens, _, _, infos_wrapped = wrapped.step(np.zeros(4, int))
        for i, reference in enumerate(references):
            if dones[i]:
                _assert_same(infos_wrapped[i]["terminal_observation"], reference(infos[i]["terminal_observation"]))
            expected[i] = reference.start(frames[i]) if dones[i] else reference(frames[i])


def test_tracked_objects_keep_slot_and_velocity_until_the_episode_ends():
    env = LAVAEObservation(make_env(), max_objects=SLOTS, tracking="hungarian", velocity=True)
    env.reset(seed=0)

    def frame(*squares):
        picture = np.zeros((64, 64, 3), np.uint8)
        for (row, column), color in squares:
            picture[row - 4 : row + 5, column - 4 : column + 5] = color
        return picture

    red, blue = (255, 0, 0), (0, 0, 255)
    env.frame_encoder.reset(np.array([0]))
    first = env.observation(frame(((20, 20), red), ((40, 40), blue)))
    second = env.observation(frame(((20, 22), red), ((38, 40), blue)))
    moved = second["tokens"][:, :2] - first["tokens"][:, :2]
    np.testing.assert_allclose(second["tokens"][:, -2:], moved, atol=1e-5)
    assert sorted(np.abs(moved).sum(1)[:2].round(3).tolist()) == pytest.approx([2 * 2 / 63] * 2, abs=1e-3)
    after, _ = env.reset(seed=1)
    assert not after["tokens"][:, -2:].any()


def test_policies_do_not_overwrite_the_weights_of_the_extractor():
    venv = DummyVecEnv([lambda: make_env(8)] * 2)
    policy = {"features_extractor_class": LAVAEFeaturesExtractor, "features_extractor_kwargs": {"max_objects": SLOTS}}
    agent = PPO("CnnPolicy", venv, n_steps=8, batch_size=8, n_epochs=1, policy_kwargs=policy)
    trained = LAVAE.from_pretrained("multi-dsprites").state_dict()
    extractor: Any = agent.policy.features_extractor
    assert all(torch.equal(value, trained[name]) for name, value in extractor.lavae.state_dict().items())
    with pytest.raises(ValueError, match=r"expected values 0 and 1, got values from 0\.5"):
        extractor(torch.full((1, 3, 64, 64), 0.5))
    agent.learn(16)
    changed = extractor.lavae.state_dict()
    assert all(torch.equal(changed[name], trained[name]) for name in trained if name.startswith("location_network"))
    assert any(not torch.equal(changed[name], trained[name]) for name in trained if name.startswith("appearance"))
