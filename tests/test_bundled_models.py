"""Bundled models: their run metadata, and their counts on canvases and numbers of objects not in their training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lavae_rl
from lavae_rl.data.scenes import render_scenes, sample_scenes
from lavae_rl.data.sources import DATASETS, SceneSpec, load_bank
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretraining.run import read_run

CHECKPOINTS = Path(lavae_rl.__file__).parent / "checkpoints"
NAMES = sorted(path.parent.name for path in CHECKPOINTS.glob("*/config.json"))


def test_the_main_model_is_bundled():
    assert "multi-dsprites" in NAMES
    assert set(NAMES) <= set(DATASETS)


@pytest.mark.parametrize("name", NAMES)
def test_bundled_models_state_where_they_come_from_and_their_metrics(name):
    run = read_run(CHECKPOINTS / name)
    assert run.data == SceneSpec(name)
    assert "pretrain/train_lavae.py" in run.provenance.command
    assert len(run.provenance.commit) == 12  # of a tree without changes
    assert run.resumed == []
    assert run.recipe_name == "long"
    metrics: Any = run.metrics
    assert metrics["count_accuracy_0_3"] >= 0.999
    assert metrics["count_accuracy_7"] >= 0.997
    assert metrics["location_error_px"] <= 0.7
    assert run.training_seconds is not None
    assert run.training_seconds <= 30 * 60


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
