from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from lavae_rl.model import search
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.image.background import Pictures
from lavae_rl.model.image.pixels import FramePixels
from lavae_rl.model.image.windows import crop_scaled_windows
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.networks.families import fold_batch_norms
from lavae_rl.model.networks.sparse import Features, SparseLocationNetwork
from lavae_rl.model.objects import Detections
from lavae_rl.model.sites import Sites

SIZE = (93, 75)  # no multiples of the stride
FILLED = np.uint8(255)


def _model(channels=3, scales=(1, 2), size=SIZE, sprite_size=9, states=2):
    """A world model with random weights, statistics and background, which finds something everywhere."""
    generator = torch.Generator().manual_seed(1)
    config = LAVAEConfig(
        channels=channels,
        sprite_size=sprite_size,
        networks="world",
        scales=scales,
        presence_window=3 if len(scales) == 3 else 1,
        likelihood="normal",
        composition="over",
        background_states=states,
        canvas_size=size,
    )
    model: Any = LAVAE(config)
    for name, value in model.location_network.state_dict().items():
        if value.dim() == 4:
            fan_in = value[0].numel()
            value.copy_(torch.randn(value.shape, generator=generator) * (2 / fan_in) ** 0.5)
        elif "running_mean" in name:
            value.copy_(torch.randn(value.shape, generator=generator) / 5)
        elif "running_var" in name:
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    background = model.background
    background.states.copy_(torch.randint(0, 120, background.states.shape, generator=generator))
    background.frequency[1:] = (torch.rand(background.frequency[1:].shape, generator=generator) < 0.3) * 0.4
    with torch.no_grad():
        model.location_network.head.bias.fill_(0.0)
    return model


def _empty(model, batch):
    return np.repeat(model.background.states[:1].permute(0, 2, 3, 1).numpy(), batch, axis=0)


def _frames(model, blobs, batch=3):
    """Frames with some bright blobs each, some of which the border cuts, and pixels in their second state."""
    rng = np.random.default_rng(0)
    frames = _empty(model, batch)
    second = model.background.states[-1].permute(1, 2, 0).numpy()
    for frame in frames:
        other = (rng.random(SIZE) < 0.005) & (model.background.frequency[-1].numpy() > 0)
        frame[other] = second[other]
        for _ in range(blobs):
            row, column = rng.integers(-2, np.array(SIZE) - 2)
            frame[max(row, 0) : row + 5, max(column, 0) : column + 4] = rng.integers(200, 256, frames.shape[3])
    return frames


def _encode(model, frames, share):
    model._evaluated().forget()
    with patch.object(search, "LARGEST_SHARE", share):
        return model.encode(frames)


def _same(one, other):
    for name in ("count", "location", "scale", "mask", "box"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in ("presence", "appearance", "appearance_variance"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-5, err_msg=name)


@pytest.mark.parametrize("blobs", [1, 4])
@pytest.mark.parametrize(("channels", "scales"), [(3, (1, 2)), (1, (1,)), (3, (1, 2, 4))])
def test_searching_finds_what_reading_whole_frames_finds(channels, scales, blobs):
    model = _model(channels, scales)
    frames = _frames(model, blobs)
    sparse, full = _encode(model, frames, 2.0), _encode(model, frames, -1.0)
    assert full.count.min() > 0
    _same(sparse, full)
    found = model.detect(model.images(frames))
    assert found.count.tolist() == full.count.tolist()
    assert found.location.tolist() == full.location[full.mask].tolist()


@pytest.mark.parametrize(
    "corner", [(0, 0), (0, SIZE[1] - 4), (SIZE[0] - 5, 0), (SIZE[0] - 5, SIZE[1] - 4), (40, 0), (SIZE[0] - 1, 30)]
)
def test_objects_at_the_border_are_found_as_in_whole_frames(corner):
    model = _model()
    frames = _empty(model, 1)
    frames[0, corner[0] : corner[0] + 5, corner[1] : corner[1] + 4] = FILLED
    sparse, full = _encode(model, frames, 2.0), _encode(model, frames, -1.0)
    assert full.count[0] > 0
    _same(sparse, full)


def test_the_logits_of_a_sparse_network_are_those_of_the_dense_one_wherever_they_are_wanted():
    model = _model()
    network: Any = fold_batch_norms(model.location_network)
    with torch.inference_mode():
        inputs = model.scene(model.images(_frames(model, 3))).inputs
        empty = model.scene(model.images(_empty(model, 1))).inputs
        side = [-(-side // network.stride) * network.stride for side in SIZE]
        padding = (0, side[1] - SIZE[1], 0, side[0] - SIZE[0])
        padded, alone = (torch.nn.functional.pad(part, padding) for part in (inputs, empty))
        unshuffled, reference = (torch.nn.functional.pixel_unshuffle(part, 2) for part in (padded, alone))
        changed = Sites((unshuffled != reference).any(1))
        assert changed.mask.float().mean() < 0.2
        wanted = Sites(torch.rand(changed.shape, generator=torch.Generator().manual_seed(0)) < 0.5)
        frame, row, column = changed.index
        sparse = SparseLocationNetwork(network, empty)
        logits = sparse(Features(changed, unshuffled[frame, :, row, column], sparse.inputs), wanted)
        dense = torch.nn.functional.pixel_unshuffle(network(padded), 2).unflatten(1, (-1, 2, 2))
    frame, row, column = wanted.index
    torch.testing.assert_close(logits, dense[frame, :, :, :, row, column], atol=1e-4, rtol=1e-4)


def test_frames_of_the_background_hold_nothing_whatever_the_network_says():
    model = _model()
    frames = _empty(model, 2)
    assert model.peaks(model.logits(model.images(frames))).count.min() > 0
    for share in (2.0, -1.0):
        objects = _encode(model, frames, share)
        assert objects.count.tolist() == [0, 0]
        assert objects.location.shape == (2, 0, 2)
    assert model.detect(model.images(frames)).count.tolist() == [0, 0]


def test_batches_without_frames_hold_nothing():
    model = _model()
    assert model.encode(_empty(model, 1)[:0]).count.tolist() == []


def test_only_crowded_frames_are_read_whole():
    model = _model()
    frames = np.concatenate([_frames(model, 1, batch=2), np.full((1, *SIZE, 3), FILLED)])
    read = []
    forward = type(model.location_network).forward

    def spy(network, inputs):
        read.append(len(inputs))
        return forward(network, inputs)

    with patch.object(type(model.location_network), "forward", spy):
        objects = model.encode(frames)
    assert read == [1]
    _same(objects, _encode(model, frames, -1.0))


def test_ignored_pixels_are_background():
    model = _model()
    frames = _empty(model, 1)
    frames[0, 20:26, 30:36] = FILLED
    assert model.encode(frames).count[0] > 0
    model.background.ignored[15:30, 25:40] = True
    assert model.encode(frames).count[0] == 0
    frames[0, 26:34, 36:44] = FILLED
    objects = _encode(model, frames, 2.0)
    assert objects.count[0] > 0
    _same(objects, _encode(model, frames, -1.0))


def test_a_background_that_changes_is_noticed():
    model = _model()
    frames = _empty(model, 1)
    frames[0, 20:26, 30:36] = FILLED
    assert model.encode(frames).count[0] > 0
    model.background.states[:] = torch.from_numpy(frames[0]).permute(2, 0, 1)
    assert model.encode(frames).count[0] == 0


def test_torch_frames_and_slices_give_the_same_objects():
    model = _model()
    frames = _frames(model, 2)
    objects = model.encode(frames)
    _same(model.encode(torch.from_numpy(frames)).numpy(), objects)
    wide = np.concatenate([frames, frames], axis=3)
    _same(model.encode(wide[..., :3]), objects)


def test_windows_of_pixels_are_those_of_whole_images():
    model = _model()
    frames = _frames(model, 4)
    model.background.ignored[:4] = True
    location = torch.tensor([[0, 0], [40, 30], [92, 74], [5, 70]])
    found = Detections(torch.tensor([0, 1, 1, 2]), location, torch.tensor([1, 2, 1]), torch.tensor([1, 2, 1, 2]))
    inputs = model.scene(model.images(frames)).inputs
    assert isinstance(model.background, Pictures)
    windows = FramePixels(torch.from_numpy(frames), model.background).windows(found, 9)
    torch.testing.assert_close(windows, crop_scaled_windows(inputs, found, 9))


def test_changed_pixels_differ_from_the_first_state_and_are_not_ignored():
    model = _model()
    frames = _empty(model, 2)
    frames[1, 3, 4, 1] += 1
    frames[0, 7, 8] += 9
    model.background.ignored[7, 8] = True
    changed = FramePixels(torch.from_numpy(frames), model.background).changed
    assert [places.tolist() for places in changed] == [[1], [3], [4]]
