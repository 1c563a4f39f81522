"""A further task is one new file and one line of the table: here one that only this test has."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from lavae_rl import envs
from lavae_rl.envs import play
from lavae_rl.envs.scripted import ScriptedPolicy
from lavae_rl.envs.sprite_env import SpriteVectorEnv
from lavae_rl.perception.wrappers import LAVAEObservation
from lavae_rl.registration import TASKS, TaskSpec, register_envs, task_name

FILE = '''
"""Triangle: go to the only triangle."""

import numpy as np

from .agent import AgentTask
from .looks import AGENT, sprite
from .task import with_roles


class Triangle(AgentTask):
    """Go to the only triangle."""

    def draw(self, rng, num_objects):
        target = np.arange(num_objects) == rng.integers(num_objects)
        return with_roles(sprite(np.where(target, 2, 0), 2, 0, np.where(target, 3, 4)), target, AGENT)
'''


@pytest.fixture(autouse=True)
def _triangle(tmp_path, monkeypatch):
    """The file, in a folder that counts as one of ``lavae_rl.envs``, and its line, alone in the table."""
    (tmp_path / "triangle_of_a_test.py").write_text(FILE)
    monkeypatch.setattr(envs, "__path__", [*envs.__path__, str(tmp_path)])
    kept = dict(TASKS)
    TASKS.clear()
    TASKS["Triangle"] = TaskSpec("triangle_of_a_test:Triangle", range(1, 8))
    register_envs()
    yield
    TASKS.clear()
    TASKS.update(kept)
    for kind in ("", "Tokens"):
        gym.registry.pop(f"LAVAE/Triangle{kind}-v0")


def test_single_and_vector_environments_agree_and_the_scripted_policy_succeeds():
    one: Any = gym.make("LAVAE/Triangle-v0", observation="both")
    many: Any = gym.make_vec("LAVAE/Triangle-v0", 3, observation="both", autoreset_mode="SameStep")
    assert type(one.unwrapped).__name__ == "TriangleEnv"
    assert one.unwrapped.__doc__.startswith("Go to the only triangle.\n\n## Action space")
    assert isinstance(many, SpriteVectorEnv)
    seen, batch = one.reset(seed=4)[0], many.reset(seed=4)[0]
    policy, policies = ScriptedPolicy(one.unwrapped.simulation), ScriptedPolicy(many.simulation)
    over = False
    while not over:
        for key, value in seen.items():
            np.testing.assert_array_equal(value, batch[key][0])
        assert seen["mask"].sum() == 5
        seen, _, over, truncated, info = one.step(policy()[0])
        batch, _, _, _, infos = many.step(policies())
        assert not truncated
    assert info["is_success"]
    assert infos["final_info"]["is_success"][0]
    assert one.unwrapped.chance == many.chance == 1 / 4


def test_its_spec_survives_json_and_its_tokens_are_those_of_its_model():
    spec = gym.envs.registration.EnvSpec.from_json(gym.spec("LAVAE/TriangleTokens-v0").to_json())
    tokens, _ = gym.make(spec).reset(seed=1)
    env = LAVAEObservation(gym.make("LAVAE/Triangle-v0"), "multi-dsprites", max_objects=8)
    expected, _ = env.reset(seed=1)
    assert tokens["mask"].sum() == 5
    np.testing.assert_array_equal(tokens["tokens"], expected["tokens"])
    assert task_name("LAVAE/Triangle-v0") == "Triangle"


def test_the_gallery_records_it(tmp_path, capsys):
    folder = tmp_path / "gallery"
    folder.mkdir()
    play.main(["--gallery", str(folder), "--episodes", "1"])
    assert [file.name for file in folder.iterdir()] == ["Triangle.gif"]
    assert "1 of 1 episodes with success" in " ".join(capsys.readouterr().out.split())
