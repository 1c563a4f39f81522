"""First locations: surprise under the empty scene, before any network has learned anything.

The scene without objects costs -log p(x_i | n = 0) nats at pixel i. The nats inside a sprite's window bound from above
what the perfect sprite there could gain, so the window with the most nats is the best first guess at an object.
"""

import torch
from torch import Tensor

from lavae_rl.model.core import LAVAECore
from lavae_rl.model.image.windows import gaussian_blur
from lavae_rl.model.objects import Detections
from lavae_rl.model.shapes import Images, LogitMaps

MIN_NATS = 40.0
"""A proposal must promise more than an object costs: log L (8 nats) and its appearance's KL (10 to 20 nats)."""


def propose_by_surprise(model: LAVAECore, images: Images) -> Detections:
    """The N_max most surprising windows of each image, while they pay.

    After each proposal the *nats* inside its window are taken away before the next search; blanking the smoothed map
    instead would propose the rim of a large sprite as a second object.
    """
    sprite_size = model.config.sprite_size
    nats = -model.likelihood.log_prob(images, model.background(images)).sum(1)
    proposals = []
    alive = torch.ones(len(images), dtype=torch.bool, device=images.device)
    for _ in range(model.config.max_objects):
        score, flat = gaussian_blur(nats, sprite_size // 2, sprite_size / 4).flatten(1).max(1)
        alive = alive & (score > MIN_NATS)
        location = torch.stack([flat // nats.shape[2], flat % nats.shape[2]], dim=1)
        proposals.append((alive, location))
        nats = nats.masked_fill(_window_mask(nats, location, sprite_size // 2), 0.0)
    accepted = torch.stack([alive for alive, _ in proposals], dim=1)
    image_index, rank = accepted.nonzero(as_tuple=True)
    locations = torch.stack([location for _, location in proposals], dim=1)
    return Detections(image_index, locations[image_index, rank], accepted.sum(1))


def _window_mask(nats: LogitMaps, location: Tensor, half: int) -> Tensor:
    row = torch.arange(nats.shape[1], device=nats.device)
    column = torch.arange(nats.shape[2], device=nats.device)
    near_row = (row - location[:, :1]).abs() <= half
    near_column = (column - location[:, 1:]).abs() <= half
    return near_row[:, :, None] & near_column[:, None, :]
