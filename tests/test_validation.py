"""Validation measures: it changes no model, draws nothing, and needs no truth."""

import dataclasses
from typing import Any

import pytest
import torch

from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.data.sources import Prepared
from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretraining.paper import PaperMethod
from lavae_rl.pretraining.recipes import BASELINE_SMOKE, PAPER_SMOKE, SMOKE
from lavae_rl.pretraining.state import make_accelerator
from lavae_rl.pretraining.vae import PlainVAE
from lavae_rl.pretraining.validation import validate_lavae, validate_vae
from lavae_rl.pretraining.wake_sleep import WakeSleep

METHODS: dict[str, Any] = {
    "wake-sleep": (WakeSleep, LAVAEConfig(latents=4), SMOKE),
    "paper": (PaperMethod, LAVAEConfig(latents=4, networks="paper-small"), PAPER_SMOKE),
    "vae": (PlainVAE, BaselineConfig(latents=2), BASELINE_SMOKE),
}


@pytest.fixture(params=METHODS)
def method(request):
    kind, config, recipe = METHODS[request.param]
    recipe = dataclasses.replace(recipe, validation_scenes=20, elbo_scenes=5)
    return kind(config, recipe, 0, make_accelerator(cpu=True))


def _states(method):
    return {
        f"{part}.{name}": value.clone()
        for part, module in method.modules.items()
        for name, value in module.state_dict().items()
    }


def test_validation_measures_what_it_says_and_changes_nothing(method, scenes):
    before, randomness = _states(method), torch.get_rng_state()
    method.model.eval()
    measured = method.validate(method.model, scenes, method.recipe, 0)
    assert set(measured) == set(method.validation)
    assert measured == pytest.approx(method.validate(method.model, scenes, method.recipe, 0), nan_ok=True)
    after = _states(method)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert torch.equal(torch.get_rng_state(), randomness)
    assert not method.model.training


@pytest.mark.parametrize("name", ["paper", "vae"])
def test_methods_whose_gradients_reach_every_weight_have_nothing_to_calibrate(name, scenes):
    kind, config, recipe = METHODS[name]
    method = kind(config, recipe, 0, make_accelerator(cpu=True))
    before = _states(method)
    method.calibrate(method.model, scenes, last=True)
    after = _states(method)
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_without_truth_only_metrics_without_labels_are_measured(scenes):
    model = LAVAE.from_pretrained("multi-dsprites")
    frames = Prepared(scenes, Preprocessing(threshold=127))
    recipe = dataclasses.replace(SMOKE, validation_scenes=20, elbo_scenes=20)
    known, unknown = (validate_lavae(model, source, recipe, 0) for source in (scenes, frames))
    assert known["count_accuracy"] == 1
    assert unknown == {name: known[name] for name in ("elbo", "kl_location")}
    vae = ConvVAE(BaselineConfig(latents=2))
    assert set(validate_vae(vae, frames, recipe, 0)) == {"elbo", "kl"}


def test_validation_reads_as_many_frames_as_the_recipe_has(scenes, monkeypatch):
    read, check = [], LAVAE.check

    def counted(model, frames):
        read.append(len(frames))
        return check(model, frames)

    monkeypatch.setattr(LAVAE, "check", counted)
    recipe = dataclasses.replace(SMOKE, validation_scenes=7, elbo_scenes=5)
    validate_lavae(LAVAE(LAVAEConfig(latents=4)), scenes, recipe, 0)
    assert read == [7, 5]
