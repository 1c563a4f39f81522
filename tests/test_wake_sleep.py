import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from lavae_rl.data.scenes import sample_scenes
from lavae_rl.data.sources import SceneDataset, load_dataset
from lavae_rl.evaluation.agreement import measure_agreement
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objective import ELBOTerms
from lavae_rl.pretraining.recipes import FAST, JOINT, SMOKE
from lavae_rl.pretraining.sharpness import TEMPERATURES
from lavae_rl.pretraining.state import Training, make_accelerator
from lavae_rl.pretraining.wake_sleep import WakeSleep


def _training(config, recipe, precision="no"):
    accelerator = make_accelerator(cpu=True, mixed_precision=precision)
    method: Any = WakeSleep(config, recipe, 0, accelerator)
    return Training(method, recipe, 0, accelerator)


def fine_tune(precision):
    """Three steps of joint fine-tuning of the bundled model; it keeps its objects."""
    scenes = load_dataset("multi-mnist-1k", "validation")
    bundled = LAVAE.from_pretrained("multi-mnist-1k")
    recipe = dataclasses.replace(JOINT, steps=40, batch_size=16, warmup_steps=1)
    training = _training(bundled.config, recipe, precision)
    model = training.method.model
    model.load_state_dict(bundled.state_dict())
    before = {name: value.clone() for name, value in model.location_network.state_dict().items()}
    training.progress.step = recipe.joint_from_step
    terms = [training.step(scenes) for _ in range(3)]
    assert all(row["joint_elbo"] > -80 for row in terms), terms
    assert any(not value.equal(before[name]) for name, value in model.location_network.state_dict().items())
    assert training.progress.skipped == 0
    assert measure_agreement(model.eval(), scenes, 64).count_accuracy > 0.9


@pytest.mark.slow
def test_joint_fine_tuning_keeps_the_objects_that_the_model_finds():
    fine_tune("no")


@pytest.mark.slow
def test_joint_fine_tuning_in_half_precision_keeps_the_objects_that_the_model_finds():
    # In a process of its own, for a process has one precision.
    code = f"import runpy; runpy.run_path({__file__!r})['fine_tune']('bf16')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]


def test_frames_without_any_object_are_no_reason_to_stop(scenes):
    empty = SceneDataset(sample_scenes(np.random.default_rng(0), scenes.bank, 8, 0), scenes.bank)
    training = _training(LAVAEConfig(latents=4), SMOKE)
    for _ in range(12):
        training.step(empty)
    assert training.progress.skipped == 0


@pytest.mark.slow
def test_it_learns_to_count_and_locate_in_200_small_steps():
    recipe = dataclasses.replace(
        FAST, steps=200, batch_size=32, dreams=20, dreams_from_step=60, locations_from_step=140, kl_warmup_fraction=0.5
    )
    training = _training(LAVAEConfig(), recipe)
    dataset = load_dataset("multi-dsprites", "train")
    for _ in range(recipe.steps):
        training.step(dataset)
    found = measure_agreement(training.average, load_dataset("multi-dsprites", "validation"), 500)
    assert found.count_accuracy >= 0.95
    assert found.location_error < 0.7


def test_calibration_fits_the_sharpness_of_the_average_and_nothing_else(scenes):
    average = LAVAE.from_pretrained("multi-dsprites")
    before = {name: value.clone() for name, value in average.state_dict().items()}
    method = _training(average.config, dataclasses.replace(SMOKE, steps=500)).method  # enough for its networks
    method.calibrate(average, scenes, last=False)
    changed = {name for name, value in average.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"log_sharpness"}


@pytest.mark.parametrize("last", [False, True])
def test_calibration_reads_as_many_frames_and_samples_as_the_recipe_has(last, scenes, monkeypatch):
    recipe = dataclasses.replace(SMOKE, sharpness_scenes=6, sharpness_samples=3)
    method = _training(LAVAEConfig(latents=4), recipe).method
    read = []

    def elbo_terms(model, images, *_):
        read.append(len(images))
        return ELBOTerms(*torch.zeros(5, len(images)))

    monkeypatch.setattr("lavae_rl.pretraining.sharpness.elbo_terms", elbo_terms)
    method.calibrate(method.model, scenes, last)
    assert read == [6] * (len(TEMPERATURES) + 1) * (3 if last else 1)


def _with_prototypes(**changes):
    recipe = dataclasses.replace(SMOKE, joint_fraction=0.0, prototypes_from_step=12, **changes)
    return _training(LAVAEConfig(latents=9, networks="prototypes"), recipe), recipe


def test_remembered_sprites_become_prototypes_once_and_edges_are_corrected_later(scenes):
    training, recipe = _with_prototypes(corrections_fraction=0.2)
    decoder = training.method.model.sprite_decoder
    assert recipe.corrections_from_step == 16
    for step in range(18):
        assert int(decoder.used.sum()) == 1 if step <= 12 else decoder.used.any()
        before = decoder.templates.clone()
        row = training.step(scenes)
        moved = (decoder.templates - before).abs().max()
        assert (moved > 0.5) == (step == 12)  # a gradient step moves them by little
        assert bool(decoder.corrects) == (step >= 16)
        assert np.isfinite(row.get("dream_appearance", np.nan)) == (step < 16)
    assert training.progress.skipped == 0
    assert training.average.sprite_decoder.corrects
    assert training.average.sprite_decoder.used.equal(decoder.used)


def test_a_run_that_ends_before_sprites_are_clustered_is_refused():
    with pytest.raises(ValueError, match=r"expected more than 20 steps with networks prototypes.*got 20"):
        _training(LAVAEConfig(latents=9, networks="prototypes"), dataclasses.replace(SMOKE, prototypes_from_step=20))


def test_models_without_prototypes_dream_no_sprites(scenes):
    row = _training(LAVAEConfig(latents=4), SMOKE).step(scenes)
    assert "dream_appearance" not in row
