import dataclasses
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from lavae_rl.model.objects import Objects
from lavae_rl.perception.tokens import Feature, TokenLayout


def _objects():
    """Two frames of 11 x 21 pixels: one object in the top right corner and one in the centre; nothing."""
    mask = np.array([[True, True, False], [False] * 3])
    location = np.array([[[0, 20], [5, 10], [0, 0]], np.zeros((3, 2))], np.int64)
    appearance = np.array([[[0.5, 9.0], [-7.0, 1.0], [0, 0]], np.zeros((3, 2))], np.float32)
    presence = np.array([[0.9, 0.75, 0], [0, 0, 0]], np.float32)
    count, dropped = np.array([2, 0]), np.array([0, 0])
    return Objects(count, location, appearance, appearance * 0, presence, mask, dropped, (11, 21))


def test_tokens_are_x_y_and_clipped_appearance_with_zeros_as_padding():
    tokens = TokenLayout(3, 2).tokens(_objects())
    expected = np.array([[1, -1, 0.5, 5], [0, 0, -5, 1], [0, 0, 0, 0]])
    np.testing.assert_allclose(tokens["tokens"][0], expected, atol=1e-6)
    assert tokens["mask"].tolist() == [[1, 1, 0], [0, 0, 0]]
    assert not tokens["tokens"][1].any()
    assert tokens["tokens"].dtype == np.float32
    assert tokens["mask"].dtype == np.int8


def test_presence_and_velocity_are_the_last_features():
    velocity = np.full((2, 3, 2), 0.25)
    token = TokenLayout(3, 2, presence=True, velocity=True).tokens(_objects(), velocity)["tokens"][0, 0]
    np.testing.assert_allclose(token, np.array([1, -1, 0.5, 5, 0.9, 0.25, 0.25]))


def test_boxes_are_widths_and_heights_in_token_units():
    boxes = np.array([[[0, 18, 5, 2], [3, 4, 11, 21], [0] * 4], np.zeros((3, 4))], np.int64)
    tokens = TokenLayout(3, 2, box=True).tokens(dataclasses.replace(_objects(), box=boxes))["tokens"]
    np.testing.assert_allclose(tokens[0, :, -2:], np.array([[4 / 20, 10 / 10], [2, 2], [0, 0]]), atol=1e-6)
    assert not tokens[1].any()


def test_flat_tokens_have_the_mask_before_each_token():
    flat = TokenLayout(3, 2, flatten=True).tokens(_objects())
    assert flat.shape == (2, 15)
    np.testing.assert_allclose(flat[0, :5], np.array([1, 1, -1, 0.5, 5]))


def test_no_frames_have_no_tokens():
    assert TokenLayout(3, 2, flatten=True).tokens(_objects()[:0]).shape == (0, 15)


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("presence", [False, True])
def test_observations_are_in_their_space(presence, flatten):
    layout = TokenLayout(3, 2, presence=presence, flatten=flatten)
    batch = layout.tokens(_objects())
    for i in range(2):
        observation = batch[i] if flatten else {key: value[i] for key, value in batch.items()}
        assert layout.space().contains(observation)


def test_the_space_is_what_multi_input_policies_take():
    space = TokenLayout(8, 10).space()
    assert isinstance(space, spaces.Dict)
    assert space["tokens"].shape == (8, 12)
    assert space["tokens"].dtype == np.float32
    assert space["mask"] == spaces.MultiBinary(8)


def test_a_layout_without_slots_is_refused():
    with pytest.raises(ValueError, match="max_objects of at least 1"):
        TokenLayout(0, 2)


def test_width_space_and_tokens_follow_from_the_features(monkeypatch):
    count = Feature("count", 1, (0.0, 1.5), lambda objects, _: np.broadcast_to(objects.count[:, None, None], (2, 3, 1)))
    features = [*TokenLayout(3, 2, presence=True).features, count]
    assert [(feature.name, feature.width) for feature in features] == [
        ("xy", 2),
        ("appearance", 2),
        ("presence", 1),
        ("count", 1),
    ]
    monkeypatch.setattr(TokenLayout, "features", features)
    layout = TokenLayout(3, 2)
    space: Any = layout.space()
    assert (layout.width, space["tokens"].shape) == (6, (3, 6))
    assert space["tokens"].low[0].tolist() == [-1, -1, -5, -5, 0, 0]
    assert space["tokens"].high[0].tolist() == [1, 1, 5, 5, 1, 1.5]
    tokens = layout.tokens(_objects())["tokens"]
    assert tokens[..., 5].tolist() == [[1.5, 1.5, 0], [0, 0, 0]]  # clipped to its range
