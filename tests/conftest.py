import numpy as np
import pytest
import torch

from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE


@pytest.fixture
def untrained():
    """A small LAVAE with fixed random weights."""
    torch.manual_seed(0)
    return LAVAE(LAVAEConfig(channels=1, latents=4)).eval()


class BlobDetector(torch.nn.Module):
    """A location network that needs no training: its logit is 5 at each lit pixel without lit neighbours."""

    def forward(self, images):
        lit = images[:, 0]
        neighbours = torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1, divisor_override=1)[:, 0] - lit
        return torch.where((lit > 0) & (neighbours == 0), 5.0, -8.0) + 0.0 * lit


@pytest.fixture
def dotted(untrained):
    """An untrained LAVAE that finds single lit pixels exactly."""
    untrained.location_network = BlobDetector()
    return untrained


@pytest.fixture
def dots():
    """Makes a frame, uint8 (1, height, width, 1), with one lit pixel at each (row, column)."""

    def make(height, width, *locations):
        frame = np.zeros((1, height, width, 1), np.uint8)
        for row, column in locations:
            frame[0, row, column] = 255
        return frame

    return make
