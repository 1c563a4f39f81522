import dataclasses
import itertools
from typing import Any

import pytest

from lavae_rl.data.sources import DATASETS
from lavae_rl.pretraining.recipes import DIGITS, FAST, PRESETS, LAVAERecipe, PaperRecipe


def test_presets_are_found_by_model_and_name():
    assert {model: sorted(recipes) for model, recipes in PRESETS.items()} == {
        "lavae": [
            "fast",
            "joint",
            "long",
            "paper",
            "paper-small",
            "paper-small-dreams",
            "paper-small-no-forcing",
            "paper-small-no-map",
            "paper-smoke",
            "prototypes",
            "smoke",
            "world",
            "world-smoke",
        ],
        "baseline": ["fast", "long", "smoke"],
    }


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"decay_fraction": 0.0},
        {"kl_warmup_fraction": 1.5},
        {"joint_fraction": 1.0},
        {"memory": -1},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match="expected"):
        LAVAERecipe(**values)


@pytest.mark.parametrize("steps", [100, 3_000])
def test_rates_rise_stay_and_fall_with_the_length_of_the_run(steps):
    recipe = dataclasses.replace(FAST, steps=steps, warmup_steps=10)
    assert recipe.rate_factor(0) == pytest.approx(0.1)
    assert recipe.rate_factor(steps // 2) == 1
    assert recipe.rate_factor(steps * 8 // 10) == pytest.approx(recipe.decay_factor**0.5)
    assert recipe.rate_factor(steps) == pytest.approx(recipe.decay_factor)


def test_the_weight_of_the_kl_rises_from_0_to_1():
    assert [FAST.kl_weight(step) for step in (0, 100, 200, 1_000)] == [0, 0.5, 1, 1]


@pytest.mark.parametrize("steps", [100, 9_000])
@pytest.mark.parametrize(("model", "name"), [(model, name) for model in PRESETS for name in PRESETS[model]])
def test_schedules_stretch_with_the_length_of_the_run(model, name, steps):
    usual: Any = PRESETS[model][name].recipe
    recipe: Any = dataclasses.replace(usual, steps=steps)
    schedules = ["kl_weight"]
    if isinstance(recipe, PaperRecipe):
        schedules += ["temperature", "map_weight_at", "forced_at"]
    for part, schedule in itertools.product((0, 0.05, 0.1, 0.5, 1), schedules):
        expected = getattr(usual, schedule)(round(part * usual.steps))
        assert getattr(recipe, schedule)(round(part * steps)) == pytest.approx(expected)
    assert recipe.kl_weight(steps) == 1


def test_joint_fine_tuning_is_the_last_quarter_of_its_recipe():
    joint: Any = PRESETS["lavae"]["joint"].recipe
    assert joint.joint_from_step == 3_000
    assert dataclasses.replace(joint, steps=400).joint_from_step == 300
    assert FAST.joint_from_step == FAST.steps


def test_data_sets_of_digits_are_data_sets():
    assert set(DIGITS) < set(DATASETS)


@pytest.mark.parametrize("values", [{"warmup_steps": 0}, {"average_decay": 1.0}, {"max_gradient_norm": 0.0}], ids=str)
def test_settings_that_divide_by_nothing_are_refused(values):
    with pytest.raises(ValueError, match="expected"):
        LAVAERecipe(**values)
