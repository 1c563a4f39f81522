"""agent.zip: what is read of it, that no code in it runs, and that a resumed training goes on to the same bits."""

import io
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch
from stable_baselines3.common.save_util import data_to_json

from lavae_rl.rl import agents
from lavae_rl.rl.agents import ALGORITHMS, find_run, load_agent, make_agent, policy_kwargs, policy_name, save_agent
from lavae_rl.rl.observations import observation_kind
from lavae_rl.rl.presets import Preset
from lavae_rl.rl.run import new_run
from lavae_rl.rl.vec_envs import make_run_vec_env

PRESET = Preset(num_envs=4, rollout=8, batch_size=16, epochs=1, width=16, steps=800)
TASKS = {"ppo": "OddOneOut", "a2c": "OddOneOut", "dqn": "OddOneOut", "sac": "MatchDigit", "td3": "MatchDigit"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of an agent that has learned for a while."""
    folder = tmp_path_factory.mktemp("saved")
    run = replace(new_run({"task": "ObjectGoal", "observation": "oracle"}), preset=PRESET)
    agent = make_agent("oracle", PRESET, make_run_vec_env(run, 4, seed=0), 0).learn(32)
    save_agent(folder, agent, run)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(saved, tmp_path / "agent")


def _change(folder: Path, **members: Any) -> None:
    """Replaces members of agent.zip; None leaves one out."""
    with zipfile.ZipFile(folder / "agent.zip") as archive:
        content = {name: archive.read(name) for name in archive.namelist()} | members
    with zipfile.ZipFile(folder / "agent.zip", "w") as archive:
        for name, inside in content.items():
            if inside is not None:
                archive.writestr(name, inside)


def _torch(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


class Code:
    def __reduce__(self):
        return exec, ("raise SystemExit('code from the file runs')",)


def test_code_in_an_agent_does_not_run(folder):
    data = json.loads(zipfile.ZipFile(folder / "agent.zip").read("data"))
    hostile = json.loads(data_to_json({"policy_class": Code(), "observation_space": Code(), "_last_obs": Code()}))
    _change(folder, data=json.dumps(data | hostile))
    agent, _ = load_agent(folder)
    assert agent.num_timesteps == 32
    _change(folder, **{"policy.pth": _torch(Code())})
    with pytest.raises(ValueError, match=r"agent\.zip cannot be loaded"):
        load_agent(folder)
    _change(folder, **{"policy.pth": cloudpickle.dumps(Code())})
    with pytest.raises(ValueError, match=r"agent\.zip cannot be loaded"):
        load_agent(folder)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = load_agent(folder).agent.policy.state_dict()
    return weights


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {name: value.to(torch.int64) for name, value in w.items()}, "as torch.float32 in policy"),
        (lambda w: {name: torch.zeros_like(value) for name, value in w.items()}, "nothing but zeros"),
        (lambda w: {name: value * torch.nan for name, value in w.items()}, "NaN or infinite"),
        (lambda w: dict(list(w.items())[1:]), "other tensors"),
        (lambda w: {name: value[None] for name, value in w.items()}, "of shape"),
        (lambda w: 3, "tensors by name, got int"),
    ],
    ids=["whole numbers", "zeros", "NaN", "missing", "shape", "number"],
)
def test_other_weights_are_refused(folder, change, message):
    _change(folder, **{"policy.pth": _torch(change(_weights(folder)))})
    with pytest.raises(ValueError, match=message):
        load_agent(folder)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"data": b"[" * 100_000}, "nested too deeply"),
        ({"data": b"{}"}, "num_timesteps"),
        ({"data": b"\xff"}, "cannot be loaded"),
        ({"data": None}, "expected data in"),
        ({"policy.optimizer.pth": _torch({"state": {}, "param_groups": []})}, "state of an optimiser"),
        ({"policy.optimizer.pth": None}, r"expected policy\.optimizer\.pth"),
        ({"pytorch_variables.pth": _torch({"log_ent_coef": torch.zeros(1)})}, "other tensors"),
    ],
)
def test_damaged_members_are_refused_by_name(folder, members, message):
    _change(folder, **members)
    with pytest.raises(ValueError, match=message) as refused:
        load_agent(folder)
    assert str(folder / "agent.zip") in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("steps", [-1, 2**70, "3", None, 1.5, True])
def test_counts_have_to_be_numbers(folder, steps):
    data = json.loads(zipfile.ZipFile(folder / "agent.zip").read("data"))
    _change(folder, data=json.dumps(data | {"num_timesteps": steps}))
    with pytest.raises(ValueError, match="expected num_timesteps"):
        load_agent(folder)


@pytest.mark.parametrize("name", ["bundled:..", "bundled:", "bundled:/x/OddOneOut", "bundled:../agents/OddOneOut"])
def test_only_names_of_bundled_agents_are_taken(name):
    with pytest.raises(FileNotFoundError, match="expected bundled:Boxing or bundled:Collect or"):
        find_run(name)


def _as_stable_baselines3_loads(folder: Path, preset: Preset, venv: Any) -> Any:
    algorithm, kind = ALGORITHMS[preset.algorithm], observation_kind("oracle")
    make: Any = algorithm.kind
    kwargs = policy_kwargs(kind, preset)
    unset = make(policy_name(kind, algorithm), None, policy_kwargs=kwargs, _init_setup_model=False)
    known = {"policy_kwargs": unset.policy_kwargs}
    return make.load(folder / "agent.zip", env=venv, device="cpu", custom_objects=known)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo", "a2c", "dqn", "sac", "td3", "recurrent-ppo"])
def test_training_goes_on_to_the_same_bits_as_by_unpickling(name, tmp_path, monkeypatch):
    if name not in ALGORITHMS:
        pytest.skip("needs the extra recurrent")
    settings: dict[str, Any] = {**ALGORITHMS[name].settings}
    settings |= {"learning_starts": 64, "buffer_size": 1_000} if "buffer_size" in settings else {}
    monkeypatch.setattr(agents, "ALGORITHMS", {**ALGORITHMS, name: ALGORITHMS[name]._replace(settings=settings)})
    preset = replace(PRESET, algorithm=name)
    run = replace(new_run({"task": TASKS.get(name, "OddOneOut"), "observation": "oracle"}), preset=preset)
    venvs = [make_run_vec_env(run, 4, seed=0) for _ in range(3)]
    begun = make_agent("oracle", preset, venvs[0], 0).learn(200)
    save_agent(tmp_path, begun, run)
    theirs: Any = _as_stable_baselines3_loads(tmp_path, preset, venvs[1])
    ours: Any = load_agent(tmp_path, venvs[2]).agent
    ours.learning_starts = theirs.learning_starts = 264
    for agent in (ours, theirs):
        agent.set_random_seed(7)
        agent.learn(200, reset_num_timesteps=False)
    counted = ("num_timesteps", "_n_updates", "_episode_num", "_current_progress_remaining", "exploration_rate")
    assert [getattr(ours, key, None) for key in counted] == [getattr(theirs, key, None) for key in counted]
    assert _flat(ours.get_parameters()) == _flat(theirs.get_parameters())
    assert _flat(ours.policy.state_dict()) != _flat(begun.policy.state_dict())


def _flat(values: Any) -> str:
    if isinstance(values, torch.Tensor):
        return str(values.tolist())
    if isinstance(values, dict):
        return ";".join(f"{key}={_flat(value)}" for key, value in values.items())
    return str(values)
