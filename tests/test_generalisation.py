"""The bundled weights on scenes from a second generator that shares no code with ours.

It draws shapes pixel by pixel from their inequalities, of any size and angle, at real-valued centres, and keeps them
apart by their pixels rather than by boxes.
"""

import math

import numpy as np
import pytest

from lavae_rl.evaluation.agreement import match_locations
from lavae_rl.model.lavae import LAVAE
from lavae_rl.perception.tokens import TokenLayout


def _shape(rng, height, width, row, column):
    """A square, ellipse or triangle of radius 4.5 to 9 px around a real-valued centre, as a mask."""
    radius, angle = rng.uniform(4.5, 9), rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[:height, :width] - np.array([row, column])[:, None, None]
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    kind = rng.integers(3)
    if kind == 0:
        return np.maximum(abs(u), abs(v)) <= radius / math.sqrt(2)
    if kind == 1:
        return (u / radius) ** 2 + (v / (radius * 2 / 3)) ** 2 <= 1
    turns = np.array([0, 2, 4]) * math.pi / 3
    return np.all([u * math.cos(turn) + v * math.sin(turn) <= radius / 2 for turn in turns], axis=0)


def _scene(rng, height, width, num_objects):
    frame = np.zeros((height, width, 3), np.uint8)
    centres: list[tuple[float, float]] = []
    taken = np.zeros((height, width), bool)
    for _ in range(10_000):
        if len(centres) == num_objects:
            return frame, np.array(centres).reshape(-1, 2)
        row, column = rng.uniform(9, height - 10), rng.uniform(9, width - 10)
        mask = _shape(rng, height, width, row, column)
        grown = np.array([np.roll(mask, (i, j), (0, 1)) for i in (-2, -1, 0, 1, 2) for j in (-2, -1, 0, 1, 2)]).any(0)
        if not (grown & taken).any():
            taken |= mask
            color = int(rng.integers(1, 8))
            frame[mask] = [255 * (color >> bit & 1) for bit in range(3)]
            centres.append((row, column))
    raise AssertionError("could not pack a scene")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("height", "width", "most"), [(48, 48, 3), (64, 64, 7), (80, 120, 9), (127, 99, 12), (160, 160, 15)]
)
def test_counts_and_locations_are_right_on_scenes_of_another_generator(height, width, most):
    rng = np.random.default_rng(height)
    scenes = [_scene(rng, height, width, rng.integers(most + 1)) for _ in range(40)]
    objects = LAVAE.from_pretrained("multi-dsprites").encode(np.stack([frame for frame, _ in scenes]))
    right = [objects.count[i] == len(centres) for i, (_, centres) in enumerate(scenes)]
    assert np.mean(right) >= 0.95
    for i, (_, centres) in enumerate(scenes):
        if right[i]:
            found, true = match_locations(objects.location[i, : len(centres)], np.rint(centres).astype(int), radius=3.0)
            assert len(found) == len(true) == len(centres)


def test_tokens_hold_locations_on_a_canvas_that_is_not_square():
    rng = np.random.default_rng(3)
    frame, centres = _scene(rng, 70, 140, 5)
    model = LAVAE.from_pretrained("multi-dsprites")
    tokens = TokenLayout(8, model.config.latents).tokens(model.encode(frame[None], 8))
    assert tokens["mask"][0].tolist() == [1] * 5 + [0] * 3
    expected = sorted((column / 139 * 2 - 1, row / 69 * 2 - 1) for row, column in centres)
    np.testing.assert_allclose(np.array(sorted(tokens["tokens"][0, :5, :2].tolist())), np.array(expected), atol=0.06)
