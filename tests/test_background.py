import math
from typing import Any

import numpy as np
import pytest
import torch

from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.image.background import Pictures, black
from lavae_rl.model.lavae import LAVAE

BLACK, RED, WHITE = (0, 0, 0), (255, 0, 0), (255, 255, 255)
FREQUENCY = (0.5, 0.3, 0.2)


@pytest.fixture
def pictures():
    """2 x 3 pixels, white but for (0, 1), of three states, (1, 2), of two, and (1, 0), of two but ignored."""
    made = Pictures(3, 3, (2, 3))
    made.states.fill_(255)
    for (row, column), colours, frequencies in (
        ((0, 1), (BLACK, RED, WHITE), FREQUENCY),
        ((1, 2), (RED, BLACK, RED), (0.9, 0.1, 0.0)),
        ((1, 0), (RED, BLACK, RED), (0.6, 0.4, 0.0)),
    ):
        made.states[:, :, row, column] = torch.tensor(colours, dtype=torch.uint8)
        made.frequency[:, row, column] = torch.tensor(frequencies)
    made.ignored[1, 0] = True
    return made


def _images(*pixels):
    """White images of 2 x 3 pixels, in each of which some pixels have other colours in [0, 1]."""
    images = torch.ones(len(pixels), 3, 2, 3)
    for image, colours in zip(images, pixels, strict=True):
        for (row, column), colour in colours.items():
            image[:, row, column] = torch.tensor(colour)
    return images


def test_a_black_background_is_black_on_canvases_of_every_size():
    for shape in ((2, 1, 5, 7), (0, 3, 9, 4)):
        assert torch.equal(black(torch.ones(shape)), torch.zeros(shape))


def test_a_new_background_is_black_and_static():
    new = Pictures(2, 1, (4, 5))
    images = torch.rand(3, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(new(images), torch.zeros(3, 1, 4, 5))
    assert torch.equal(new.kl(images), torch.zeros(3))
    assert torch.equal(new.sample(2, torch.Generator().manual_seed(0)), torch.zeros(2, 1, 4, 5))


def test_every_pixel_shows_its_state_nearest_to_the_image(pictures):
    near = _images({(0, 1): (0.1, 0.2, 0.0), (1, 2): (0.9, 0.0, 0.0)}, {(0, 1): (0.8, 0.1, 0.3), (1, 2): (0.2, 0, 0)})
    shown = pictures(near)
    assert [shown[i, :, 0, 1].tolist() for i in range(2)] == [[0, 0, 0], [1, 0, 0]]
    assert [shown[i, :, 1, 2].tolist() for i in range(2)] == [[1, 0, 0], [0, 0, 0]]
    static = torch.ones(2, 3, dtype=torch.bool)
    static[0, 1] = static[1, 0] = static[1, 2] = False
    assert (shown[..., static] == 1).all()


def test_an_image_far_from_all_states_still_shows_one_of_them(pictures):
    shown = pictures(_images({(0, 1): (0.0, 1.0, 0.9), (0, 0): (0.0, 0.0, 0.0)}))
    assert shown[0, :, 0, 1].tolist() == [1, 1, 1]
    assert shown[0, :, 0, 0].tolist() == [1, 1, 1]


def test_ignored_pixels_always_show_their_first_state(pictures):
    images = _images({(1, 0): (0.0, 0.0, 0.0)})
    assert pictures(images)[0, :, 1, 0].tolist() == [1, 0, 0]
    covered = pictures.cover(images)
    assert covered[0, :, 1, 0].tolist() == [1, 0, 0]
    kept = ~pictures.ignored
    assert torch.equal(covered[..., kept], images[..., kept])
    assert pictures.kl(images).item() == pictures.kl(covered).item()
    drawn = pictures.sample(200, torch.Generator().manual_seed(0))
    assert drawn[:, :, 1, 0].unique(dim=0).tolist() == [[1, 0, 0]]


def test_the_kl_is_the_cost_of_the_states_that_are_shown(pictures):
    images = _images({}, {(0, 1): (0, 0, 0)}, {(0, 1): (1, 0, 0), (1, 2): (0, 0, 0)})
    probability = [0.2 * 0.9, 0.5 * 0.9, 0.3 * 0.1]
    assert pictures.kl(images).tolist() == pytest.approx([-math.log(each) for each in probability], rel=1e-5)


def test_samples_have_the_frequencies_of_the_states_independently_of_each_other(pictures):
    number = 20_000
    drawn = pictures.sample(number, torch.Generator().manual_seed(0))
    assert drawn.shape == (number, 3, 2, 3)
    assert (drawn[:, :, 0, 0] == 1).all()
    state = torch.stack([(drawn[:, :, 0, 1] == torch.tensor(each).view(3) / 255).all(1) for each in (BLACK, RED)])
    rare = (drawn[:, :, 1, 2] == 0).all(1)
    for chosen, share in ((state[0], 0.5), (state[1], 0.3), (rare, 0.1), (state[0] & rare, 0.05)):
        error = math.sqrt(share * (1 - share) / number)
        assert chosen.float().mean().item() == pytest.approx(share, abs=4 * error)


def test_the_most_frequent_states_are_the_first(pictures):
    most = pictures.most_usual(2, (2, 3))
    assert most.shape == (2, 3, 2, 3)
    assert most[1, :, 0, 1].tolist() == [0, 0, 0]
    assert most[1, :, 1, 2].tolist() == [1, 0, 0]


def test_no_images_have_no_backgrounds(pictures):
    none = torch.zeros(0, 3, 2, 3)
    assert pictures(none).shape == pictures.cover(none).shape == none.shape
    assert pictures.kl(none).shape == (0,)


@pytest.mark.parametrize("use", ["__call__", "cover"])
def test_images_of_another_size_are_refused_with_the_remedy(pictures, use):
    with pytest.raises(ValueError, match=r"picture of 2 x 3 pixels, got frames of 3 x 2: use the frames"):
        getattr(pictures, use)(torch.zeros(1, 3, 3, 2))
    with pytest.raises(ValueError, match="got frames of 3 x 2"):
        pictures.most_usual(1, (3, 2))


def test_a_background_is_part_of_a_stored_model(tmp_path):
    config = LAVAEConfig(3, 5, 2, background_states=2, canvas_size=(8, 9), likelihood="normal")
    model: Any = LAVAE(config)
    generator = torch.Generator().manual_seed(0)
    model.background.states.random_(0, 256, generator=generator)
    model.background.frequency.fill_(0.5)
    model.background.ignored[3, 4] = True
    model.save_pretrained(tmp_path)
    loaded = LAVAE.from_pretrained(tmp_path)
    assert loaded.config == config
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 9, 3)).astype(np.uint8)
    assert torch.equal(loaded.images(frames), model.images(frames))
    assert torch.equal(loaded.scene(model.images(frames)).background, model.scene(model.images(frames)).background)
