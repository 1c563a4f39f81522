"""Names of options that do not exist: the error says which name, or which place, is the right one."""

import re
from typing import Any

import gymnasium as gym
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from lavae_rl import LAVAEObservation, Preprocessing, VectorLAVAEObservation
from lavae_rl.options import check_names
from lavae_rl.perception.sb3 import VecLAVAEObservation
from lavae_rl.perception.tracking import TrackingConfig

PREPROCESSING: Any = Preprocessing
TRACKING: Any = TrackingConfig
TASK, TOKENS = "LAVAE/OddOneOut-v0", "LAVAE/OddOneOutTokens-v0"


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("thres", "did you mean threshold?"),
        ("colour", "did you mean paint(colour=...)?"),
        ("color", "did you mean paint(colour=...)?"),
        ("zzz", "there are size, threshold"),
    ],
)
def test_the_nearest_name_or_its_place_is_proposed(given, advice):
    with pytest.raises(TypeError, match=re.escape(f"expected an option of thing, got {given!r}: {advice}")):
        check_names("thing", ["size", given], ["size", "threshold"], {"paint({}=...)": ["colour"]})
    check_names("thing", ["threshold"], ["size", "threshold"])


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda env: PREPROCESSING(thres=3), "Preprocessing, got 'thres': did you mean threshold?"),
        (lambda env: PREPROCESSING(size=(3, 4)), "did you mean resize?"),
        (lambda env: TRACKING(gates=1.0), "TrackingConfig, got 'gates': did you mean gate?"),
        (lambda env: LAVAEObservation(env, max_object=3), "did you mean max_objects?"),
        (lambda env: LAVAEObservation(env, num_objects=3), "did you mean max_objects?"),
        (lambda env: LAVAEObservation(env, preprocessing={"thres": 3}), "did you mean threshold?"),
        (lambda env: LAVAEObservation(env, thres=3), "did you mean preprocessing=Preprocessing(threshold=...)?"),
        (lambda env: LAVAEObservation(env, hold=3), "did you mean tracking=TrackingConfig(hold=...)?"),
        (lambda env: LAVAEObservation(env, tracking={"cost": 3}), "did you mean coast?"),
        (lambda env: VecLAVAEObservation(DummyVecEnv([lambda: env]), render_objects=True), "of a single environment"),
        (lambda env: gym.make(TASK, num_object=3), "OddOneOutEnv, got 'num_object': did you mean num_objects?"),
        (lambda env: gym.make(TASK, variants="property"), "did you mean variant?"),
        (lambda env: gym.make(TASK, model="multi-dsprites"), "or of the id with Tokens?"),
        (
            lambda env: gym.make_vec(TASK, canvas=(64, 64)),
            "OddOneOutVectorEnv, got 'canvas': did you mean canvas_size?",
        ),
        (lambda env: gym.make_vec(TASK, autoreset="SameStep"), "did you mean autoreset_mode?"),
        (lambda env: gym.make(TOKENS, max_object=3), "did you mean max_objects?"),
        (lambda env: gym.make(TOKENS, observation="oracle"), "did you mean observation=... of the id without Tokens?"),
    ],
    ids=str,
)
def test_unknown_options_are_refused_with_the_nearest_name(make, advice, make_env):
    with pytest.raises(TypeError, match=re.escape(advice)):
        make(make_env())


@pytest.mark.parametrize("vector", [False, True])
def test_what_the_errors_propose_is_accepted(make_env, vector):
    options: Any = {"preprocessing": Preprocessing(threshold=3), "tracking": TrackingConfig(hold=3), "max_objects": 6}
    env: Any
    if vector:
        env = VectorLAVAEObservation(gym.make_vec(TASK, 2, canvas_size=(64, 64), autoreset_mode="SameStep"), **options)
        gym.make_vec(TASK, 2, vectorization_mode="sync", vector_kwargs={"autoreset_mode": "SameStep"})
    else:
        env = LAVAEObservation(gym.make(TASK, num_objects=3, variant="property"), render_objects=True, **options)
        gym.make(TASK, observation="oracle")
    assert env.reset(seed=0)[0]["mask"].shape[-1] == 6


@pytest.mark.parametrize("given", [64, (64,), (64, 64.0), (0, 64), "64", (64, True)], ids=str)
def test_a_side_that_is_no_pair_of_whole_numbers_is_refused(given):
    remedy = r": \(64, 64\) for a square" if given == 64 else ""
    with pytest.raises(ValueError, match=rf"expected resize to \(height, width\) of at least 1 pixel.*got .*{remedy}$"):
        Preprocessing(resize=given)
    assert Preprocessing(resize=(64, 64)).resize == (64, 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 5}, r"expected crop to \(top, left, height, width\)"),
        ({"threshold": "127"}, "a whole number, got '127'"),
        ({"threshold": 127.5}, "a whole number, got 127.5"),
        ({"channels": "RGB"}, "channels 1 or 3, got 'RGB'"),
        ({"palette": [(1, 2)]}, "expected palette as pairs"),
        ({"palette": 3}, "expected palette as pairs"),
    ],
    ids=str,
)
def test_values_of_another_type_are_value_errors(options, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**options)
    with pytest.raises(ValueError, match="expected preprocessing None or a Preprocessing, got 3"):
        LAVAEObservation(gym.make(TASK), preprocessing=3)


@pytest.mark.parametrize("options", [{"max_objects": 12}, {"flatten": True}, {"model": "multi-dsprites", "box": True}])
@pytest.mark.parametrize("vector", [False, True])
def test_ids_with_tokens_take_the_options_of_the_wrapper(options, vector):
    env: Any = (
        gym.make_vec(TOKENS, 2, num_objects=(3, 7), **options) if vector else gym.make(TOKENS, num_objects=7, **options)
    )
    expected = LAVAEObservation(gym.make(TASK, num_objects=7), **options)
    space = env.single_observation_space if vector else env.observation_space
    assert space == expected.observation_space
    assert env.observation_space.contains(env.reset(seed=0)[0])
    if not vector:
        again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
        assert again.spec == env.spec
        assert again.observation_space == env.observation_space
        assert gym.make(env.spec, max_objects=5).get_wrapper_attr("frame_encoder").config.max_objects == 5


def test_ids_with_tokens_draw_objects_if_asked():
    frames: list[Any] = [gym.make(TOKENS, render_mode="rgb_array", render_objects=drawn) for drawn in (False, True)]
    for env in frames:
        env.reset(seed=0)
    assert frames[1].render().shape[0] > frames[0].render().shape[0] == 384


@pytest.mark.parametrize("limit", [5, None])
def test_the_spec_of_a_vector_says_its_time_limit(limit):
    options = {} if limit is None else {"max_episode_steps": limit}
    envs: Any = gym.make_vec("LAVAE/ObjectGoal-v0", num_envs=2, **options)
    assert envs.spec.max_episode_steps == (limit or 100)
    again: Any = gym.make_vec(envs.spec)
    assert again.spec == envs.spec
    again.reset(seed=0)
    truncated = [again.step([0, 0])[3].any() for _ in range(limit or 100)]
    assert truncated == [False] * ((limit or 100) - 1) + [True]
