import copy
import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from lavae_rl.data.sources import load_dataset
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.pretraining.recipes import SMOKE
from lavae_rl.pretraining.state import Training, make_accelerator
from lavae_rl.pretraining.wake_sleep import WakeSleep


def _training(seed=0, recipe=SMOKE):
    accelerator = make_accelerator(cpu=True)
    method: Any = WakeSleep(LAVAEConfig(latents=4), recipe, seed, accelerator)
    return Training(method, recipe, seed, accelerator)


@pytest.mark.slow
def test_the_same_seed_takes_the_same_steps(scenes, same_weights):
    first, again, other = (_training(seed) for seed in (0, 0, 1))
    for _ in range(12):
        terms, terms_again = first.step(scenes), again.step(scenes)
        other.step(scenes)
    assert terms == terms_again
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_a_loaded_state_takes_the_same_steps(scenes, same_weights):
    whole, loaded = _training(), _training()
    for _ in range(7):
        whole.step(scenes)
    loaded.load(copy.deepcopy(whole.state()))
    assert loaded.progress == whole.progress
    assert [whole.step(scenes) for _ in range(3)] == [loaded.step(scenes) for _ in range(3)]
    assert same_weights(whole, loaded)


def test_a_step_leaves_global_randomness_alone(scenes):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    _training().step(scenes)
    assert torch.equal(torch.rand(1), expected)


def test_a_non_finite_step_is_skipped_and_counted(scenes):
    training = _training()
    training.step(scenes)
    model = training.method.model
    before = {name: value.clone() for name, value in model.named_parameters()}
    model.count_logits.register_hook(lambda gradient: gradient * float("nan"))
    training.step(scenes)
    assert training.progress.skipped == 1
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


@pytest.mark.parametrize("state", [{}, {"progress": {"step": 1}, "model": {}}], ids=["foreign", "other model"])
def test_a_checkpoint_of_another_run_is_refused(state):
    with pytest.raises(ValueError, match="does not fit this run's model"):
        _training().load(state)


def compare_compiled():
    """Takes steps of every phase with compiled networks and with plain ones."""
    scenes = load_dataset("multi-dsprites", "validation")
    recipe = dataclasses.replace(SMOKE, steps=8, dreams_from_step=2, locations_from_step=4)
    assert recipe.locations_from_step < recipe.joint_from_step < recipe.steps
    plain, compiled = _training(recipe=recipe), _training(recipe=recipe)
    compiled.compile(backend="eager")  # traced as with "inductor", which then writes C++ for a minute
    assert compiled.method.model.location_network._compiled_call_impl
    for _ in range(recipe.steps):
        terms, expected = compiled.step(scenes), plain.step(scenes)
        np.testing.assert_allclose(list(terms.values()), list(expected.values()), rtol=1e-5)


@pytest.mark.slow
def test_compiled_networks_take_the_same_steps():
    # In a process of its own: the checks of shapes that tests run with cannot be compiled.
    code = f"import runpy; runpy.run_path({__file__!r})['compare_compiled']()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
