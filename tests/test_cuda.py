"""What runs on a CPU runs on a GPU, to the same results. Skipped where there is none."""

import json
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch

from lavae_rl.agents import evaluate_agent, train_agent
from lavae_rl.data.environments import make_env
from lavae_rl.data.sources import load_dataset, open_source
from lavae_rl.model.checkpoint import load_model
from lavae_rl.model.lavae import LAVAE
from lavae_rl.perception.wrappers import VectorLAVAEObservation
from lavae_rl.pretrain import evaluate_lavae
from lavae_rl.pretrain import train_lavae as program
from lavae_rl.pretraining.run import new_run
from lavae_rl.pretraining.state import Training

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

TRAININGS = [("lavae", "smoke"), ("lavae", "paper-smoke"), ("baseline", "smoke")]


def _training(run):
    accelerator = program.choose_accelerator("cuda", run.mixed_precision)
    return Training(run.make_method(accelerator), run.recipe, run.seed, accelerator)


def _train(training, source, steps):
    for _ in range(steps):
        terms = training.step(source)
        assert np.isfinite([terms["loss"], terms["gradient_norm"]]).all()
    return training


@pytest.mark.parametrize(("model", "recipe"), TRAININGS)
def test_a_pretraining_runs_to_its_end(model, recipe, tmp_path):
    out = tmp_path / "run"
    program.main(["--model", model, "--recipe", recipe, "--device", "cuda", "--out", str(out)])
    config = json.loads((out / "config.json").read_text())
    metrics = config["metrics"]
    assert config["device"] == torch.cuda.get_device_name()
    assert metrics["log_likelihood_bound"] < -metrics["entropy_floor"]
    assert load_model(out, "cuda").device.type == "cuda"


@pytest.fixture
def play():
    """400 frames of random play of Pong."""
    with make_env("ALE/Pong-v5") as env:
        env.action_space.seed(0)
        frames = [env.reset(seed=0)[0], *(env.step(env.action_space.sample())[0] for _ in range(399))]
    return np.stack(frames)


def test_a_pretraining_on_frames_runs_to_its_end(play, tmp_path):
    np.save(tmp_path / "frames.npy", play)
    argv = ["--frames", str(tmp_path / "frames.npy"), "--recipe", "world-smoke", "--device", "cuda"]
    program.main([*argv, "--out", str(tmp_path / "run")])
    assert np.isfinite(json.loads((tmp_path / "run" / "config.json").read_text())["metrics"]["elbo"])


def test_objects_of_a_game_are_those_that_a_cpu_finds(play):
    expected, got = (LAVAE.from_pretrained("Pong", device).encode(play[60:]) for device in ("cpu", "cuda"))
    assert (got.count == expected.count).mean() >= 0.99
    ours, theirs = _by_location(expected), _by_location(got)
    assert len(ours.keys() & theirs.keys()) >= 0.98 * len(ours)


@pytest.mark.parametrize(("model", "recipe"), TRAININGS)
def test_a_loaded_state_leads_to_the_same_bits(model, recipe):
    run = new_run(model, recipe, "multi-dsprites", seed=0)
    source = open_source(run.data, "validation")
    whole, begun, loaded = (_training(run) for _ in range(3))
    _train(whole, source, 18)  # past the first dreams and into the joint phase of "smoke"
    loaded.load(_train(begun, source, 12).state())
    _train(loaded, source, 6)
    ours, theirs = whole.method.model.state_dict(), loaded.method.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("options", [["--mixed-precision", "bf16"], ["--compile"]], ids=["bf16", "compiled"])
@pytest.mark.parametrize(("model", "recipe"), TRAININGS)
def test_mixed_precision_and_compiled_networks_train(model, recipe, options, tmp_path):
    # In a process of its own, for a process has one precision.
    argv = ["--model", model, "--recipe", recipe, "--steps", "10", "--device", "cuda", *options]
    command = [sys.executable, program.__file__, *argv, "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]


def _by_location(objects):
    """Appearances by image and location: confidences differ in the fourth digit, and so does the order."""
    mask = objects.mask
    where = np.column_stack([mask.nonzero()[0], objects.location[mask]])
    return dict(zip(map(tuple, where.tolist()), objects.appearance[mask], strict=True))


@pytest.mark.parametrize("split", ["test", "test-7"])
@pytest.mark.parametrize("name", ["multi-dsprites", "multi-mnist-1k", "multi-mnist-10k"])
def test_encode_finds_what_it_finds_on_a_cpu(name, split):
    frames = load_dataset(name, split)[:256]
    expected, got = (LAVAE.from_pretrained(name, device).encode(frames) for device in ("cpu", "cuda"))
    assert np.array_equal(got.count, expected.count)
    ours, theirs = _by_location(expected), _by_location(got)
    both = ours.keys() & theirs.keys()
    assert len(both) >= 0.995 * len(ours)  # a centre between two pixels can be in either
    for place in both:
        np.testing.assert_allclose(theirs[place], ours[place], atol=0.05)


def test_the_bound_is_that_of_a_cpu():
    frames = load_dataset("multi-dsprites", "test")[:64]
    models = [LAVAE.from_pretrained("multi-dsprites", device) for device in ("cpu", "cuda")]
    cpu, cuda = (model.log_likelihood(frames, 20).mean().item() for model in models)
    assert cuda == pytest.approx(cpu, abs=1.5)


def test_samples_are_scenes():
    model = LAVAE.from_pretrained("multi-dsprites", "cuda")
    samples = model.sample(64, num_objects=3, generator=torch.Generator("cuda").manual_seed(0))
    assert (model.encode(samples).count >= 2).float().mean() > 0.9  # some overlap


def test_wrapped_environments_perceive_on_the_gpu():
    observations = []
    for device in ("cpu", "cuda"):
        envs = gym.make_vec("LAVAE/OddOneOut-v0", num_envs=8)
        observations.append(VectorLAVAEObservation(envs, device=device).reset(seed=0)[0])
    cpu, cuda = observations
    assert np.array_equal(cpu["mask"], cuda["mask"])
    np.testing.assert_allclose(cuda["tokens"], cpu["tokens"], atol=0.05)


def test_a_bundled_model_is_measured(tmp_path):
    argv = ["multi-dsprites", "--device", "cuda", "--num-scenes", "500", "--bound-scenes", "100"]
    evaluate_lavae.main([*argv, "--json", str(tmp_path / "metrics.json")])
    assert json.loads((tmp_path / "metrics.json").read_text())["count_accuracy_7"] == 1


@pytest.mark.parametrize("observation", ["lavae", "pixels"])
def test_an_agent_trains_and_acts(observation, tmp_path):
    out = tmp_path / "agent"
    size = ["--steps", "8192", "--num-envs", "64", "--eval-episodes", "50"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are trying to run PPO on the GPU")  # Stable-Baselines3 prefers CPUs
        train_agent.main(["--observation", observation, "--device", "cuda", *size, "--out", str(out)])
    for device in ("cuda", "cpu"):  # an agent of a GPU acts on a CPU, too
        evaluate_agent.main([str(out), "--device", device, "--episodes", "50"])
