import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from lavae_rl.data.sources import load_dataset
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.pretraining.paper import PaperMethod
from lavae_rl.pretraining.recipes import PAPER, PAPER_SMALL, PAPER_SMOKE, PRESETS
from lavae_rl.pretraining.run import new_run
from lavae_rl.pretraining.state import Training, make_accelerator

PRESET = PRESETS["lavae"]["paper-smoke"]


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("multi-dsprites", "validation", **PRESET.data)


def _training(seed=0, **settings):
    recipe, accelerator = dataclasses.replace(PAPER_SMOKE, **settings), make_accelerator(cpu=True)
    method: Any = PaperMethod(LAVAEConfig(latents=4, max_objects=2, **PRESET.model), recipe, seed, accelerator)
    return Training(method, recipe, seed, accelerator)


def test_every_term_is_measured_and_finite(dataset):
    terms = _training().step(dataset)
    assert set(terms) == set(PaperMethod.terms)
    assert np.isfinite(list(terms.values())).all()


@pytest.mark.slow
def test_the_same_seed_takes_the_same_steps(dataset):
    first, again, other = (_training(seed) for seed in (0, 0, 1))
    for _ in range(2):
        terms, same, different = first.step(dataset), again.step(dataset), other.step(dataset)
    assert terms == same != different


def test_a_loaded_state_takes_the_same_steps(dataset):
    whole, loaded = _training(), _training()
    whole.step(dataset)
    loaded.load(whole.state())
    assert whole.step(dataset) == loaded.step(dataset)


def test_after_the_warm_up_the_auxiliary_vae_is_not_trained(dataset):
    training = _training()
    training.progress.step = training.recipe.steps - 1
    before = [parameter.clone() for parameter in training.method.auxiliary.parameters()]
    terms = training.step(dataset)
    assert np.isnan(terms["map_distance"])
    assert np.isfinite(terms["log_likelihood"])
    assert all(map(torch.equal, before, training.method.auxiliary.parameters()))


def test_without_the_map_there_is_no_auxiliary_loss(dataset):
    terms = _training(map_weight=0.0).step(dataset)
    assert np.isnan(terms["map_distance"])
    assert np.isnan(terms["auxiliary_elbo"])


def test_forcing_draws_objects_where_none_is_counted(dataset):
    forced, free = (_training(forced_at_first=p, forced_at_last=0.0).step(dataset) for p in (1.0, 0.0))
    assert free["kl_appearance"] == 0  # untrained networks count nothing
    assert forced["kl_appearance"] > 0


def test_the_optimiser_is_adamax_with_a_rate_of_its_own_for_locations(dataset):
    training = _training(warmup_steps=1, location_learning_rate=2e-3, learning_rate=3e-3)
    assert isinstance(training.optimizer, torch.optim.Adamax)
    training.step(dataset)
    assert [group["lr"] for group in training.optimizer.param_groups] == pytest.approx([2e-3, 3e-3])


def test_digits_have_a_learning_rate_of_their_own_for_locations():
    shapes, digits = (new_run("lavae", "paper", name, seed=0) for name in ("multi-dsprites", "multi-mnist-1k"))
    assert (shapes.recipe.location_learning_rate, digits.recipe.location_learning_rate) == (5e-4, 1e-4)
    assert digits.recipe == dataclasses.replace(shapes.recipe, location_learning_rate=1e-4)


@pytest.mark.parametrize("recipe", [PAPER, PAPER_SMALL], ids=["paper", "small"])
def test_schedules_stretch_with_the_length_of_the_run(recipe):
    for steps in (recipe.steps, 2 * recipe.steps):
        stretched = dataclasses.replace(recipe, steps=steps)
        assert stretched.temperature(0) == 0.5
        assert stretched.temperature(steps // 2) == pytest.approx((0.5 * 0.02) ** 0.5)
        assert stretched.temperature(steps) == pytest.approx(0.02)
        assert [stretched.map_weight_at(part * steps // 20) for part in (0, 6, 9, 12, 20)] == pytest.approx(
            [recipe.map_weight * share for share in (1, 1, 0.5, 0, 0)]
        )
        assert [stretched.forced_at(part * steps // 20) for part in (0, 6, 9, 12, 20)] == pytest.approx(
            [1, 1, 0.55, 0.1, 0.1]
        )
        assert stretched.location_rate_factor(steps) == pytest.approx(0.01)


def test_the_papers_recipe_has_its_length_batch_rates_and_networks():
    assert (PAPER.steps, PAPER.batch_size) == (100_000, 64)
    assert (PAPER.location_learning_rate, PAPER.learning_rate) == (5e-4, 1e-3)
    assert new_run("lavae", "paper", "multi-dsprites", seed=0).model.networks == "paper"


def test_ablations_differ_in_one_thing():
    small = PRESETS["lavae"]["paper-small"]
    for name, fields in (
        ("paper-small-no-map", {"map_weight"}),
        ("paper-small-no-forcing", {"forced_at_first", "forced_at_last"}),
    ):
        other = PRESETS["lavae"][name]
        assert other._replace(recipe=small.recipe) == small
        ours, theirs = vars(small.recipe), vars(other.recipe)
        assert {key for key in ours if ours[key] != theirs[key]} == fields


@pytest.mark.parametrize("settings", [{"warm_fraction": 0.8}, {"map_weight": -1.0}, {"forced_at_last": 1.5}], ids=str)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="expected"):
        dataclasses.replace(PAPER, **settings)


def test_networks_that_relaxed_locations_cannot_read_are_refused():
    with pytest.raises(ValueError, match='networks "paper" or "paper-small", got \'fast\''):
        PaperMethod(LAVAEConfig(networks="fast"), PAPER_SMOKE, 0, make_accelerator(cpu=True))
