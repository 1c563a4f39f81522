import dataclasses
import json
import math

import cv2
import pytest
import torch

from lavae_rl.data.sources import SceneSpec, load_bank, open_source
from lavae_rl.evaluation.entropy import scene_entropy
from lavae_rl.evaluation.evaluate import METRICS
from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretrain import evaluate_lavae as program


def _run(model, *argv):
    program.main([str(model), "--num-samples", "3", "--num-scenes", "20", *argv])


def test_metrics_of_the_bundled_model_land_in_a_json_file(tmp_path):
    _run("multi-dsprites", "--json", str(tmp_path / "metrics.json"))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert list(metrics) == list(METRICS)
    assert metrics["count_accuracy_0_3"] == metrics["count_accuracy_7"] == 1
    assert metrics["location_error_px"] < 0.7
    assert metrics["elbo"] < metrics["log_likelihood_bound"] < -20


def test_a_model_that_finds_nothing_has_no_location_error(tmp_path, capsys):
    torch.manual_seed(0)
    LAVAE(LAVAEConfig()).save_pretrained(tmp_path / "model", {"recipe": None})
    with pytest.raises(SystemExit):
        _run(tmp_path / "model")
    assert "expected --dataset" in capsys.readouterr().out
    _run(tmp_path / "model", "--dataset", "multi-dsprites", "--json", str(tmp_path / "metrics.json"))
    text = (tmp_path / "metrics.json").read_text()
    assert "NaN" not in text  # which is not JSON
    assert json.loads(text)["location_error_px"] is None
    assert json.loads(text)["miss_rate"] == 1


@pytest.mark.slow
def test_a_baseline_is_measured_by_its_bounds(tmp_path):
    torch.manual_seed(0)
    ConvVAE(BaselineConfig()).save_pretrained(tmp_path / "baseline", {"data": {"dataset": "multi-dsprites"}})
    _run(tmp_path / "baseline", "--json", str(tmp_path / "metrics.json"), "--picture", str(tmp_path / "look.png"))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert list(metrics) == list(METRICS[-4:])
    assert metrics["elbo"] < metrics["log_likelihood_bound"] < -metrics["entropy_floor"]
    picture = cv2.imread(str(tmp_path / "look.png"))
    assert picture is not None
    assert picture.shape == (2 * (64 * 3 + 4), 6 * (64 * 3 + 4), 3)


@pytest.mark.parametrize(
    ("model", "argv", "message"),
    [
        ("multi-cats", [], "one of the bundled models"),
        ("multi-dsprites", ["--dataset", "multi-mnist-1k"], "expected frames of shape (batch, height, width, 3)"),
        ("multi-dsprites", ["--num-scenes", "0"], "expected --num-scenes of at least 1, got 0"),
        ("multi-dsprites", ["--json", "/nowhere/metrics.json"], "the folder of /nowhere/metrics.json does not exist"),
    ],
    ids=["unknown model", "other channels", "no scenes", "no folder"],
)
def test_arguments_that_cannot_work_are_refused(model, argv, message, capsys):
    with pytest.raises(SystemExit) as stop:
        _run(model, *argv)
    assert stop.value.code == 1
    assert message in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_a_model_of_smaller_scenes_is_measured_on_them(tmp_path):
    torch.manual_seed(0)
    data = SceneSpec("multi-dsprites", canvas_size=24, patch_size=10, max_objects=2)
    config = LAVAEConfig(sprite_size=13, max_objects=2)
    LAVAE(config).save_pretrained(tmp_path / "model", {"data": dataclasses.asdict(data)})
    _run(tmp_path / "model", "--json", str(tmp_path / "metrics.json"), "--picture", str(tmp_path / "look.png"))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    scenes = open_source(data, "test").scenes
    entropies = [scene_entropy(load_bank("multi-dsprites", patch_size=10), count, (24, 24)) for count in range(3)]
    expected = math.log(3) + sum(entropies[count] for count in scenes.count[:20]) / 20
    assert metrics["entropy_floor"] == pytest.approx(expected)
