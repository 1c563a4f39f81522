import dataclasses

import pytest

from lavae_rl.datasets import POOLS
from lavae_rl.training.recipes import FAST, LATENTS, RECIPES, LAVAERecipe


def test_recipes_by_name():
    assert {model: sorted(recipes) for model, recipes in RECIPES.items()} == {
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
            "smoke",
        ],
        "baseline": ["fast", "smoke"],
    }


@pytest.mark.parametrize(
    "values", [{"steps": 0}, {"batch_size": 0}, {"decay_fraction": 0.0}, {"networks": "huge"}, {"memory": -1}], ids=str
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


def test_the_kl_comes_in_gradually():
    assert [FAST.kl_weight(step) for step in (0, 100, 200, 1_000)] == [0, 0.5, 1, 1]


def test_every_data_set_has_a_number_of_latents():
    assert set(LATENTS) == set(POOLS)


@pytest.mark.parametrize("values", [{"warmup_steps": 0}, {"average_decay": 1.0}, {"max_gradient_norm": 0.0}], ids=str)
def test_settings_that_divide_by_nothing_are_refused(values):
    with pytest.raises(ValueError, match="expected"):
        LAVAERecipe(**values)
