import csv
import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.data.sources import Prepared
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretraining.loop import TrainingDivergedError, train
from lavae_rl.pretraining.recipes import SMOKE
from lavae_rl.pretraining.state import Training, make_accelerator
from lavae_rl.pretraining.wake_sleep import WakeSleep
from lavae_rl.runs.folder import RunFolder

LABELLED = set(WakeSleep.validation) - {"elbo", "kl_location"}


def _training(recipe=SMOKE):
    accelerator = make_accelerator(cpu=True)
    method: Any = WakeSleep(LAVAEConfig(latents=4), recipe, 0, accelerator)
    return Training(method, recipe, 0, accelerator)


def ignore(*_):
    pass


def _run(training, source, path, on_step=ignore, on_evaluation=ignore, **stop):
    with RunFolder(path, resume=path.exists()) as folder:
        return train(training, source, source, folder, {}, on_step, on_evaluation, **stop)


@pytest.mark.slow
def test_a_run_reports_every_term_and_leaves_a_model_that_loads(scenes, tmp_path):
    steps, evaluations = [], []
    assert _run(
        _training(),
        scenes,
        tmp_path / "run",
        on_step=lambda _, terms: steps.append(terms),
        on_evaluation=lambda _, measured: evaluations.append(measured),
    )
    assert len(steps) == SMOKE.steps
    assert len(evaluations) == 2
    assert set(steps[-1]) == set(WakeSleep.terms)
    assert set(evaluations[-1]) == set(WakeSleep.validation)
    assert all(any(np.isfinite(terms[name]) for terms in steps) for name in WakeSleep.terms)
    joint = [np.isfinite(terms["joint_elbo"]) for terms in steps]
    assert joint == [step >= SMOKE.joint_from_step for step in range(SMOKE.steps)]
    LAVAE.from_pretrained(tmp_path / "run")
    assert len(list((tmp_path / "run" / "figures").glob("*.png"))) == 2


@pytest.mark.slow
def test_a_stopped_run_resumes_to_bit_identical_weights(scenes, tmp_path, same_weights):
    whole = _training()
    _run(whole, scenes, tmp_path / "whole")
    stopped = _training()
    assert not _run(stopped, scenes, tmp_path / "parts", stop=lambda: stopped.progress.step >= 13)
    resumed = _training()
    folder = RunFolder(tmp_path / "parts", resume=True)
    resumed.load(folder.load_checkpoint(torch.device("cpu")))
    assert resumed.progress.step == 13
    assert _run(resumed, scenes, tmp_path / "parts")
    assert same_weights(whole, resumed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("poisoned", "message"),
    [(12, "4 steps up to step 16 had a non-finite loss"), (18, "not finite at step 20")],
    ids=["well before the next checkpoint", "just before it"],
)
def test_non_finite_weights_end_the_run_with_the_last_good_checkpoint(poisoned, message, scenes, tmp_path):
    training = _training(dataclasses.replace(SMOKE, steps=30, max_skipped_steps=3))

    def poison(progress, _):
        if progress.step == poisoned:  # after the checkpoint of step 10
            with torch.no_grad():
                training.method.model.count_logits.fill_(float("nan"))

    with pytest.raises(TrainingDivergedError, match=message):
        _run(training, scenes, tmp_path / "run", on_step=poison)
    resumed = _training()
    resumed.load(RunFolder(tmp_path / "run", resume=True).load_checkpoint(torch.device("cpu")))
    assert resumed.progress.step == 10
    assert torch.isfinite(resumed.method.model.count_logits).all()


@pytest.mark.slow
def test_a_poisoned_statistic_ends_the_run_rather_than_be_kept(scenes, tmp_path):
    training = _training()

    def poison(progress, _):
        if progress.step == 19:
            norms = [module for module in training.method.model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
            torch.nn.init.constant_(norms[0].running_var, float("nan"))  # type: ignore[arg-type]

    with pytest.raises(TrainingDivergedError, match="not finite at step 20; the last good"):
        _run(training, scenes, tmp_path / "run", on_step=poison)
    state = RunFolder(tmp_path / "run", resume=True).load_checkpoint(torch.device("cpu"))
    assert state is not None
    assert state["progress"]["step"] == 10
    LAVAE.from_pretrained(tmp_path / "run")


def _rows(path):
    with (path / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_rows_have_the_same_columns_where_the_truth_is_not_known(scenes, tmp_path):
    recipe = dataclasses.replace(SMOKE, steps=30)  # measured at 10, 20 and 30, logged at 25 too
    evaluations = []
    frames = Prepared(scenes, Preprocessing(threshold=127))
    assert _run(
        _training(recipe), frames, tmp_path / "run", on_evaluation=lambda _, measured: evaluations.append(measured)
    )
    assert [set(measured) for measured in evaluations] == [{"elbo", "kl_location"}] * 3
    rows = _rows(tmp_path / "run")
    assert [row["step"] for row in rows] == ["10", "20", "25", "30"]
    assert all(math.isnan(float(row[f"validation_{name}"])) for row in rows for name in LABELLED)
    assert [math.isnan(float(row["validation_elbo"])) for row in rows] == [False, False, True, False]
