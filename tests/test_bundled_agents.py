import shutil
from dataclasses import replace
from typing import Any

import pytest
from stable_baselines3 import PPO

from lavae_rl.agents import evaluate_agent, train_agent
from lavae_rl.rl.agents import BUNDLED_AGENTS, find_run, load_agent
from lavae_rl.rl.environments import is_task
from lavae_rl.rl.run import read_run, resumed_run, write_run
from lavae_rl.rl.success import success_rate
from lavae_rl.rl.vec_envs import make_run_vec_env

AGENTS = sorted(path.name for path in BUNDLED_AGENTS.iterdir())
TASKS = [name for name in AGENTS if is_task(name)]


def test_promised_agents_are_bundled():
    assert AGENTS == ["Boxing", "Collect", "MatchDigit", "ObjectGoal", "OddOneOut", "Pong"]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_agent_is_as_good_as_its_last_evaluation(task):
    agent, run = load_agent(find_run(f"bundled:{task}"))
    assert (run.task, run.observation, run.model) == (task, "lavae", None)
    assert run.provenance.command.startswith("python agents/train_agent.py")
    run.check_model()  # the weights that it was trained on are bundled too
    last = run.evaluations[-1]
    assert last.step >= run.preset.steps
    venv = make_run_vec_env(run, 50, seed=5_000_000, num_objects=run.preset.num_objects)
    assert success_rate(agent.predict, venv, 100).rate > last.score - 0.12  # three standard deviations


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the objects that model .Boxing. finds")  # it misses boxers at close range
@pytest.mark.parametrize(("game", "least"), [("Pong", 0), ("Boxing", 20)])  # random play: -10 and 0 points
def test_agent_of_a_game_wins_points(game, least):
    pytest.importorskip("ale_py")
    agent, run = load_agent(find_run(f"bundled:{game}"))
    assert (run.task, run.observation, run.model) == (f"ALE/{game}-v5", "lavae", None)
    run.check_model()
    venv = make_run_vec_env(run, 4, seed=5_000_000)
    observation, total = venv.reset(), 0.0
    for _ in range(400):
        actions, _ = agent.predict(observation, deterministic=True)  # type: ignore[arg-type]
        observation, rewards, _, _ = venv.step(actions)
        total += rewards.sum()
    assert total > least


def test_unknown_agent_is_refused_with_the_names_that_exist():
    with pytest.raises(FileNotFoundError, match=r"bundled:ObjectGoal or bundled:OddOneOut.*, got 'bundled:Chess'"):
        find_run("bundled:Chess")


@pytest.mark.parametrize("task", AGENTS)
def test_bundled_agent_can_be_copied_and_resumed(task, tmp_path):
    folder = shutil.copytree(find_run(f"bundled:{task}"), tmp_path / "run")
    run = resumed_run(folder, {})
    venv = make_run_vec_env(run, 2, seed=0, **(run.preset.env_options() if is_task(run.task) else {}))
    assert load_agent(folder, venv).agent.num_timesteps >= run.preset.steps


def test_stable_baselines3_loads_a_bundled_agent_by_itself():
    path = find_run("bundled:OddOneOut") / "agent.zip"
    venv = make_run_vec_env(read_run(path.parent), 3, seed=0)
    tokens: Any = venv.reset()
    ours, theirs = load_agent(path.parent).agent, PPO.load(path, device="cpu")
    assert (ours.predict(tokens, deterministic=True)[0] == theirs.predict(tokens, deterministic=True)[0]).all()


@pytest.mark.slow
def test_agent_meets_other_weights_only_with_an_explicit_model(tmp_path, capsys):
    folder = shutil.copytree(find_run("bundled:ObjectGoal"), tmp_path / "run")
    write_run(folder, replace(read_run(folder), model_fingerprint="0" * 16))
    for program, flags in ((train_agent, ["--resume", "--out", str(folder)]), (evaluate_agent, [str(folder)])):
        with pytest.raises(SystemExit):
            program.main(flags)
        assert "weights have changed" in " ".join(capsys.readouterr().out.split())
    evaluate_agent.main([str(folder), "--episodes", "50", "--model", "multi-dsprites"])
    assert "chance" in capsys.readouterr().out
