import math

import numpy as np
import pytest
import torch

from lavae_rl.data.sources import SceneSpec, open_source
from lavae_rl.evaluation.entropy import ImpossibleBoundError, entropy_floor, scene_entropy
from lavae_rl.evaluation.evaluate import METRICS, evaluate
from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE

DIGITS = SceneSpec("multi-mnist-1k")


def _evaluation(model):
    return evaluate(model, DIGITS, 3, num_samples=2, bound_scenes=2)


@pytest.mark.parametrize(
    "values", [{"num_samples": 0, "bound_scenes": 5}, {"num_samples": 5, "bound_scenes": 0}], ids=str
)
def test_an_evaluation_on_nothing_is_refused(untrained, values):
    with pytest.raises(ValueError, match="num_samples and bound_scenes of at least 1"):
        evaluate(untrained, DIGITS, 5, **values)


@pytest.mark.slow
def test_an_evaluation_has_all_metrics_and_repeats_itself(untrained):
    first, again = _evaluation(untrained), _evaluation(untrained)
    assert first.pop("seconds") > 0
    again.pop("seconds")
    assert first == again
    assert tuple(first) == METRICS[:-1]
    assert 0 <= first["miss_rate"] <= 1
    assert first["log_likelihood_bound"] < 0


def test_an_evaluation_without_a_match_has_no_location_error(untrained, monkeypatch):
    monkeypatch.setattr(
        "lavae_rl.evaluation.agreement.match_locations", lambda *_: (np.zeros(0, int), np.zeros(0, int))
    )
    assert _evaluation(untrained)["location_error_px"] is None


def test_a_model_without_objects_is_measured_by_its_bounds(scenes):
    found = evaluate(ConvVAE(BaselineConfig(channels=1, latents=2)), DIGITS, 3, num_samples=2, bound_scenes=2)
    assert tuple(found) == METRICS[-4:]


def test_a_model_that_is_better_than_possible_is_not_measured(monkeypatch):
    monkeypatch.setattr(LAVAE, "log_likelihood", lambda model, frames, *_: torch.full((len(frames),), -5.0))
    with pytest.raises(ImpossibleBoundError, match=r"the bound of -5\.00 nats"):
        evaluate(LAVAE(LAVAEConfig()), SceneSpec(), 10, 2, 200)


def test_the_entropy_bound_follows_the_canvas_and_the_counts():
    spec = SceneSpec(canvas_size=24, patch_size=10, max_objects=2)
    small = open_source(spec, "test")
    found = evaluate(LAVAE(LAVAEConfig(sprite_size=13, max_objects=2)), spec, 10, 2, 10)
    entropies = [scene_entropy(small.bank, count, (24, 24)) for count in range(3)]
    expected = math.log(3) + np.mean([entropies[count] for count in small.scenes.count[:10]])
    assert found["entropy_floor"] == pytest.approx(expected)
    assert entropy_floor(small.bank, (0, 2), (24, 24)) < entropy_floor(small.bank, (0, 2), (48, 48)) - 1
