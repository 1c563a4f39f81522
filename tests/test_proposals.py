import torch

from lavae_rl.pretraining.proposals import propose_by_surprise


def _square(image, row, column, half):
    image[:, row - half : row + half + 1, column - half : column + half + 1] = 1


def test_proposals_are_the_centres_of_sprites_the_most_surprising_first():
    images = torch.zeros(2, 1, 64, 64)
    _square(images[0], 20, 15, 8)
    _square(images[0], 45, 50, 4)
    found = propose_by_surprise(images, 3, 21)
    assert found.count.tolist() == [2, 0]
    assert found.image_index.tolist() == [0, 0]
    assert found.location.tolist() == [[20, 15], [45, 50]]


def test_the_rim_of_a_large_sprite_is_no_second_object():
    images = torch.zeros(1, 3, 64, 64)
    _square(images[0], 31, 31, 8)
    assert propose_by_surprise(images, 3, 21).count.tolist() == [1]


def test_no_more_objects_than_asked_for():
    images = torch.zeros(1, 1, 80, 80)
    for row in (12, 40, 68):
        for column in (12, 40, 68):
            _square(images[0], row, column, 5)
    assert propose_by_surprise(images, 3, 21).count.tolist() == [3]


def test_a_speck_does_not_pay():
    images = torch.zeros(1, 1, 64, 64)
    images[0, 0, 30, 30] = 1
    assert propose_by_surprise(images, 3, 21).count.tolist() == [0]
