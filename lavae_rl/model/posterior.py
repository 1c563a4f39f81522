"""q(n | x) and q(l | x): counting peaks of the location logits, and sampling locations without replacement."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from lavae_rl.model.objects import Detections
from lavae_rl.model.shapes import Counts, LogitMaps, LogProbs, OrderedPixels, PerImage
from lavae_rl.model.sites import nonzero, unravel

PEAK_WINDOW = 5
"""A peak is the largest logit of the PEAK_WINDOW x PEAK_WINDOW pixels around it."""

MIN_PRESENCE = 0.35
"""Least probability of a peak that counts. Below one half, because pixels share the probability of a centre that lies
between them. Chosen on the validation split, where 0.3 to 0.5 count nearly alike, and on scenes of a second generator
(tests/test_generalisation.py), which 0.5 undercounted."""

MIN_LOGIT = math.log(MIN_PRESENCE / (1 - MIN_PRESENCE))
"""The same as a logit: smaller ones are as good as -inf."""


def find_peaks(
    logits: LogitMaps,
    window: int = PEAK_WINDOW,
    scales: Sequence[int] = (1,),
    best: Shaped[Tensor, "batch height width"] | None = None,
    pool: int = 1,
) -> Detections:
    """Eq. (8): the local maxima of the location logits above a threshold are the objects.

    Logits are log-odds that an object is centred on a pixel. Among equal logits the first in reading order is the
    peak, so a plateau counts once. Of several scales, the one with the largest logit is that of a pixel; ``best`` is
    its index where the logits of one scale are given. What has to exceed the threshold is ``presence_logits``; where
    it adds up pixels, an object has to be more probable than not.
    """
    if logits.dim() == 4:
        logits, best = logits.max(1)
    at = unravel(nonzero(logits > least_logit(pool)), (len(logits), *logits.shape[1:]))
    # Only these few pixels are compared with their windows, not every pixel; argmax is the first of equals.
    peak = _windows(logits, at, window).flatten(1).argmax(dim=1) == window**2 // 2
    image_index, *places = (axis[peak] for axis in at)
    location, count = torch.stack(places, dim=1), torch.bincount(image_index, minlength=len(logits))
    found = Detections(image_index, location, count)
    if best is not None:
        scale = torch.tensor(scales, device=logits.device)[best[image_index, *places].long()]
        found = replace(found, scale=scale)
    presence = presence_logits(logits, found, pool)
    # Two stable sorts make one lexicographic order: by image, then the most confident first.
    order = presence.argsort(descending=True, stable=True)
    order = order[(presence > torch.where(_pooled(found, pool), 0.0, MIN_LOGIT))[order]]
    return found.select(order[image_index[order].argsort(stable=True)])


def presence_logits(logits: LogitMaps, found: Detections, pool: int = 1) -> Float[Tensor, " objects"]:
    """Log-odds of each object: of an enlarged sprite, that an object is centred on one of ``pool * pool`` pixels.

    Such a sprite is decoded at a lower resolution, so its centre is known to a few pixels, which share its probability.
    Of a sprite as it is, they are the logit.
    """
    at = (found.image_index, *found.location.T)
    if pool == 1:
        return logits[at]
    beside = _windows(logits, at, pool)
    rate = torch.where(beside > least_logit(pool), F.softplus(beside), 0.0).sum((1, 2))  # -log prod(1 - p)
    return torch.where(_pooled(found, pool), rate + torch.log(-torch.expm1(-rate)), logits[at])


def least_logit(pool: int = 1) -> float:
    """The least logit that the peak of an object can have; smaller ones are as good as -inf.

    Of the pixels that share a probability of one half, one has at least this.
    """
    if pool == 1:
        return MIN_LOGIT
    least = -math.expm1(-math.log(2) / pool**2)
    return math.log(least) - math.log1p(-least)


def _pooled(found: Detections, pool: int) -> Bool[Tensor, " objects"]:
    """True for each object whose presence is that of several pixels."""
    return (found.scale > 1) & (pool > 1)


def _windows(logits: LogitMaps, at: tuple[Tensor, ...], side: int) -> Float[Tensor, "places side side"]:
    """The logits around each place (image, row, column), -inf off the canvas."""
    _, height, width = logits.shape
    image_index, row, column = at
    reach = torch.arange(side, device=logits.device) - side // 2
    rows, columns = (row[:, None] + reach)[:, :, None], (column[:, None] + reach)[:, None]
    outside = (rows < 0) | (rows >= height) | (columns < 0) | (columns >= width)
    windows = logits[image_index[:, None, None], rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
    return windows.masked_fill(outside, -math.inf)


def prominent(found: Detections, logits: LogitMaps, least: float, reach: int) -> Detections:
    """Leave out the shoulders of peaks: between two objects the logits fall.

    A shoulder has a way of at most ``reach`` pixels to a higher peak that falls by less than the fraction ``least`` of
    a height, in nats over the threshold: the geometric mean of its own and of the image's highest. It is a fraction,
    since the ELBO leaves the level of the logits free. A peak of less than ``least`` squared of the highest is left
    out, too. The way is found by reconstruction, as in the h-maxima transform (L. Vincent, Morphological grayscale
    reconstruction in image analysis, IEEE Transactions on Image Processing 2(2), 1993).
    """
    height = (logits - MIN_LOGIT).clamp(min=0)
    lowered = level = height - least * (height * height.amax((1, 2), keepdim=True)).sqrt()
    for _ in range(reach):
        level = torch.minimum(F.max_pool2d(level[:, None], 3, stride=1, padding=1)[:, 0], height)
    at = (found.image_index, *found.location.T)
    return found.select(level[at] <= lowered[at])


def without_echoes(found: Detections, window: int) -> Detections:
    """Leave out large objects beside more confident ones: of two, the window of the smaller scale is what hides one.

    Logits of enlarged sprites are as smooth as these are large, so that a window of a few pixels holds no second peak.
    """
    large = (found.scale > 1).nonzero()[:, 0]
    index, location, scale = found.image_index[large], found.location[large], found.scale[large]
    reach = window // 2 * torch.minimum(scale[:, None], scale)
    near = (location[:, None] - location).abs().amax(2) <= reach
    before = torch.ones_like(near).tril(-1)  # objects of an image are in order of confidence
    kept = torch.ones_like(found.scale, dtype=torch.bool)
    kept[large] = ~(near & before & (index[:, None] == index)).any(1)
    return found.select(kept)


def location_log_probs(logits: LogitMaps, sharpness: Tensor) -> LogProbs:
    """Log q(l_1 | x) over all locations, row by row: the softmax of logits scaled by ``sharpness * log(L)``.

    L is the number of locations. The factor log(L) keeps the probability of a hot location from falling as canvases
    grow (paper, "Rescaling location logits"); counting by probabilities per pixel needs no rescaling.
    """
    flat = logits.flatten(1)
    return F.log_softmax(flat * (sharpness * math.log(flat.shape[1])), dim=1)


def ordered_log_prob(log_probs: LogProbs, location: OrderedPixels, count: Counts) -> PerImage:
    """Log q(l_1..n | x) of an ordered tuple drawn without replacement, eq. (11); slots past the count are ignored."""
    total = log_probs.new_zeros(len(log_probs))
    for slot in range(location.shape[1]):
        chosen = location[:, slot : slot + 1]
        # Renormalise over what is left, rather than divide by 1 - taken: exact even where q is a point mass.
        conditional = log_probs.gather(1, chosen)[:, 0] - log_probs.logsumexp(1)
        total = total + torch.where(count > slot, conditional, 0.0)
        log_probs = log_probs.scatter(1, chosen, -math.inf)
    return total


def sample_locations(log_probs: LogProbs, slots: int, generator: torch.Generator | None) -> OrderedPixels:
    """Draw ordered locations without replacement (Gumbel top-k), as indices into the flattened canvas."""
    return (log_probs + gumbel_noise(log_probs, generator)).topk(slots, dim=1).indices


def gumbel_noise(log_probs: LogProbs, generator: torch.Generator | None) -> LogProbs:
    """Standard Gumbel noise: added to log-probabilities, it makes their argmax a sample."""
    uniform = torch.rand(log_probs.shape, generator=generator, device=log_probs.device)
    return -torch.log(-torch.log(uniform.clamp(1e-10, 1 - 1e-7)))
