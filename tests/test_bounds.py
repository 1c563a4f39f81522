import pytest
import torch

from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.data.sources import Prepared
from lavae_rl.evaluation import bounds
from lavae_rl.evaluation.bounds import measure_bounds
from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE

SMALL = Preprocessing(threshold=100, resize=(32, 32))


@pytest.fixture
def models():
    torch.manual_seed(0)
    return LAVAE(LAVAEConfig(latents=2)), ConvVAE(BaselineConfig(latents=2))


@pytest.mark.parametrize(("num_frames", "num_samples"), [(5, 0), (0, 5)])
def test_bounds_on_nothing_are_refused(models, scenes, num_frames, num_samples):
    with pytest.raises(ValueError, match="num_samples and bound_scenes of at least 1"):
        measure_bounds(models[0], scenes, num_frames, num_samples)


def test_frames_without_truth_have_bounds_for_models_of_either_type(models, scenes):
    for model in models:
        elbo, bound = measure_bounds(model, Prepared(scenes, SMALL), 6, 20)
        assert elbo.shape == bound.shape == (6,)
        assert bound.mean() >= elbo.mean() - 1e-3  # an untrained LAVAE finds nothing, and has nothing to sample


def test_as_many_frames_are_measured_as_there_are_and_repeatedly_alike(models, scenes):
    source = Prepared(scenes, SMALL)
    first, again = (measure_bounds(models[1], source, 1_000, 1) for _ in range(2))
    assert len(first[0]) == len(scenes)
    assert all(map(torch.equal, first, again))


def test_every_frame_is_measured_once_in_batches(models, scenes, monkeypatch):
    monkeypatch.setattr(bounds, "_BATCH", 3)
    read = []

    class Counting(ConvVAE):
        def elbo(self, frames, generator=None):
            read.append(frames)
            return torch.zeros(len(frames))

        def log_likelihood(self, frames, num_samples=100, generator=None):
            return torch.ones(len(frames))

    elbo, bound = measure_bounds(Counting(BaselineConfig()), scenes, 8, 1)
    assert [len(frames) for frames in read] == [3, 3, 2]
    assert (elbo.tolist(), bound.tolist()) == ([0] * 8, [1] * 8)
    assert all((frames == scenes[3 * i : 3 * i + len(frames)]).all() for i, frames in enumerate(read))
