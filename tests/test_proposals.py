import pytest
import torch

from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretraining.proposals import propose_by_surprise


@pytest.fixture(params=[1, 3], ids=["grey", "RGB"])
def model(request):
    return LAVAE(LAVAEConfig(channels=request.param, sprite_size=21, max_objects=3))


def _square(image, row, column, half):
    image[:, row - half : row + half + 1, column - half : column + half + 1] = 1


def test_proposals_are_the_centres_of_sprites_the_most_surprising_first(model):
    images = torch.zeros(2, model.config.channels, 64, 64)
    _square(images[0], 20, 15, 8)
    _square(images[0], 45, 50, 4)
    found = propose_by_surprise(model, images)
    assert found.count.tolist() == [2, 0]
    assert found.image_index.tolist() == [0, 0]
    assert found.location.tolist() == [[20, 15], [45, 50]]


def test_the_rim_of_a_large_sprite_is_no_second_object(model):
    images = torch.zeros(1, model.config.channels, 64, 64)
    _square(images[0], 31, 31, 8)
    assert propose_by_surprise(model, images).count.tolist() == [1]


def test_no_more_than_n_max_objects_are_proposed(model):
    images = torch.zeros(1, model.config.channels, 80, 80)
    for row in (12, 40, 68):
        for column in (12, 40, 68):
            _square(images[0], row, column, 5)
    assert propose_by_surprise(model, images).count.tolist() == [3]


def test_one_lit_pixel_is_not_proposed(model):
    images = torch.zeros(1, model.config.channels, 64, 64)
    images[0, 0, 30, 30] = 1
    assert propose_by_surprise(model, images).count.tolist() == [0]
