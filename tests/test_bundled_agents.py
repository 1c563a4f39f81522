import importlib
import json
import shutil

import pytest

from lavae_rl.rl.agents import BUNDLED_AGENTS, find_run, load_agent
from lavae_rl.rl.presets import Preset
from lavae_rl.rl.settings import check_model, resumed_facts
from lavae_rl.rl.success import success_rate
from lavae_rl.rl.vec_envs import make_task_vec_env

train_agent, evaluate_agent = (
    importlib.import_module(f"lavae_rl.agents.{name}_agent") for name in ("train", "evaluate")
)
TASKS = sorted(path.name for path in BUNDLED_AGENTS.iterdir())


def test_the_promised_agents_are_there():
    assert set(TASKS) == {"Collect", "MatchDigit", "ObjectGoal", "OddOneOut"}


@pytest.mark.parametrize("task", TASKS)
def test_an_agent_does_what_its_facts_say(task):
    saved = load_agent(find_run(f"bundled:{task}"))
    facts = saved.facts
    assert (facts["task"], facts["observation"], facts["model"]) == (task, "lavae", None)
    assert facts["command"].startswith("python agents/train_agent.py")
    check_model(facts)  # it comes with the weights that it was trained on
    assert facts["evaluations"][-1]["step"] >= facts["preset"]["steps"]
    venv = make_task_vec_env(task, "lavae", 50, seed=5_000_000, num_objects=facts["preset"]["num_objects"])
    promised = facts["evaluations"][-1]["success_rate"]
    assert success_rate(saved.agent.predict, venv, 100).rate > promised - 0.12  # three standard deviations


def test_an_unknown_agent_is_refused_with_those_that_exist():
    with pytest.raises(FileNotFoundError, match=r"bundled:ObjectGoal or bundled:OddOneOut.*, got 'bundled:Chess'"):
        find_run("bundled:Chess")


@pytest.mark.parametrize("task", TASKS)
def test_a_bundled_agent_can_be_copied_and_trained_on(task, tmp_path):
    folder = shutil.copytree(find_run(f"bundled:{task}"), tmp_path / "run")
    facts = resumed_facts(folder, {})
    venv = make_task_vec_env(task, "lavae", 2, seed=0, **Preset(**facts["preset"]).env_options())
    assert load_agent(folder, venv).agent.num_timesteps >= facts["preset"]["steps"]


def test_by_other_weights_than_it_learned_with_an_agent_sees_on_purpose_alone(tmp_path, capsys):
    folder = shutil.copytree(find_run("bundled:ObjectGoal"), tmp_path / "run")
    facts = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(facts | {"model_fingerprint": "0" * 16}))
    for program, flags in ((train_agent, ["--resume", "--out", str(folder)]), (evaluate_agent, [str(folder)])):
        with pytest.raises(SystemExit):
            program.main(flags)
        assert "weights have changed" in " ".join(capsys.readouterr().out.split())
    evaluate_agent.main([str(folder), "--episodes", "50", "--model", "multi-dsprites"])
    assert "chance" in capsys.readouterr().out
