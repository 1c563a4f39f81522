import math

import pytest
import torch

from lavae_rl.model.explained import explained_share, frame_surprise
from lavae_rl.model.surprise import surprise


@pytest.mark.parametrize(
    ("before", "after", "share"), [(10.0, 0.0, 1), (10.0, 4.0, 0.6), (10.0, 10.0, 0), (10.0, 15.0, -0.5)]
)
def test_the_explained_share_is_what_objects_take_of_the_surprise(before, after, share):
    assert explained_share(before, after) == pytest.approx(share)


def test_of_no_surprise_no_share_is_explained():
    assert math.isnan(explained_share(0.0, 0.0))


def test_the_surprise_of_frames_is_that_of_background_and_reconstruction(dotted, dots):
    frames = dots(40, 50, (10, 12), (20, 30))
    found = frame_surprise(dotted, frames)
    images = dotted.images(frames)
    assert found.background.tolist() == pytest.approx([2 * 13.8155], rel=1e-3)  # black but for two pixels
    mean = torch.from_numpy(dotted.decode(dotted.encode(frames))).permute(0, 3, 1, 2)
    expected = surprise(dotted.likelihood, images, mean).sum()
    assert found.reconstruction.tolist() == pytest.approx([expected.item()], rel=1e-4)
