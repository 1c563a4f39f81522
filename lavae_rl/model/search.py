"""Objects on a background, searched for where frames differ from it.

An object differs from the background: a location counts only if some pixel within half a sprite of it surprises. So
the location network is evaluated there and nowhere else, but for frames of which that is a large part. What it and the
appearance network make of a part of a frame is kept, and recalled where the same is shown again.
"""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.gaussian import Gaussian
from lavae_rl.model.image.background import Pictures
from lavae_rl.model.image.likelihood import Likelihood, as_images
from lavae_rl.model.image.pixels import FramePixels
from lavae_rl.model.networks.sparse import Features, SparseLocationNetwork
from lavae_rl.model.networks.world import WorldAppearanceNetwork, WorldLocationNetwork
from lavae_rl.model.objects import Detections
from lavae_rl.model.posterior import find_peaks, least_logit, presence_logits, without_echoes
from lavae_rl.model.recall import CELL, Cells, Recall, Surroundings
from lavae_rl.model.sites import Sites, blocks, nonzero, unravel
from lavae_rl.model.surprise import PIXEL_NATS, near_surprise

LARGEST_SHARE = 0.4
"""Largest share of a frame for which logits are computed in parts; beyond it, reading the whole frame costs less."""


class Search:
    """The networks of a model that read frames, and what they make of the background and of parts of earlier frames."""

    def __init__(
        self,
        network: WorldLocationNetwork,
        appearance_network: WorldAppearanceNetwork,
        background: Pictures,
        config: LAVAEConfig,
    ) -> None:
        """Take networks whose batch norms are folded."""
        self.background, self._network, self._config = background, network, config
        self._appearance_network = appearance_network
        self.forget()
        self._surroundings = Surroundings(background, network.reach)
        empty = background.states[:1].float() / 255
        self._sparse = SparseLocationNetwork(network, torch.cat([empty, torch.zeros_like(empty)], dim=1))

    def forget(self) -> None:
        """Forget what was computed for earlier frames."""
        self._logits_of, self._appearance_of = Recall(), Recall()

    def __call__(
        self, pixels: FramePixels, likelihood: Likelihood
    ) -> tuple[Detections, Float[Tensor, " objects"], Gaussian]:
        """The objects of frames, as ``LAVAECore.detect`` gives them, the logit and the appearance of each."""
        config = self._config
        changed, near = self._changed(pixels, likelihood)
        wanted = near.grow(math.ceil(config.peak_window // 2 / 2))  # peaks are compared with what is beside them
        cells = Cells(pixels, wanted, self._surroundings)
        logits, scales = self._recall(pixels, changed, wanted, cells)
        found = find_peaks(logits, config.peak_window, config.scales, scales, config.presence_window)
        row, column = found.location.T
        found = found.select(near.mask[found.image_index, row // 2, column // 2])
        found = without_echoes(found, config.peak_window)
        presence = presence_logits(logits, found, config.presence_window)
        return found, presence, self._describe(pixels, found, cells)

    def _describe(self, pixels: FramePixels, found: Detections, cells: Cells) -> Gaussian:
        """The posterior q(a | l, x) of each object."""
        keys = cells.object_keys(found.image_index, *found.location.T, found.scale)
        slots = self._appearance_of.find(keys)
        new = slots < 0
        parameters = torch.zeros(len(keys), 2, self._config.latents)
        if not new.all():
            (parameters[~new],) = self._appearance_of.rows(slots[~new])
        if new.any():
            chosen = found.select(torch.from_numpy(new))
            fresh = self._appearance_network.describe(pixels.windows(chosen, self._config.sprite_size))
            rows = torch.stack([fresh.mean, fresh.log_variance], dim=1)
            parameters[new] = rows
            self._appearance_of.keep(keys[new], rows)
        return Gaussian(parameters[:, 0], parameters[:, 1])

    def _recall(
        self, pixels: FramePixels, changed: Sites, wanted: Sites, cells: Cells
    ) -> tuple[Float[Tensor, "batch height width"], UInt8[Tensor, "batch height width"]]:
        """The largest logit of each pixel and the index of its scale; -inf and 0 where none is wanted.

        They are recalled for cells that were seen before.
        """
        slots = self._logits_of.find(cells.keys)
        new = slots < 0
        old = self._logits_of.rows(slots[~new])
        batch, height, width, _ = pixels.frames.shape
        shape = (batch, -(-height // CELL) * CELL, -(-width // CELL) * CELL)
        logits, scales = maps = torch.full(shape, -math.inf), torch.zeros(shape, dtype=torch.uint8)
        if new.any():
            self._read(pixels, changed, cells.sites(wanted, new), *maps)
            self._logits_of.keep(cells.keys[new], *(cells.read(whole, new) for whole in maps))
        for whole, rows in zip(maps, old, strict=False):  # nothing is recalled before anything is kept
            cells.write(whole, rows, ~new)
        return logits[:, :height, :width], scales[:, :height, :width]

    def _changed(self, pixels: FramePixels, likelihood: Likelihood) -> tuple[Sites, Sites]:
        """The sites of 2 x 2 pixels that are not as in the first state, and those near enough to a surprise."""
        frame, row, column = pixels.changed
        values, behind = pixels.read(frame, row, column)
        nats = likelihood.surprise(values[..., None, None], behind[..., None, None]).sum((1, 2, 3))
        stride = self._network.stride
        height, width = (-(-side // stride) * stride // 2 for side in pixels.frames.shape[1:3])
        changed, surprising = torch.zeros(2, len(pixels.frames), height, width, dtype=torch.bool)
        changed[frame, row // 2, column // 2] = True
        chosen = nats > PIXEL_NATS
        surprising[frame[chosen], row[chosen] // 2, column[chosen] // 2] = True
        return Sites(changed), near_surprise(Sites(surprising), self._config.sprite_size)

    def _read(self, pixels: FramePixels, changed: Sites, wanted: Sites, logits: Tensor, scales: Tensor) -> None:
        """Write the largest logit of each pixel wanted and the index of its scale into maps."""
        crowded = wanted.mask.flatten(1).float().mean(1) > LARGEST_SHARE
        sites = Sites(wanted.mask & ~crowded[:, None, None])
        self._search(pixels, changed, sites, logits, scales)
        if crowded.any():
            _, height, width, _ = pixels.frames.shape
            images = self.background.cover(as_images(pixels.frames[crowded]))
            inputs = torch.cat([images, images - self.background(images)], dim=1)
            best, scale = self._network(inputs).max(1)
            logits[crowded, :height, :width], scales[crowded, :height, :width] = best, scale.byte()

    def _search(self, pixels: FramePixels, changed: Sites, sites: Sites, logits: Tensor, scales: Tensor) -> None:
        """Write the logits at sites."""
        read = changed & self._reach(sites)
        best, scale = self._sparse(Features(read, self._inputs(pixels, read), self._sparse.inputs), sites).max(1)
        frame, row, column = sites.index
        at, down, right = unravel(nonzero(best > least_logit(self._config.presence_window)), (len(best), 2, 2))
        where = (frame[at], 2 * row[at] + down, 2 * column[at] + right)
        logits[where], scales[where] = best[at, down, right], scale[at, down, right].byte()

    def _reach(self, sites: Sites) -> Sites:
        """The sites that the logits at sites depend on, in whole cells of the network's stride."""
        halvings = (self._network.stride // 2).bit_length() - 1
        cells = sites
        for _ in range(halvings):
            cells = cells.halve()
        cells = cells.grow(self._network.reach // self._network.stride)
        for _ in range(halvings):
            cells = cells.double()
        return cells

    def _inputs(self, pixels: FramePixels, sites: Sites) -> Float[Tensor, "sites inputs"]:
        """The inputs of the 2 x 2 pixels of each site, in the order of ``pixel_unshuffle``."""
        frame, row, column = sites.index
        two = torch.arange(2)
        inputs = pixels.inputs(*blocks(frame, 2 * row[:, None] + two, 2 * column[:, None] + two))
        return inputs.view(len(row), 4, inputs.shape[1]).transpose(1, 2).flatten(1)
