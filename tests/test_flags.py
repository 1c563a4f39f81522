import pytest
from stable_baselines3 import DQN, PPO

from lavae_rl.rl.agents import make_agent, steps_of_rollout
from lavae_rl.rl.flags import planned_steps
from lavae_rl.rl.presets import Preset
from lavae_rl.rl.vec_envs import make_task_vec_env


@pytest.mark.parametrize(
    ("asked", "made", "rollout", "told"),
    [
        (4_096, 0, 4_096, "4,096 steps"),
        (2_000, 0, 4_096, "4,096 steps (2,000 rounded up to whole rollouts of 4,096)"),
        (1_200_000, 0, 4_096, "1,200,128 steps (1,200,000 rounded up to whole rollouts of 4,096)"),
        (3_072, 2_048, 1_024, "3,072 steps"),
        (3_000, 2_048, 1_024, "3,072 steps (3,000 rounded up to whole rollouts of 1,024)"),
        (2_000, 4_096, 4_096, "4,096 steps (2,000 rounded up to whole rollouts of 4,096)"),
    ],
)
def test_programs_tell_how_many_steps_an_agent_learns_from(asked, made, rollout, told):
    assert planned_steps(asked, made, rollout) == told


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "kind", "rollout"), [("ppo", PPO, 4 * 8), ("a2c", None, 4 * 8), ("dqn", DQN, 4)])
def test_agents_make_the_steps_that_were_told(algorithm, kind, rollout):
    venv = make_task_vec_env("ObjectGoal", "oracle", 4, seed=0, num_objects=2)
    agent = make_agent("oracle", Preset(algorithm, num_envs=4, rollout=8, batch_size=16, arch="deepsets"), venv, 0)
    assert kind is None or isinstance(agent, kind)
    assert steps_of_rollout(agent) == rollout
    agent.learn(50)
    assert planned_steps(50, 0, rollout).startswith(f"{agent.num_timesteps} steps")
