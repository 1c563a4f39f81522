import math

import pytest
import torch

from lavae_rl.model.image.windows import crop_windows, gaussian_blur
from lavae_rl.model.objects import Detections


def test_a_window_is_centred_on_its_location_and_dark_beyond_the_border():
    image = torch.arange(12.0).view(1, 1, 3, 4)
    found = Detections(torch.tensor([0, 0]), torch.tensor([[1, 2], [0, 0]]), torch.tensor([2]))
    windows = crop_windows(image, found, 3)
    assert windows[0, 0].tolist() == [[1, 2, 3], [5, 6, 7], [9, 10, 11]]
    assert windows[1, 0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 4, 5]]


def test_the_blur_of_one_pixel_is_a_gaussian_of_peak_one_inside_its_window():
    one = torch.zeros(1, 9, 11)
    one[0, 1, 5] = 1
    blurred = gaussian_blur(one, half=2, sigma=1.5)[0]
    assert blurred[1, 5] == 1
    assert blurred[2, 7].item() == pytest.approx(math.exp(-0.5 * (1 + 4) / 1.5**2))
    assert blurred[1, 8] == blurred[4, 5] == 0
