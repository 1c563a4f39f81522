"""Networks that read a set of object tokens: which slot an object is in, and what unused slots hold, must not matter.

Sets are summarised by means, maxima and softmax averages, never by sums: features keep their scale when there are
more objects than in training. Unused slots contribute exact zeros, so that the empty set is an input like any other,
with finite gradients.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Complex, Float
from torch import Tensor, nn

Tokens = Float[Tensor, "batch slots token"]
Mask = Bool[Tensor, "batch slots"]
"""True where there is an object."""
Features = Float[Tensor, "batch features"]

Nodes = Float[Tensor, "#views batch used width"]
"""What is known of each object: once, or in each view."""
Turns = Complex[Tensor, "views batch used turns"]
"""Where each object is: how far a hand turns that starts in the middle of the canvas, x and y at all wavelengths."""

ATTENTION_HEADS = 4

SELECTED = 3
"""How many objects "relation" selects at a time."""

VIEWS = 4
"""From how many sides "relation" looks at a scene: all that a canvas of pixels has."""

_WAVELENGTHS = (4.0, 2.0, 1.0, 0.5)
"""Of the turns of a place, in units of half a canvas: from two canvases to a sprite."""

_REALS = 2 * 2 * len(_WAVELENGTHS)
"""The turns of a place as real numbers."""


class RelationNetwork(nn.Module):
    """Compares what objects are, then sees where they are from a few of them, in four views.

    The comparison of all pairs, by what they are alone, tells what an object is among the others, say the odd one. Then
    a few objects are selected, say the agent and the odd one, and each object is seen from them, twice: what is in the
    way from one to the other is a matter of three objects, which pairs alone do not show.

    All that has to do with places is done in four views, of the scene as it is and turned by one, two and three
    quarters, with the same weights: what is in the way to the right and what is in the way upwards is learned once.

    Places are read as sines and cosines: to walk past something, left and right have to be told apart to a few pixels,
    and so that is a matter of a linear layer.

    What follows x and y in a token counts as what an object is, and is not turned: a velocity too. On a canvas that is
    not square, quarters are turned in units of its sides.

    Args:
        token_width: numbers per token, x and y first; at least 3.
        width: units per hidden layer; pairs, of which there are many, and the summary of a view get half.
        features: number of features.
    """

    def __init__(self, token_width: int, width: int, features: int) -> None:
        super().__init__()
        self.pairs = _Pairs(token_width - 2, width)
        self.first = _Selected(width)
        self.second = _Selected(width)
        self.scores = nn.Linear(width, SELECTED)
        view_width = max(width // 2, 1)
        self.read = _mlp((SELECTED + 2) * width, view_width)
        self.project = nn.Linear(VIEWS * view_width, features)
        self.apply(_init_orthogonal)

    def forward(self, tokens: Tokens, mask: Mask) -> Features:
        """Features of each set of the batch."""
        tokens, mask = _slots_in_use(tokens, mask)
        xy, looks = tokens[..., :2], tokens[..., 2:]
        turns = _turns(_views(xy))
        nodes = self.pairs(looks, mask)[None]  # the same in all views
        nodes = self.first(nodes, turns, mask)
        nodes = self.second(nodes, turns, mask)
        selected = _select(self.scores(nodes), mask) @ nodes
        read = self.read(torch.cat([selected.flatten(2), _mean_and_max(nodes, mask[None])], dim=2))
        features: Features = self.project(read.transpose(0, 1).flatten(1))
        return features


class _Pairs(nn.Module):
    """What each object is among the others.

    An MLP reads each object alone: classes lie in a learned appearance in ways that a layer on pairs is slow to see.
    Another reads each ordered pair of the results; a third the object's, with the mean and maximum over its partners.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        pair_width = max(width // 2, 1)
        self.look = _mlp(inputs, width, width)
        # Together a linear layer on the concatenated pair, at the cost of one on the objects.
        self.own = nn.Linear(width, width)
        self.partner = nn.Linear(width, width, bias=False)
        self.pair = nn.Linear(width, pair_width)
        self.node = _mlp(width + 2 * pair_width, width, width, width)

    def forward(self, looks: Float[Tensor, "batch used inputs"], mask: Mask) -> Float[Tensor, "batch used width"]:
        looks = self.look(looks)
        others = mask[:, :, None] & mask[:, None, :] & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        # In place, for these are the large arrays: relu_ needs no input for its gradient, and neither does "+".
        pairs = F.relu_(self.own(looks)[:, :, None] + self.partner(looks)[:, None])
        pairs = F.relu_(self.pair(pairs))
        compared: Tensor = self.node(torch.cat([looks, _mean_and_max(pairs, others)], dim=2))
        return compared


class _Selected(nn.Module):
    """How each object stands to a few that are selected: averages of all, with learned weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scores = nn.Linear(width, SELECTED)
        # Together a linear layer on the concatenation, at the cost of one on each part.
        self.own = nn.Linear(width, width)
        self.place = nn.Linear(_REALS, width, bias=False)
        self.selected = nn.Linear(SELECTED * width, width, bias=False)
        self.displacement = nn.Linear(SELECTED * _REALS, width, bias=False)

    def forward(self, nodes: Nodes, turns: Turns, mask: Mask) -> Nodes:
        weights, place = _select(self.scores(nodes), mask), _reals(turns)
        origins = torch.view_as_complex(torch.unflatten(weights @ place, 3, (-1, 2)))
        # The turn of a difference is a product with a conjugate; with that of an average, the average of such turns.
        displacement = turns[:, :, :, None] * origins[:, :, None].conj()
        compared = self.displacement(_reals(displacement).flatten(3)) + self.place(place) + self.own(nodes)
        compared += self.selected((weights @ nodes).flatten(2))[:, :, None]
        return F.relu_(compared)


class AttentionNetwork(nn.Module):
    """Two layers of a pre-norm transformer; the features are read from an extra token, which is always present.

    Args:
        token_width: numbers per token.
        width: units per layer, a multiple of ``ATTENTION_HEADS``.
        features: number of features.
    """

    def __init__(self, token_width: int, width: int, features: int) -> None:
        super().__init__()
        self.embed = nn.Linear(token_width, width)
        self.query = nn.Parameter(torch.randn(width) / math.sqrt(width))
        # No dropout: the probability ratios of PPO need the same function in the rollout and in the update.
        layer = nn.TransformerEncoderLayer(
            width, ATTENTION_HEADS, width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.project = nn.Linear(width, features)

    def forward(self, tokens: Tokens, mask: Mask) -> Features:
        """Features of each set of the batch."""
        tokens, mask = _slots_in_use(tokens, mask)
        objects = self.embed(tokens)
        everything = torch.cat([self.query.expand(len(objects), 1, -1), objects], dim=1)
        ignored = F.pad(~mask, (1, 0), value=False)  # never the query: attention to nothing is NaN
        features: Features = self.project(self.layers(everything, src_key_padding_mask=ignored)[:, 0])
        return features


class DeepSetsNetwork(nn.Module):
    """One MLP reads each object alone, another the mean and the maximum of the results.

    Args:
        token_width: numbers per token.
        width: units per hidden layer.
        features: number of features.
    """

    def __init__(self, token_width: int, width: int, features: int) -> None:
        super().__init__()
        self.phi = _mlp(token_width, width, width)
        self.rho = nn.Sequential(_mlp(2 * width, width), nn.Linear(width, features))

    def forward(self, tokens: Tokens, mask: Mask) -> Features:
        """Features of each set of the batch."""
        features: Features = self.rho(_mean_and_max(self.phi(_without_padding(tokens, mask)), mask))
        return features


class FlatNetwork(nn.Module):
    """One MLP reads all slots and the mask as one vector: the baseline, for which the order of objects matters.

    Args:
        slots: number of slots; fixed, unlike those of the other networks.
        token_width: numbers per token.
        width: units of the hidden layer.
        features: number of features.
    """

    def __init__(self, slots: int, token_width: int, width: int, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_mlp(slots * (token_width + 1), width), nn.Linear(width, features))

    def forward(self, tokens: Tokens, mask: Mask) -> Features:
        """Features of each set of the batch."""
        flat = torch.cat([_without_padding(tokens, mask).flatten(1), mask.to(tokens.dtype)], dim=1)
        features: Features = self.layers(flat)
        return features


def _mlp(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def _init_orthogonal(module: nn.Module) -> None:
    # As Stable-Baselines3 does for PPO and A2C alone: relations are learned about twice as fast from here.
    if isinstance(module, nn.Linear):
        nn.init.orthogonal_(module.weight, math.sqrt(2))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _turns(xy: Float[Tensor, "*axes 2"]) -> Complex[Tensor, "*axes turns"]:
    """Places (x, y) as points of the unit circle."""
    frequencies = xy.new_tensor([2 * math.pi / wavelength for wavelength in _WAVELENGTHS])
    phases = (xy[..., None] * frequencies).flatten(-2)
    return torch.polar(torch.ones_like(phases), phases)


def _reals(turns: Complex[Tensor, "*axes turns"]) -> Float[Tensor, "*axes reals"]:
    return torch.view_as_real(turns).flatten(-2)


def _views(xy: Float[Tensor, "*axes 2"]) -> Float[Tensor, "views *axes 2"]:
    """Places (x, y) as they are, then turned by one, two and three quarters."""
    x, y = xy.unbind(-1)
    return torch.stack([xy, torch.stack([-y, x], -1), -xy, torch.stack([y, -x], -1)])


def _select(
    scores: Float[Tensor, "#views batch used selected"], mask: Mask
) -> Float[Tensor, "#views batch selected used"]:
    """Weights of the objects, which add up to 1, for each that is to be selected; 0 of no objects."""
    scores = scores.masked_fill(~mask[..., None], torch.finfo(scores.dtype).min)  # -inf makes NaN of no objects
    return (scores.softmax(dim=2) * mask[..., None]).transpose(2, 3)


def _without_padding(tokens: Tokens, mask: Mask) -> Tokens:
    return tokens.masked_fill(~mask[..., None], 0.0)


def _slots_in_use(tokens: Tokens, mask: Mask) -> tuple[Float[Tensor, "batch used token"], Bool[Tensor, "batch used"]]:
    """Leaves out slots that no set of the batch uses: with 4 objects in 8 slots, three pairs of four are such."""
    used = mask.any(dim=0)
    used[0] = True  # a maximum needs something to choose from
    return _without_padding(tokens, mask)[:, used], mask[:, used]


def _mean_and_max(
    members: Float[Tensor, "*#batch members width"], present: Bool[Tensor, "*#batch members"]
) -> Float[Tensor, "*batch features"]:
    """Mean and maximum over the members that are present; 0 if none is. Members are ReLUs, never below 0."""
    counted = members * present[..., None]
    mean = counted.sum(dim=-2) / present.sum(dim=-1, keepdim=True).clamp(min=1)
    return torch.cat([mean, counted.amax(dim=-2)], dim=-1)
