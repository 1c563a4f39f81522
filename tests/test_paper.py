import dataclasses

import numpy as np
import pytest
import torch

from lavae_rl.data.sources import load_dataset
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.pretraining.paper import PaperTraining
from lavae_rl.pretraining.recipes import PAPER, PAPER_SMALL, PAPER_SMOKE, RECIPES
from lavae_rl.pretraining.state import make_accelerator


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("multi-dsprites", "validation", **PAPER_SMOKE.world)


def _training(seed=0, latents=4, channels=3, **settings):
    recipe = dataclasses.replace(PAPER_SMOKE, **settings)
    config = LAVAEConfig(channels, recipe.sprite_size, latents, recipe.max_objects, recipe.networks)
    return PaperTraining(config, recipe, seed, make_accelerator(cpu=True))


def test_every_term_is_measured_and_finite(dataset):
    terms = _training().step(dataset)
    assert set(terms) == set(PaperTraining.TERMS)
    assert np.isfinite(list(terms.values())).all()


def test_the_same_seed_takes_the_same_steps(dataset):
    first, again, other = (_training(seed) for seed in (0, 0, 1))
    for _ in range(2):
        terms, same, different = first.step(dataset), again.step(dataset), other.step(dataset)
    assert terms == same != different


def test_a_loaded_state_goes_on_alike(dataset):
    whole, loaded = _training(), _training()
    whole.step(dataset)
    loaded.load(whole.state())
    assert whole.step(dataset) == loaded.step(dataset)


def test_after_the_warm_up_the_auxiliary_vae_rests(dataset):
    training = _training()
    training.progress.step = training.recipe.steps - 1
    before = [parameter.clone() for parameter in training.auxiliary.parameters()]
    terms = training.step(dataset)
    assert np.isnan(terms["map_distance"])
    assert np.isfinite(terms["log_likelihood"])
    assert all(map(torch.equal, before, training.auxiliary.parameters()))


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
    digits = _training(channels=1, location_learning_rate_digits=5e-4)
    assert digits.rates[0] == 5e-4


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


def test_the_papers_numbers():
    assert (PAPER.steps, PAPER.batch_size, PAPER.networks) == (100_000, 64, "paper")
    assert (PAPER.location_learning_rate, PAPER.location_learning_rate_digits, PAPER.learning_rate) == (
        5e-4,
        1e-4,
        1e-3,
    )


def test_ablations_differ_in_one_thing():
    recipes = RECIPES["lavae"]
    small = dataclasses.asdict(recipes["paper-small"])
    for name, fields in (
        ("paper-small-no-map", {"map_weight"}),
        ("paper-small-no-forcing", {"forced_at_first", "forced_at_last"}),
    ):
        other = dataclasses.asdict(recipes[name])
        assert {key for key in small if small[key] != other[key]} == fields


@pytest.mark.parametrize("settings", [{"networks": "fast"}, {"warm_fraction": 0.8}, {"map_weight": -1.0}], ids=str)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="expected"):
        dataclasses.replace(PAPER, **settings)
