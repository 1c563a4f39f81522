import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from lavae_rl.data.scenes import sample_scenes
from lavae_rl.data.sources import SceneDataset, load_bank, load_dataset
from lavae_rl.evaluation.agreement import measure_agreement
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretraining.loop import TrainingDivergedError, train
from lavae_rl.pretraining.recipes import FAST, SMOKE
from lavae_rl.pretraining.state import make_accelerator
from lavae_rl.pretraining.wake_sleep import WakeSleepTraining
from lavae_rl.runs.folder import RunFolder

CPU = make_accelerator(cpu=True)


@pytest.fixture(scope="module")
def dataset():
    bank = load_bank("multi-dsprites")
    return SceneDataset(sample_scenes(np.random.default_rng(0), bank, 64, (0, 3)), bank)


def _training(recipe=SMOKE, seed=0):
    return WakeSleepTraining(LAVAEConfig(latents=4), recipe, seed, CPU)


def ignore(*_):
    pass


def _run(training, dataset, path, on_step=ignore, on_evaluation=ignore, **stop):
    with RunFolder(path, resume=path.exists()) as folder:
        return train(training, dataset, dataset, folder, {}, on_step, on_evaluation, **stop)


def _weights(training):
    return {**training.model.state_dict(), **{f"average.{k}": v for k, v in training.average.state_dict().items()}}


def _equal(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_run_reports_every_term_and_leaves_a_model_that_loads(dataset, tmp_path):
    steps, evaluations = [], []
    assert _run(
        _training(),
        dataset,
        tmp_path / "run",
        on_step=lambda _, terms: steps.append(terms),
        on_evaluation=lambda _, measured: evaluations.append(measured),
    )
    assert len(steps) == SMOKE.steps
    assert len(evaluations) == 2
    assert set(steps[-1]) == set(WakeSleepTraining.TERMS)
    assert set(evaluations[-1]) == set(WakeSleepTraining.VALIDATION)
    assert all(any(np.isfinite(terms[name]) for terms in steps) for name in WakeSleepTraining.TERMS)
    joint = [np.isfinite(terms["joint_elbo"]) for terms in steps]
    assert joint == [step >= SMOKE.joint_from_step for step in range(SMOKE.steps)]
    LAVAE.from_pretrained(tmp_path / "run")
    assert len(list((tmp_path / "run" / "figures").glob("*.png"))) == 2


JOINT_STEPS = """
import dataclasses, sys
import numpy as np
from lavae_rl.data.sources import SceneDataset, load_bank
from lavae_rl.evaluation.agreement import measure_agreement
from lavae_rl.model.lavae import LAVAE
from lavae_rl.data.scenes import sample_scenes
from lavae_rl.pretraining.state import make_accelerator
from lavae_rl.pretraining.recipes import JOINT
from lavae_rl.pretraining.wake_sleep import WakeSleepTraining

bank = load_bank("multi-dsprites")
dataset = SceneDataset(sample_scenes(np.random.default_rng(0), bank, 64, (0, 3)), bank)
bundled = LAVAE.from_pretrained("multi-dsprites")
recipe = dataclasses.replace(JOINT, steps=40, batch_size=16, warmup_steps=1)
training = WakeSleepTraining(bundled.config, recipe, 0, make_accelerator(True, sys.argv[1]))
training.model.load_state_dict(bundled.state_dict())
before = training.model.location_network.state_dict()
before = {name: value.clone() for name, value in before.items()}
training.progress.step = recipe.joint_from_step
terms = [training.step(dataset) for _ in range(3)]
assert all(row["joint_elbo"] > -80 for row in terms), terms
assert any(not value.equal(before[name]) for name, value in training.model.location_network.state_dict().items())
assert training.progress.skipped == 0
assert measure_agreement(training.model.eval(), dataset).count_accuracy > 0.9
"""


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_joint_fine_tuning_of_a_model_that_finds_objects_keeps_what_it_can(precision):
    # In a process of its own, for a process has one precision.
    done = subprocess.run([sys.executable, "-c", JOINT_STEPS, precision], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]


def test_the_same_seed_takes_the_same_steps(dataset):
    first, again, other = (_training(seed=seed) for seed in (0, 0, 1))
    for _ in range(12):
        terms, terms_again = first.step(dataset), again.step(dataset)
        other.step(dataset)
    assert terms == terms_again
    assert _equal(_weights(first), _weights(again))
    assert not _equal(_weights(first), _weights(other))


COMPILED = """
import numpy as np
from lavae_rl.data.sources import SceneDataset, load_bank
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.data.scenes import sample_scenes
from lavae_rl.pretraining.state import make_accelerator
from lavae_rl.pretraining.recipes import SMOKE
from lavae_rl.pretraining.wake_sleep import WakeSleepTraining

bank = load_bank("multi-dsprites")
dataset = SceneDataset(sample_scenes(np.random.default_rng(0), bank, 64, (0, 3)), bank)
plain, compiled = (WakeSleepTraining(LAVAEConfig(latents=4), SMOKE, 0, make_accelerator(cpu=True)) for _ in range(2))
compiled.compile(backend="eager")  # traced as with "inductor", which then writes C++ for a minute
assert compiled.model.location_network._compiled_call_impl
for _ in range(SMOKE.steps):
    terms, expected = compiled.step(dataset), plain.step(dataset)
    np.testing.assert_allclose(list(terms.values()), list(expected.values()), rtol=1e-5)
"""


def test_compiled_networks_take_the_same_steps():
    # In a process of its own: the checks of shapes that tests run with cannot be compiled.
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]


def test_a_stopped_run_resumes_to_bit_identical_weights(dataset, tmp_path):
    whole = _training()
    _run(whole, dataset, tmp_path / "whole")
    stopped = _training()
    assert not _run(stopped, dataset, tmp_path / "parts", stop=lambda: stopped.progress.step >= 13)
    resumed = _training()
    folder = RunFolder(tmp_path / "parts", resume=True)
    resumed.load(folder.load_checkpoint(torch.device("cpu")))
    assert resumed.progress.step == 13
    assert _run(resumed, dataset, tmp_path / "parts")
    assert _equal(_weights(whole), _weights(resumed))


def test_global_randomness_is_left_alone(dataset):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    _training().step(dataset)
    assert torch.equal(torch.rand(1), expected)


def test_a_non_finite_step_is_skipped_and_counted(dataset):
    training = _training()
    training.step(dataset)
    before = {name: value.clone() for name, value in training.model.named_parameters()}
    training.model.count_logits.register_hook(lambda gradient: gradient * float("nan"))
    training.step(dataset)
    assert training.progress.skipped == 1
    assert all(torch.equal(value, before[name]) for name, value in training.model.named_parameters())


@pytest.mark.parametrize(
    ("poisoned", "message"),
    [(12, "4 steps up to step 16 had a non-finite loss"), (18, "not finite at step 20")],
    ids=["well before the next checkpoint", "just before it"],
)
def test_non_finite_weights_end_the_run_with_the_last_good_checkpoint(poisoned, message, dataset, tmp_path):
    training = _training(dataclasses.replace(SMOKE, steps=30, max_skipped_steps=3))

    def poison(progress, _):
        if progress.step == poisoned:  # after the checkpoint of step 10
            with torch.no_grad():
                training.model.count_logits.fill_(float("nan"))

    with pytest.raises(TrainingDivergedError, match=message):
        _run(training, dataset, tmp_path / "run", on_step=poison)
    resumed = _training()
    resumed.load(RunFolder(tmp_path / "run", resume=True).load_checkpoint(torch.device("cpu")))
    assert resumed.progress.step == 10
    assert torch.isfinite(resumed.model.count_logits).all()


def test_a_poisoned_statistic_ends_the_run_rather_than_be_kept(dataset, tmp_path):
    training = _training()

    def poison(progress, _):
        if progress.step == 19:
            norms = [module for module in training.model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
            torch.nn.init.constant_(norms[0].running_var, float("nan"))  # type: ignore[arg-type]

    with pytest.raises(TrainingDivergedError, match="not finite at step 20; the last good"):
        _run(training, dataset, tmp_path / "run", on_step=poison)
    state = RunFolder(tmp_path / "run", resume=True).load_checkpoint(torch.device("cpu"))
    assert state is not None
    assert state["progress"]["step"] == 10
    LAVAE.from_pretrained(tmp_path / "run")


@pytest.mark.parametrize("state", [{}, {"progress": {"step": 1}, "model": {}}], ids=["foreign", "other model"])
def test_a_checkpoint_of_another_run_is_refused(state):
    with pytest.raises(ValueError, match="does not fit this run's model"):
        _training().load(state)


def test_frames_without_any_object_are_no_reason_to_stop(dataset):
    empty = SceneDataset(sample_scenes(np.random.default_rng(0), dataset.bank, 8, 0), dataset.bank)
    training = _training()
    for _ in range(12):
        training.step(empty)
    assert training.progress.skipped == 0


def test_it_learns_to_count_and_locate_in_200_small_steps():
    recipe = dataclasses.replace(
        FAST, steps=200, batch_size=32, dreams=20, dreams_from_step=60, locations_from_step=140, kl_warmup_fraction=0.5
    )
    training = WakeSleepTraining(LAVAEConfig(), recipe, 0, CPU)
    dataset = load_dataset("multi-dsprites", "train")
    for _ in range(recipe.steps):
        training.step(dataset)
    found = measure_agreement(training.average, load_dataset("multi-dsprites", "validation"), 500)
    assert found.count_accuracy >= 0.95
    assert found.location_error < 0.7
