import numpy as np
import pytest
import torch

from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.surprise import PIXEL_NATS
from lavae_rl.pretraining.components import (
    LARGEST_SHARE,
    MIN_NATS,
    Components,
    as_proposals,
    find_components,
    propose_components,
)

HEIGHT, WIDTH = 40, 60


def _nats(*boxes, each=5.0, height=HEIGHT, width=WIDTH):
    """A map with so many nats at each pixel of some boxes (row, column, height, width)."""
    nats = np.zeros((height, width), np.float32)
    for row, column, rows, columns in boxes:
        nats[row : row + rows, column : column + columns] = each
    return nats


@pytest.fixture
def model():
    """A model of sprites of 9 pixels and scales 1, 2 and 4."""
    config = LAVAEConfig(
        1, 9, 2, max_objects=3, networks="world", composition="over", likelihood="normal", scales=(1, 2, 4)
    )
    return LAVAE(config)


def test_components_are_boxes_with_the_nats_inside():
    found = find_components(_nats((3, 5, 4, 6), (20, 30, 9, 7)))
    assert found.box.tolist() == [[3, 5, 4, 6], [20, 30, 9, 7]]
    assert found.nats.tolist() == [120, 315]


def test_a_component_that_does_not_pay_for_an_object_is_no_component():
    each = MIN_NATS / 12
    assert find_components(_nats((3, 5, 3, 4), each=each + 0.01)).box.tolist() == [[3, 5, 3, 4]]
    assert find_components(_nats((3, 5, 3, 4), each=each - 0.01)).box.shape == (0, 4)


def test_pixels_that_hardly_surprise_belong_to_no_component():
    assert len(find_components(_nats((3, 5, 9, 9), each=PIXEL_NATS)).box) == 0
    assert len(find_components(_nats((3, 5, 9, 9), each=PIXEL_NATS + 0.01)).box) == 1


def test_a_component_of_too_large_a_share_of_the_frame_is_refused():
    rows, columns = 20, int(HEIGHT * WIDTH * LARGEST_SHARE / 20)
    assert len(find_components(_nats((0, 0, rows, columns))).box) == 1
    assert len(find_components(_nats((0, 0, rows, columns + 1))).box) == 0
    # It is the box that is measured: a thin frame around all is a moved background, too.
    ring = _nats((0, 0, HEIGHT, WIDTH)) - _nats((1, 1, HEIGHT - 2, WIDTH - 2))
    assert len(find_components(ring).box) == 0


def test_gaps_of_up_to_two_pixels_are_closed_and_wider_ones_are_not():
    for gap, number in ((1, 1), (2, 1), (3, 2)):
        assert len(find_components(_nats((10, 10, 6, 6), (10, 16 + gap, 6, 6))).box) == number, gap


def test_corners_join_components():
    assert find_components(_nats((5, 5, 4, 4), (9, 9, 4, 4))).box.tolist() == [[5, 5, 8, 8]]


def test_a_quiet_map_has_no_components():
    found = find_components(_nats())
    assert found.box.shape == (0, 4)
    assert found.nats.shape == (0,)


def test_proposals_are_centres_of_boxes_those_of_most_nats_first(model):
    maps = [_nats((3, 5, 4, 5), (20, 30, 7, 9)), _nats(), _nats((30, 50, 6, 6))]
    found, owner = propose_components(model, torch.from_numpy(np.stack(maps)))
    assert [owner[0, 22, 35].item(), owner[0, 4, 6].item(), owner[2, 32, 52].item()] == [1, 2, 3]
    assert owner.count_nonzero(dim=(1, 2)).tolist() == [20 + 63, 0, 36]
    assert found.count.tolist() == [2, 0, 1]
    assert found.image_index.tolist() == [0, 0, 2]
    assert found.location.tolist() == [[23, 34], [5, 7], [33, 53]]


def test_no_more_than_n_max_objects_are_proposed_and_the_weakest_are_left_out(model):
    maps = _nats((2, 2, 4, 4), (2, 20, 6, 6), (2, 40, 5, 5), (20, 2, 7, 7))
    found, owner = propose_components(model, torch.from_numpy(maps)[None])
    assert not owner[0, :6, :6].any()
    assert found.count.tolist() == [3]
    assert found.location.tolist() == [[23, 5], [5, 23], [4, 42]]


@pytest.mark.parametrize(
    ("box", "scale"),
    [
        ((3, 5, 9, 4), 1),
        ((3, 5, 4, 9), 1),
        ((3, 5, 10, 4), 2),
        ((3, 5, 4, 18), 2),
        ((3, 5, 19, 4), 4),
        ((3, 5, 36, 5), 4),
        ((3, 5, 37, 5), 4),
    ],
)
def test_a_proposal_has_the_smallest_scale_whose_window_holds_its_box(model, box, scale):
    found = propose_components(model, torch.from_numpy(_nats(box))[None]).found
    assert found.scale.tolist() == [scale]


def test_frames_without_components_have_no_proposals(model):
    found, owner = propose_components(model, torch.zeros(2, HEIGHT, WIDTH))
    assert not owner.any()
    assert found.count.tolist() == [0, 0]
    assert found.location.shape == (0, 2)
    assert found.scale.shape == (0,)


def test_equal_components_keep_their_order(model):
    box = np.array([[0, 0, 5, 5], [9, 9, 5, 5], [20, 20, 5, 5], [30, 30, 5, 5]])
    found, _ = as_proposals(model, [Components(box, np.ones(4, np.float32), np.zeros((HEIGHT, WIDTH), int))])
    assert found.location.tolist() == [[2, 2], [11, 11], [22, 22]]
