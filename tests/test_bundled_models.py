"""Bundled models: their run metadata, and their counts on canvases and numbers of objects not in their training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lavae_rl
from lavae_rl.data.environments import open_screen
from lavae_rl.data.scenes import render_scenes, sample_scenes
from lavae_rl.data.sources import DATASETS, SceneSpec, load_bank
from lavae_rl.model.explained import explained_share, frame_surprise
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretraining.run import read_run

CHECKPOINTS = Path(lavae_rl.__file__).parent / "checkpoints"
BUNDLED = sorted(path.parent.name for path in CHECKPOINTS.glob("*/config.json"))
NAMES = [name for name in BUNDLED if name in DATASETS]
GAMES = [name for name in BUNDLED if name not in DATASETS]
EXPLAINED = {"Boxing": 0.75}
"""Least share of surprise explained, of games whose sprites have many poses."""


def test_the_main_model_is_bundled():
    assert "multi-dsprites" in NAMES
    assert "Pong" in GAMES


@pytest.mark.parametrize("name", NAMES)
def test_bundled_models_state_where_they_come_from_and_their_metrics(name):
    run = read_run(CHECKPOINTS / name)
    assert run.data == SceneSpec(name)
    assert "pretrain/train_lavae.py" in run.provenance.command
    assert len(run.provenance.commit) == 12  # of a tree without changes
    assert run.resumed == []
    assert run.recipe_name == ("prototypes" if name == "multi-dsprites" else "long")
    metrics: Any = run.metrics
    assert metrics["count_accuracy_0_3"] >= 0.999
    assert metrics["count_accuracy_7"] >= 0.997
    assert metrics["location_error_px"] <= 0.7
    assert run.training_seconds is not None
    assert run.training_seconds <= 90 * 60  # on one thread


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("canvas_size", "num_objects"),
    [((48, 48), (0, 3)), ((64, 64), (4, 6)), ((67, 101), (0, 6)), ((128, 96), (0, 12)), ((160, 160), 15)],
    ids=str,
)
def test_counts_are_right_on_any_canvas(name, canvas_size, num_objects):
    bank = load_bank(name)
    scenes = sample_scenes(np.random.default_rng(0), bank, 60, num_objects, canvas_size)
    objects = LAVAE.from_pretrained(name).encode(render_scenes(scenes, bank))
    assert (objects.count == scenes.count).mean() >= 0.95


@pytest.mark.parametrize("name", GAMES)
def test_models_of_games_state_where_they_come_from_and_are_small(name):
    run = read_run(CHECKPOINTS / name)
    assert f"--env ALE/{name}-v5" in run.provenance.command
    assert all(len(each.commit) == 12 for each in (run.provenance, *run.resumed))  # of trees without changes
    assert run.recipe_name == "world"
    assert (run.metrics or {})["explained"] > EXPLAINED.get(name, 0.85)  # type: ignore[operator]
    assert (CHECKPOINTS / name / "model.safetensors").stat().st_size <= 3e6


@pytest.mark.slow
@pytest.mark.parametrize("name", GAMES)
def test_models_of_games_explain_frames_of_other_episodes(name):
    pytest.importorskip("ale_py")
    env, read = open_screen(f"ALE/{name}-v5")
    env.action_space.seed(77)
    frames = [read(env.reset(seed=77)[0])]
    for _ in range(300):
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        frames.append(read(observation).copy())
        if terminated or truncated:
            env.reset()
    env.close()
    found = frame_surprise(LAVAE.from_pretrained(name), np.stack(frames[100::5]))
    assert explained_share(float(found.background.sum()), float(found.reconstruction.sum())) > EXPLAINED.get(name, 0.8)
