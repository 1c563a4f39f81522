import numpy as np
import torch

from lavae_rl.model.objects import Objects
from lavae_rl.model.posterior import Detections


def _objects():
    found = Detections(torch.tensor([0, 0, 2]), torch.tensor([[1, 2], [3, 4], [5, 6]]), torch.tensor([2, 0, 1]))
    return Objects.from_detections(found, torch.tensor([[1.0], [2.0], [3.0]]), (9, 7))


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
    for name in ("count", "location", "appearance", "mask"):
        assert torch.equal(getattr(back, name), getattr(objects, name)), name
