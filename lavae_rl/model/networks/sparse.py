"""The location network of the world family, evaluated only where frames differ from their background.

Far from every difference, the features of each layer are those of the background alone, which are computed once. So
a layer is evaluated at the sites that a difference reaches, and reads the features of the background around them. The
result equals that of the whole frame at every depth and at the border, where both read the same zeros.
"""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lavae_rl.model.networks.world import WorldLocationNetwork, _Level
from lavae_rl.model.sites import Sites, take

Rows = Float[Tensor, "rows channels"]
"""Features of one site in each row."""


class Features:
    """Features at some sites of a batch of grids; at all others they are those of the background."""

    def __init__(self, sites: Sites, values: Rows, background: "BackgroundFeatures") -> None:
        self.sites = sites
        self._rows = torch.cat([background.rows, values])
        self._where = background.where.expand(len(sites.mask), -1, -1).clone()
        frame, row, column = sites.index
        new = torch.arange(len(background.rows), len(self._rows), device=row.device, dtype=self._where.dtype)
        self._where[frame, row + 1, column + 1] = new

    def at(self, sites: Sites) -> Rows:
        """Features at sites."""
        frame, row, column = sites.index
        _, height, width = self._where.shape
        inside = (frame * height + row + 1) * width + column + 1
        return take(self._rows, self._where.view(-1).index_select(0, inside))

    def around(self, sites: Sites, stride: int) -> Rows:
        """Features of the 3 x 3 window around the place, ``stride`` times as far from the corner, of each site."""
        frame, row, column = sites.index
        _, height, width = self._where.shape
        corner = (frame * height + row * stride) * width + column * stride
        three = torch.arange(3, device=row.device)
        window = (three[:, None] * width + three).flatten()
        where = self._where.view(-1).index_select(0, (corner[:, None] + window).flatten())
        return take(self._rows, where).view(len(row), 9 * self._rows.shape[1])


class BackgroundFeatures:
    """Features of the background on one grid, with a row of zeros for what lies beyond the border."""

    def __init__(self, dense: Float[Tensor, "1 channels height width"]) -> None:
        _, channels, height, width = dense.shape
        self.dense = dense
        self.rows = torch.cat([dense[0].flatten(1).T, dense.new_zeros(1, channels)])
        inside = torch.arange(height * width, dtype=torch.int32, device=dense.device).view(1, height, width)
        self.where = F.pad(inside, (1, 1, 1, 1), value=height * width)


class SparseConvolution:
    """A 3 x 3 convolution with bias and ReLU, at the sites that a difference reaches."""

    def __init__(self, layers: nn.Module, inputs: BackgroundFeatures) -> None:
        convolution = cast("nn.Conv2d", cast("nn.Sequential", layers)[0])
        self.stride = convolution.stride[0]
        self.background = BackgroundFeatures(layers(inputs.dense))
        self._weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
        self._bias = cast("Tensor", convolution.bias)

    def reached(self, sites: Sites) -> Sites:
        """The sites of the outputs that depend on sites of the inputs."""
        return sites.grow(1) if self.stride == 1 else sites.stride()

    def __call__(self, features: Features, sites: Sites) -> Features:
        """Outputs at sites."""
        values = torch.addmm(self._bias, features.around(sites, self.stride), self._weight).relu_()
        return Features(sites, values, self.background)


class SparseLevel:
    """A level of the U-net."""

    def __init__(self, level: _Level, inputs: BackgroundFeatures) -> None:
        self.down = SparseConvolution(level.down[0], inputs)
        first, second = cast("nn.Sequential", cast("nn.Sequential", level.down[1])[0])
        self.first = SparseConvolution(first, self.down.background)
        self.second = SparseConvolution(second, self.first.background)
        self.refined = BackgroundFeatures(self.down.background.dense + self.second.background.dense)
        self.below = SparseLevel(level.below, self.refined) if isinstance(level.below, _Level) else None
        self.background = BackgroundFeatures(level(inputs.dense))
        up = cast("nn.Conv2d", cast("nn.Sequential", level.up[0])[0])
        self._weight, self._bias = up.weight.flatten(1).T, cast("Tensor", up.bias)

    def __call__(self, features: Features, wanted: Sites) -> Rows:
        """Features at the wanted sites."""
        parents = wanted.halve()
        refined = self._refine(features, parents)
        below = refined.at(parents) if self.below is None else self.below(refined, parents)
        up = torch.addmm(self._bias, below, self._weight).relu_()
        number = torch.zeros(parents.shape, dtype=torch.int32, device=up.device)
        frame, row, column = parents.index
        number[frame, row, column] = torch.arange(len(row), dtype=torch.int32, device=up.device)
        frame, row, column = wanted.index
        return features.at(wanted) + take(up, number[frame, row // 2, column // 2])

    def _refine(self, features: Features, parents: Sites) -> Features:
        down = self.down(features, self.down.reached(features.sites))
        first, second = down.sites.grow(1), down.sites.grow(2)
        if self.below is None:  # nobody reads more
            first, second = first & parents.grow(1), second & parents
        changed = self.second(self.first(down, first), second)
        return Features(second, down.at(second) + changed.at(second), self.refined)


class SparseLocationNetwork:
    """The same function as a location network whose batch norms are folded, at some pixels of frames."""

    def __init__(self, network: WorldLocationNetwork, background: Float[Tensor, "1 channels height width"]) -> None:
        """Compute the features of the background, ``background`` being the network's inputs where nothing differs."""
        *_, height, width = background.shape
        padded = F.pad(background, (0, -width % network.stride, 0, -height % network.stride))
        self.inputs = BackgroundFeatures(F.pixel_unshuffle(padded, 2))
        self.stem = SparseConvolution(cast("nn.Sequential", network.stem[1]), self.inputs)
        self.trunk = SparseLevel(network.trunk, self.stem.background)
        self.merge = SparseConvolution(network.merge, self.trunk.background)
        self._weight = network.head.weight.flatten(1).T
        self._bias = cast("Tensor", network.head.bias)

    def __call__(self, differing: Features, sites: Sites) -> Float[Tensor, "sites scales 2 2"]:
        """Logits of the 2 x 2 pixels of each site.

        Args:
            differing: inputs of the network at half the resolution, with the background's outside their sites.
            sites: the sites at half the resolution where logits are wanted.
        """
        fine = self.stem(differing, self.stem.reached(differing.sites))
        wanted = sites.grow(1)
        merged = self.merge(Features(wanted, self.trunk(fine, wanted), self.trunk.background), sites)
        logits = torch.addmm(self._bias, merged.at(sites), self._weight)
        return logits.view(len(logits), logits.shape[1] // 4, 2, 2)
