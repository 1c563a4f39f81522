from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from lavae_rl.model.objects import Detections, Objects


def _objects(max_objects=None):
    found = Detections(torch.tensor([0, 0, 2]), torch.tensor([[1, 2], [3, 4], [5, 6]]), torch.tensor([2, 0, 1]))
    appearance = torch.tensor([[1.0], [2.0], [3.0]])
    presence = torch.tensor([0.9, 0.8, 0.7])
    return Objects.from_detections(
        found, (9, 7), max_objects, presence=presence, appearance=appearance, appearance_variance=appearance / 10
    )


def test_a_ragged_list_fills_the_first_slots_of_each_image():
    objects = _objects()
    assert objects.location.tolist() == [[[1, 2], [3, 4]], [[0, 0], [0, 0]], [[5, 6], [0, 0]]]
    assert objects.appearance[..., 0].tolist() == [[1, 2], [0, 0], [3, 0]]
    assert objects.mask.tolist() == [[True, True], [False, False], [True, False]]


def test_objects_go_to_numpy_and_back():
    objects = _objects()
    array = objects.numpy()
    assert isinstance(array.count, np.ndarray)
    assert array.canvas_size == (9, 7)
    back = array.torch(torch.device("cpu"))
    for name in ("count", "location", "appearance", "appearance_variance", "presence", "mask", "dropped"):
        assert torch.equal(getattr(back, name), getattr(objects, name)), name


def test_too_few_slots_keep_the_most_confident_objects_and_count_the_rest():
    objects = _objects(max_objects=1)
    assert objects.location.tolist() == [[[1, 2]], [[0, 0]], [[5, 6]]]
    torch.testing.assert_close(objects.presence, torch.tensor([[0.9], [0.0], [0.7]]))
    torch.testing.assert_close(objects.appearance_variance[:, :, 0], torch.tensor([[0.1], [0.0], [0.3]]))
    assert objects.count.tolist() == [1, 0, 1]
    assert objects.dropped.tolist() == [1, 0, 0]


def test_more_slots_than_needed_are_padding():
    objects = _objects(max_objects=4)
    assert objects.mask.shape == (3, 4)
    assert objects.mask.sum() == 3
    assert not objects.dropped.any()


def test_some_frames_of_a_batch_keep_their_objects():
    assert _objects()[1:].location.tolist() == [[[0, 0], [0, 0]], [[5, 6], [0, 0]]]


@dataclass(frozen=True)
class Sized(Objects):
    """Objects with a field more."""

    size: Any = None


def test_a_field_that_a_subclass_adds_follows_its_objects_everywhere():
    objects = _objects().numpy()
    sized: Any = Sized(**vars(objects), size=objects.appearance * 10)
    moved = sized.scatter(np.array([[1, 0], [-1, -1], [1, -1]]))
    assert moved.size[..., 0].tolist() == [[20, 10], [0, 0], [0, 30]]
    assert moved.mask.tolist() == [[True, True], [False, False], [False, True]]
    assert moved[2:].size[..., 0].tolist() == [[0, 30]]
    joined: Any = Objects.concatenate([moved, sized])
    for values in (joined.size, moved.torch(torch.device("cpu")).numpy().size):
        np.testing.assert_array_equal(values[:3], moved.size)
    assert joined.size.shape == (6, 2, 1)


SCALED = Detections(
    torch.tensor([0, 0, 2]), torch.tensor([[1, 2], [3, 4], [5, 6]]), torch.tensor([2, 0, 1]), torch.tensor([1, 4, 2])
)


def test_detections_are_of_scale_1_unless_they_say_otherwise():
    found = Detections(SCALED.image_index, SCALED.location, SCALED.count)
    assert found.scale.tolist() == [1, 1, 1]
    assert found.scale.dtype == torch.int64


def test_selected_detections_keep_their_images_locations_and_scales():
    found = SCALED.select(torch.tensor([False, True, True]))
    assert found.image_index.tolist() == [0, 2]
    assert found.location.tolist() == [[3, 4], [5, 6]]
    assert found.count.tolist() == [1, 0, 1]
    assert found.scale.tolist() == [4, 2]
    none = SCALED.select(torch.zeros(3, dtype=torch.bool))
    assert none.count.tolist() == [0, 0, 0]
    assert none.location.shape == (0, 2)


@pytest.mark.parametrize("copy", [lambda found: found.clone(), lambda found: found.to(torch.device("cpu"))])
def test_copies_of_detections_keep_every_field(copy):
    copied = copy(SCALED)
    for name, values in vars(SCALED).items():
        assert torch.equal(getattr(copied, name), values), name


def test_detections_follow_to_a_device():
    assert {value.device.type for value in vars(SCALED.to(torch.device("meta"))).values()} == {"meta"}


def test_the_first_detections_of_each_image_keep_their_scales():
    found = SCALED.keep_first(1)
    assert found.location.tolist() == [[1, 2], [5, 6]]
    assert found.count.tolist() == [1, 0, 1]
    assert found.scale.tolist() == [1, 2]


def _scaled_objects(**fields):
    values = torch.tensor([[1.0], [2.0], [3.0]])
    described: dict[str, Any] = {"appearance": values, "appearance_variance": values, "presence": values[:, 0]}
    return Objects.from_detections(SCALED, (9, 7), **described, **fields)


def test_objects_have_the_scales_of_their_detections_and_0_in_unused_slots():
    assert _scaled_objects().scale.tolist() == [[1, 4], [0, 0], [2, 0]]


def test_boxes_follow_their_objects():
    box = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]])
    objects = _scaled_objects(box=box).numpy()
    assert objects.box[0].tolist() == box[:2].tolist()
    assert objects.box[2].tolist() == [[8, 9, 10, 11], [0, 0, 0, 0]]
    moved = objects.scatter(np.array([[1, 0], [-1, -1], [1, -1]]))
    assert moved.box[0].tolist() == box[:2].flip(0).tolist()
    assert moved.scale.tolist() == [[4, 1], [0, 0], [0, 2]]


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_objects_without_scales_and_boxes_have_scale_1_and_no_extent(kind):
    objects = _objects() if kind == "torch" else _objects().numpy()
    fields = {name: value for name, value in vars(objects).items() if name not in ("scale", "box")}
    plain = Objects(**fields)
    assert plain.scale.tolist() == [[1, 1], [0, 0], [1, 0]]
    assert plain.box.tolist() == [[[1, 2, 0, 0], [3, 4, 0, 0]], [[0] * 4] * 2, [[5, 6, 0, 0], [0] * 4]]
    assert type(plain.scale) is type(plain.box) is type(objects.count)
