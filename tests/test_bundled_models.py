"""The bundled weights do what their config.json says, also on canvases and counts they never saw in training."""

import json
from pathlib import Path

import numpy as np
import pytest

import lavae_rl
from lavae_rl.data.scenes import render_scenes, sample_scenes
from lavae_rl.data.sources import POOLS, load_bank
from lavae_rl.model.lavae import LAVAE

CHECKPOINTS = Path(lavae_rl.__file__).parent / "checkpoints"
NAMES = sorted(path.parent.name for path in CHECKPOINTS.glob("*/config.json"))


def test_the_main_model_is_bundled():
    assert "multi-dsprites" in NAMES
    assert set(NAMES) <= set(POOLS)


@pytest.mark.parametrize("name", NAMES)
def test_bundled_weights_say_where_they_come_from_and_how_good_they_are(name):
    config = json.loads((CHECKPOINTS / name / "config.json").read_text())
    assert config["dataset"] == name
    assert "pretrain/train_lavae.py" in config["command"]
    assert len(config["commit"]) == 12  # of a tree without changes
    assert "resumed" not in config
    assert config["recipe_name"] == "long"
    assert config["metrics"]["count_accuracy_0_3"] >= 0.999
    assert config["metrics"]["count_accuracy_7"] >= 0.997
    assert config["metrics"]["location_error_px"] <= 0.7
    assert config["training_seconds"] <= 30 * 60


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
