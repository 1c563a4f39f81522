import json

import cv2
import numpy as np
import pytest
import torch

from lavae_rl.evaluation import gallery
from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretrain import make_figures as program

TILE = 64 * 3 + 4
"""Side of an enlarged frame with its edge."""


@pytest.mark.slow
def test_all_pictures_are_drawn(tmp_path, capsys):
    torch.manual_seed(0)
    ConvVAE(BaselineConfig(latents=2)).save_pretrained(tmp_path / "baseline")
    argv = ["multi-dsprites", "--num-scenes", "20"]
    program.main([*argv, "--baseline", str(tmp_path / "baseline"), "--out", str(tmp_path / "figures")])
    shapes = {}
    for path in (tmp_path / "figures").glob("*.png"):
        read = cv2.imread(str(path))
        assert read is not None
        shapes[path.stem] = (read.shape[0] / TILE, read.shape[1] / TILE)
    assert shapes == {
        "inference": (6, 5),
        "inference-7": (4, 9),
        "samples": (4, 8),
        "samples-baseline": (4, 8),
        "samples-counted": (3, 9),
        "interventions": (4, 8),
        "interventions-7": (4, 8),
    }
    errors = json.loads((tmp_path / "figures" / program.MOVES_FILE).read_text())
    assert errors["moved_px"] < 1
    assert "count_kept" in capsys.readouterr().out


def test_samples_repeat_with_their_seed_and_columns_have_their_count():
    model = LAVAE.from_pretrained("multi-dsprites")
    np.testing.assert_array_equal(gallery.samples(model, 2, 2, 5), gallery.samples(model, 2, 2, 5))
    assert not np.array_equal(gallery.samples(model, 2, 2, 5), gallery.samples(model, 2, 2, 6))
    counted = gallery.counted_samples(model, 7, 3)
    lit = [(column > 110).sum() for column in np.split(counted, 8, axis=1)]
    assert lit[0] == 0
    assert lit[7] > lit[1]


def test_samples_have_the_given_canvas():
    for model in (LAVAE.from_pretrained("multi-dsprites"), ConvVAE(BaselineConfig(latents=2))):
        assert gallery.samples(model, 2, 3, canvas_size=(24, 40)).shape == (2 * (24 * 3 + 4), 3 * (40 * 3 + 4), 3)


def test_an_intervention_needs_two_objects():
    model = LAVAE.from_pretrained("multi-dsprites")
    with pytest.raises(ValueError, match="at least two objects are found, got 0"):
        gallery.interventions(model, np.zeros((1, 64, 64, 3), np.uint8))


def test_a_poor_model_has_the_figures_that_can_be_drawn(tmp_path, capsys):
    torch.manual_seed(0)
    LAVAE(LAVAEConfig()).save_pretrained(tmp_path / "model")
    with pytest.raises(SystemExit) as stop:
        program.main([str(tmp_path / "model"), "--dataset", "multi-dsprites", "--out", str(tmp_path / "figures")])
    assert stop.value.code == 1
    assert "at least two objects are found, got 0" in capsys.readouterr().out
    drawn = sorted(path.stem for path in (tmp_path / "figures").glob("*.png"))
    assert drawn == ["inference", "inference-7", "samples", "samples-counted"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["multi-dsprites", "--num-scenes", "0"], "--num-scenes of at least 1"),
        (["nowhere"], "bundled models"),
        (["multi-mnist-10k"], "height, width, 1"),
    ],
    ids=["scenes", "model", "data of another kind"],
)
def test_arguments_that_cannot_work_are_refused(argv, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        program.main([*argv, "--dataset", "multi-dsprites", "--out", str(tmp_path / "x")])
    assert stop.value.code == 1
    assert message in " ".join(capsys.readouterr().out.split())
