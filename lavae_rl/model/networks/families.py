"""The three networks of LAVAE, location, appearance and sprite decoder, by family.

Contract, whatever the networks look like inside (``LAVAEConfig.networks`` names the family):
  * location network: images -> one logit per pixel, the log-odds that an object is centred there; of families with
    several scales, one map of logits for each;
  * appearance network: images and detections -> the Gaussian q(a | l, x) of each object, eq. (10);
  * sprite decoder: appearance -> sprite of pixel means in (0, 1), the function g of eq. (4); with alpha as a last
    channel where sprites are composed over a background.

All give float32, also under autocast: what is made of them, sums over pixels and logarithms of small probabilities,
needs the digits.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lavae_rl.model.networks.fast import FastAppearanceNetwork, FastLocationNetwork, FastSpriteDecoder
from lavae_rl.model.networks.paper import PaperAppearanceNetwork, PaperLocationNetwork, PaperSpriteDecoder
from lavae_rl.model.networks.prototypes import PrototypeDecoder
from lavae_rl.model.networks.world import WorldAppearanceNetwork, WorldLocationNetwork, WorldSpriteDecoder


class Sizes(Protocol):
    """Sizes that networks are built for; see ``LAVAEConfig``."""

    @property
    def channels(self) -> int: ...  # noqa: D102

    @property
    def sprite_size(self) -> int: ...  # noqa: D102

    @property
    def scales(self) -> tuple[int, ...]: ...  # noqa: D102


class Networks(NamedTuple):
    """One family of networks; appearance network and decoder are built for channels, sprites of a size, and latents."""

    location: Callable[[Sizes], nn.Module]
    appearance: Callable[[int, int, int], nn.Module]
    decoder: Callable[[int, int, int], nn.Module]
    reads_difference: bool = False
    """True if networks read images and, in as many further channels, their difference to the background."""


FAMILIES = {
    "fast": Networks(lambda config: FastLocationNetwork(config.channels), FastAppearanceNetwork, FastSpriteDecoder),
    "paper": Networks(lambda config: PaperLocationNetwork(config.channels), PaperAppearanceNetwork, PaperSpriteDecoder),
    "paper-small": Networks(
        lambda config: PaperLocationNetwork(config.channels, width=16),
        partial(PaperAppearanceNetwork, width=16),
        partial(PaperSpriteDecoder, full_width=24),
    ),
    "prototypes": Networks(
        lambda config: FastLocationNetwork(config.channels), FastAppearanceNetwork, PrototypeDecoder
    ),
    "world": Networks(
        lambda config: WorldLocationNetwork(
            config.channels, len(config.scales), config.sprite_size * max(config.scales)
        ),
        WorldAppearanceNetwork,
        WorldSpriteDecoder,
        reads_difference=True,
    ),
}
"""Network families by name: what ``LAVAEConfig.networks`` may be. "paper-small" is narrower, for small canvases."""


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """A copy for inference: the same function with the batch norms folded into the convolutions before them."""
    folded = copy.deepcopy(network).eval()
    for module in list(folded.modules()):
        if isinstance(module, nn.Sequential):
            for i, (layer, after) in enumerate(zip(list(module), list(module)[1:], strict=False)):
                if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                    module[i], module[i + 1] = fuse_conv_bn_eval(layer, after), nn.Identity()
    return folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
