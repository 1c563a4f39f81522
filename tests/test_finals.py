"""Final observations in every container in which vector environments hand them over, or missing."""

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper

from lavae_rl.perception.sb3 import GymVectorToSB3, VecLAVAEObservation
from lavae_rl.perception.wrappers import VectorLAVAEObservation


def _filled(rows, others):
    """Rows of all environments: the final ones, and those of the others in place of None."""
    return [other if row is None else row for row, other in zip(rows, others, strict=True)]


def _of_keys(rows, others):
    full = _filled(rows, [{key: values[i] for key, values in others.items()} for i in range(len(rows))])
    return {key: np.stack([row[key] for row in full]) for key in others}


CONTAINERS = {
    "array": lambda rows, others: np.stack(_filled(rows, others)),
    "array of numbers as objects": lambda rows, others: np.stack(_filled(rows, others)).astype(object),
    "list": lambda rows, others: list(rows),
    "tuple": lambda rows, others: tuple(_filled(rows, others)),
    "dictionary": _of_keys,
    "list of dictionaries": lambda rows, others: list(rows),
}


class Contained(VectorWrapper):
    """Hands final observations over in a container, with or without masks; infos of old episodes as a list."""

    def __init__(self, env, container, mask):
        super().__init__(env)
        self._container, self._mask = container, mask

    def step(self, actions):
        observations, *results, infos = self.env.step(actions)
        if "final_obs" in infos:
            rows, ended = infos["final_obs"], infos["_final_obs"]
            infos = {"fps": 30.0, "name": "abcd", "final_obs": self._container(rows, observations)}
            infos["final_info"] = [{"old": i} if ended[i] else None for i in range(self.num_envs)]
            infos |= {"_final_obs": ended.tolist()} if self._mask else {}
        return (observations, *results, infos)


def _pair(factories, container, mask, **options):
    """The same environments, as Gymnasium hands over final observations and as the container does."""
    plain, other = (SyncVectorEnv(factories, autoreset_mode=AutoresetMode.SAME_STEP) for _ in range(2))
    wrapped = VectorLAVAEObservation(Contained(other, CONTAINERS[container], mask), **options)
    return VectorLAVAEObservation(plain, **options), wrapped


def _assert_equal(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])
    else:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize(
    ("container", "options"),
    [
        ("array", {}),
        ("array", {"flatten": True}),
        ("array", {"tracking": "hungarian", "velocity": True}),
        ("array of numbers as objects", {}),
        ("list", {"flatten": True}),
        ("tuple", {}),
        ("dictionary", {"frame_key": "frame"}),
        ("dictionary", {"frame_key": "frame", "flatten": True, "tracking": "hungarian"}),
        ("list of dictionaries", {"frame_key": "frame"}),
    ],
)
def test_final_observations_are_encoded_from_any_container(container, options, mask, make_env):
    factories = [lambda length=length: make_env(length, dictionary="frame_key" in options) for length in (2, 3)]
    plain, wrapped = _pair(factories, container, mask, **options)
    plain.reset(seed=1)
    wrapped.reset(seed=1)
    for step in range(1, 5):
        expected, got = (envs.step(np.zeros(2, int)) for envs in (plain, wrapped))
        _assert_equal(expected[0], got[0])
        for i, length in enumerate((2, 3)):
            ended = step % length == 0
            if "final_obs" in got[4]:
                assert got[4]["_final_obs"][i] == ended
            if ended:
                _assert_equal(expected[4]["final_obs"][i], got[4]["final_obs"][i])


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("container", ["array", "list", "dictionary", "list of dictionaries"])
def test_final_observations_reach_stable_baselines_from_any_container(container, mask, make_env):
    factories: Any = [lambda length=length: make_env(length, dictionary="dict" in container) for length in (2, 3)]
    made, other = DummyVecEnv(factories), SyncVectorEnv(factories, autoreset_mode=AutoresetMode.SAME_STEP)
    adapted = GymVectorToSB3(Contained(other, CONTAINERS[container], mask))
    for venv in (made, adapted):
        venv.seed(5)
        venv.reset()
    for _ in range(4):
        *_, dones, infos = made.step(np.zeros(2, int))
        given = adapted.step(np.zeros(2, int))[3]
        for i, info in enumerate(given):
            assert ("terminal_observation" in info) == dones[i]
            assert "final_obs" not in info
            if dones[i]:
                assert info["old"] == i
                _assert_equal(info["terminal_observation"], infos[i]["terminal_observation"])


class Forgetful(VectorWrapper):
    """Hands over no final observations, or only those that a mask names."""

    def __init__(self, env, mask=None):
        super().__init__(env)
        self._mask = mask

    def step(self, actions):
        *results, infos = self.env.step(actions)
        if self._mask is None:
            return (*results, {})
        return (*results, infos | ({"_final_obs": self._mask} if "final_obs" in infos else {}))


def _same_step(make_env):
    return SyncVectorEnv([lambda: make_env(2)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)


@pytest.mark.parametrize("wrap", [VectorLAVAEObservation, GymVectorToSB3])
def test_vectors_without_final_observations_go_on_with_one_warning(wrap, make_env):
    envs = wrap(Forgetful(_same_step(make_env)))
    envs.reset()
    envs.step(np.zeros(2, int))
    with pytest.warns(UserWarning, match="ended without infos\\['final_obs'\\]") as caught:
        infos = envs.step(np.zeros(2, int))[-1]
    assert len(caught) == 1
    assert not {"final_obs", "terminal_observation"} & set(infos[0] if isinstance(infos, list) else infos)
    for _ in range(2):
        envs.step(np.zeros(2, int))


def test_final_observations_that_are_there_are_encoded_beside_missing_ones(make_env):
    plain = VectorLAVAEObservation(_same_step(make_env), tracking="hungarian")
    partial = VectorLAVAEObservation(Forgetful(_same_step(make_env), np.array([False, True])), tracking="hungarian")
    for envs in (plain, partial):
        envs.reset(seed=0)
        envs.step(np.zeros(2, int))
    expected = plain.step(np.zeros(2, int))[4]["final_obs"]
    with pytest.warns(UserWarning, match="ended without"):
        infos = partial.step(np.zeros(2, int))[4]
    assert infos["_final_obs"].tolist() == [False, True]
    assert infos["final_obs"][0] is None
    _assert_equal(infos["final_obs"][1], expected[1])


def test_final_observations_of_another_number_are_refused(make_env):
    class Short(VectorWrapper):
        def step(self, actions):
            *results, infos = self.env.step(actions)
            return (*results, {"final_obs": np.zeros((1, 64, 64, 3), np.uint8)} if "final_obs" in infos else {})

    envs = VectorLAVAEObservation(Short(_same_step(make_env)))
    envs.reset()
    envs.step(np.zeros(2, int))
    with pytest.raises(ValueError, match="a row for each of 2 environments"):
        envs.step(np.zeros(2, int))


class NoTerminal(VecEnvWrapper):
    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        *results, infos = self.venv.step_wait()
        return (*results, tuple({} for _ in infos))


@pytest.mark.parametrize("options", [{}, {"flatten": True, "tracking": "hungarian"}])
def test_vec_envs_without_terminal_observations_go_on_with_one_warning(options, make_env):
    venv = VecLAVAEObservation(NoTerminal(DummyVecEnv([lambda: make_env(2)] * 2)), **options)
    venv.reset()
    venv.step(np.zeros(2, int))
    with pytest.warns(UserWarning, match="ended without infos\\['terminal_observation'\\]") as caught:
        infos = venv.step(np.zeros(2, int))[3]
    assert len(caught) == 1
    assert infos == [{}, {}]
    venv.step(np.zeros(2, int))
    venv.step(np.zeros(2, int))
