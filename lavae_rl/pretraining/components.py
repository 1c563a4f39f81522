"""First locations on a background: connected components of surprise."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lavae_rl.model.core import LAVAECore
from lavae_rl.model.objects import Detections
from lavae_rl.model.surprise import PIXEL_NATS

MIN_NATS = 40.0
"""An object must promise more than it costs: log L (10 nats) and its appearance's KL (10 to 20 nats)."""
LARGEST_SHARE = 0.25
"""Components whose box covers more than this share of the frame are no objects, but a flash or a moved background."""

_CLOSING = np.ones((3, 3), np.uint8)


class Components(NamedTuple):
    """The components of one frame."""

    box: Int[np.ndarray, "components 4"]
    """(row, column, height, width) in pixels."""
    nats: Float[np.ndarray, " components"]
    owner: Int[np.ndarray, "height width"]
    """1 + the index of the component that a pixel belongs to, 0 for none."""


class Proposals(NamedTuple):
    """The components of a batch of frames as objects."""

    found: Detections
    owner: Int[Tensor, "batch height width"]
    """1 + the index of the object that a pixel belongs to, 0 for none."""


def find_components(nats: Float[np.ndarray, "height width"]) -> Components:
    """The components of a map of surprise, closed by 3 x 3 pixels, that pay for an object and are not too large."""
    surprising: Bool[np.ndarray, "height width"] = nats > PIXEL_NATS
    closed = cv2.morphologyEx(surprising.astype(np.uint8), cv2.MORPH_CLOSE, _CLOSING)
    number, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    promised = np.bincount(labels.ravel(), weights=nats.ravel(), minlength=number)[1:]
    column, row, width, height = stats[1:, :4].T
    kept = (promised >= MIN_NATS) & (height * width <= LARGEST_SHARE * nats.size)
    owner = np.append(0, np.where(kept, kept.cumsum(), 0))[labels]
    return Components(np.stack([row, column, height, width], axis=1)[kept].astype(np.int64), promised[kept], owner)


def propose_components(model: LAVAECore, nats: Float[Tensor, "batch height width"]) -> Proposals:
    """The centre of the box of each component of surprise, at the smallest scale whose window holds it.

    At most N_max of each image, those of the most nats first.
    """
    proposals = as_proposals(model, [find_components(each) for each in nats.cpu().numpy()])
    return Proposals(proposals.found.to(nats.device), proposals.owner.to(nats.device))


def as_proposals(model: LAVAECore, components: list[Components]) -> Proposals:
    """The components of each frame as objects, at most N_max of each."""
    size, scales = model.config.sprite_size, np.array(model.config.scales)
    boxes, index, owners, number = [], [], [], 0
    for i, each in enumerate(components):
        order = np.argsort(-each.nats, kind="stable")[: model.config.max_objects]
        boxes.append(each.box[order])
        index.append(np.full(len(order), i))
        renumbered = np.zeros(len(each.box) + 1, np.int64)
        renumbered[1 + order] = number + 1 + np.arange(len(order))
        owners.append(renumbered[each.owner])
        number += len(order)
    box = torch.from_numpy(np.concatenate(boxes))
    centre = box[:, :2] + box[:, 2:] // 2
    needed = box[:, 2:].amax(1, keepdim=True) > torch.from_numpy(scales[:-1] * size)[None]
    scale = torch.from_numpy(scales)[needed.sum(1)]
    count = torch.tensor([len(each) for each in boxes])
    found = Detections(torch.from_numpy(np.concatenate(index)), centre, count, scale)
    return Proposals(found, torch.from_numpy(np.stack(owners)))
