"""Networks that read a set of object tokens: neither the order of the slots nor the content of unused ones matters.

A token has ``token_width`` numbers, a hidden layer ``width`` units, and the result ``features`` numbers. Sets are
summarised by means, maxima and softmax averages, never by sums: features keep their scale when there are more objects
than in training. Unused slots contribute exact zeros, so the empty set is an input like any other, with finite
gradients.
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

Nodes = Float[Tensor, "#rotations batch used width"]
"""Features of each object, the same in all rotations or one for each."""
Fourier = Complex[Tensor, "rotations batch used frequencies"]
"""Fourier features of each object's position: exp(2 pi i x / wavelength) for x and y at each wavelength."""

ATTENTION_HEADS = 4

SELECTED = 3
"""Number of objects that "relation" selects at a time."""

SELECTIONS = 6
"""Number of objects that "selection" selects."""

ROTATIONS = 4
"""Number of rotations in which "relation" reads a scene: those that map a canvas of pixels onto itself."""

_WAVELENGTHS = (4.0, 2.0, 1.0, 0.5)
"""Wavelengths of the Fourier features in units of half a canvas: from two canvases to a sprite."""

_REALS = 2 * 2 * len(_WAVELENGTHS)
"""Number of real and imaginary parts of the Fourier features of a position."""


class RelationNetwork(nn.Module):
    """Network that compares pairs by appearance, then relates all objects to a few selected ones, in four rotations.

    The comparison of pairs finds what an object is among the others, for example the odd one. Then a few objects are
    selected, for example the agent and the odd one, and each object is related to them, twice: whether something
    stands between two objects is a relation of three, which pairs alone do not contain.

    Positions are read in four rotations of the scene, by 0, 90, 180 and 270 degrees, with the same weights: what is
    learned about obstacles to the right holds for obstacles above. They are read as Fourier features: to walk around
    an object, left and right must be separated within a few pixels, and with these a linear layer can do so.

    All numbers of a token after x and y count as appearance and are not rotated, not even a velocity. On a canvas that
    is not square, positions are rotated in units of its sides.

    Tokens have at least 3 numbers, x and y first. Layers on pairs, which are many, and on the summary of a rotation
    have half of the ``width``.
    """

    def __init__(self, token_width: int, width: int, features: int) -> None:
        super().__init__()
        if token_width < 3:
            raise ValueError(f'expected for "relation" tokens of x, y and an appearance, got {token_width} numbers')
        self.pairs = _Pairs(token_width - 2, width)
        self.first, self.second = _Selected(width), _Selected(width)
        self.scores = nn.Linear(width, SELECTED)
        summary_width = max(width // 2, 1)
        self.read = _mlp((SELECTED + 2) * width, summary_width)
        self.project = nn.Linear(ROTATIONS * summary_width, features)
        self.apply(_init_orthogonal)

    def forward(self, tokens: Tokens, mask: Mask) -> Features:
        """Features of each set of the batch."""
        tokens, mask = _slots_in_use(tokens, mask)
        fourier = _fourier_features(_rotations(tokens[..., :2]))
        nodes = self.pairs(tokens[..., 2:], mask)[None]  # the same in all rotations
        nodes = self.second(self.first(nodes, fourier, mask), fourier, mask)
        selected = _select(self.scores(nodes), mask) @ nodes
        read = self.read(torch.cat([selected.flatten(2), _mean_and_max(nodes, mask[None])], dim=2))
        return self.project(read.transpose(0, 1).flatten(1))


class _Pairs(nn.Module):
    """Features of each object among the others.

    One MLP reads each appearance alone, since classes are separated in it in ways that a layer on pairs learns slowly.
    A second reads each ordered pair of the results; a third reads the object's with the mean and maximum of its pairs.
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

    def forward(self, appearance: Float[Tensor, "batch used inputs"], mask: Mask) -> Float[Tensor, "batch used width"]:
        looks = self.look(appearance)
        others = mask[:, :, None] & mask[:, None, :] & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        # In place, since these arrays are large: neither relu_ nor "+" needs its input for its gradient.
        pairs = F.relu_(self.own(looks)[:, :, None] + self.partner(looks)[:, None])
        pairs = F.relu_(self.pair(pairs))
        return self.node(torch.cat([looks, _mean_and_max(pairs, others)], dim=2))


class _Selected(nn.Module):
    """Relations of each object to a few selected ones, which are averages of all objects with learned weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scores = nn.Linear(width, SELECTED)
        # Together a linear layer on the concatenation, at the cost of one on each part.
        self.own = nn.Linear(width, width)
        self.place = nn.Linear(_REALS, width, bias=False)
        self.selected = nn.Linear(SELECTED * width, width, bias=False)
        self.displacement = nn.Linear(SELECTED * _REALS, width, bias=False)

    def forward(self, nodes: Nodes, fourier: Fourier, mask: Mask) -> Nodes:
        weights, place = _select(self.scores(nodes), mask), _reals(fourier)
        origins = torch.view_as_complex(torch.unflatten(weights @ place, 3, (-1, 2)))
        # The feature of a difference is a product with a conjugate; with an averaged conjugate, the average of these.
        displacement = fourier[:, :, :, None] * origins[:, :, None].conj()
        compared = self.displacement(_reals(displacement).flatten(3)) + self.place(place) + self.own(nodes)
        compared += self.selected((weights @ nodes).flatten(2))[:, :, None]
        return F.relu_(compared)


class AttentionNetwork(nn.Module):
    """Two layers of a pre-norm transformer; the features are read from an extra token, which is always present."""

    def __init__(self, token_width: int, width: int, features: int) -> None:
        super().__init__()
        if width % ATTENTION_HEADS:
            raise ValueError(f'expected for "attention" a width that is a multiple of {ATTENTION_HEADS}, got {width}')
        self.embed = nn.Linear(token_width, width)
        self.query = nn.Parameter(torch.randn(width) / math.sqrt(width))
        # No dropout: the probability ratios of PPO need the same function in the rollout and in the update.
        layer = nn.TransformerEncoderLayer(width, ATTENTION_HEADS, width, 0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.project = nn.Linear(width, features)

    def forward(self, tokens: Tokens, mask: Mask) -> Features:
        """Features of each set of the batch."""
        tokens, mask = _slots_in_use(tokens, mask)
        everything = torch.cat([self.query.expand(len(tokens), 1, -1), self.embed(tokens)], dim=1)
        ignored = F.pad(~mask, (1, 0), value=False)  # never the query: attention to nothing is NaN
        return self.project(self.layers(everything, src_key_padding_mask=ignored)[:, 0])


class DeepSetsNetwork(nn.Module):
    """One MLP reads each object alone, another the mean and the maximum of the results."""

    def __init__(self, token_width: int, width: int, features: int) -> None:
        super().__init__()
        self.phi = _mlp(token_width, width, width)
        self.rho = nn.Sequential(_mlp(2 * width, width), nn.Linear(width, features))

    def forward(self, tokens: Tokens, mask: Mask) -> Features:
        """Features of each set of the batch."""
        return self.rho(_mean_and_max(self.phi(_without_padding(tokens, mask)), mask))


class SelectionNetwork(nn.Module):
    """Network that selects a few objects, and reads the features of each of them.

    An MLP reads each object and scores it. A selection is the average of all objects, weighted by a softmax of scores:
    one of them can be the ball, another the paddle, wherever they stand. The tokens of selected objects are handed on
    as they are, so the next layer computes a difference of two positions exactly. That is pooling by attention with
    learned queries (Lee et al. 2019), with values that skip the first layers.
    """

    def __init__(self, token_width: int, width: int, features: int) -> None:
        super().__init__()
        self.look = _mlp(token_width, width, width)
        self.scores = nn.Linear(width, SELECTIONS)
        self.project = nn.Linear(width, token_width)
        self.read = nn.Sequential(
            _mlp(SELECTIONS * 2 * token_width + 2 * width, 2 * width), nn.Linear(2 * width, features)
        )

    def forward(self, tokens: Tokens, mask: Mask) -> Features:
        """Features of each set of the batch."""
        tokens = _without_padding(tokens, mask)
        looks = self.look(tokens)
        weights = _select(self.scores(looks)[None], mask)[0]
        selected = weights @ torch.cat([tokens, self.project(looks)], dim=2)
        return self.read(torch.cat([selected.flatten(1), _mean_and_max(looks, mask)], dim=1))


class FlatNetwork(nn.Module):
    """One MLP reads a fixed number of slots and the mask as one vector: a baseline for which the order matters."""

    def __init__(self, slots: int, token_width: int, width: int, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_mlp(slots * (token_width + 1), width), nn.Linear(width, features))

    def forward(self, tokens: Tokens, mask: Mask) -> Features:
        """Features of each set of the batch."""
        flat = torch.cat([_without_padding(tokens, mask).flatten(1), mask.to(tokens.dtype)], dim=1)
        return self.layers(flat)


def _mlp(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def _init_orthogonal(module: nn.Module) -> None:
    # Stable-Baselines3 does so for PPO and A2C only; from here relations are learned about twice as fast.
    if isinstance(module, nn.Linear):
        nn.init.orthogonal_(module.weight, math.sqrt(2))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _fourier_features(xy: Float[Tensor, "*axes 2"]) -> Complex[Tensor, "*axes frequencies"]:
    frequencies = xy.new_tensor([2 * math.pi / wavelength for wavelength in _WAVELENGTHS])
    phases = (xy[..., None] * frequencies).flatten(-2)
    return torch.polar(torch.ones_like(phases), phases)


def _reals(fourier: Complex[Tensor, "*axes frequencies"]) -> Float[Tensor, "*axes reals"]:
    return torch.view_as_real(fourier).flatten(-2)


def _rotations(xy: Float[Tensor, "*axes 2"]) -> Float[Tensor, "rotations *axes 2"]:
    """Positions (x, y) rotated by 0, 90, 180 and 270 degrees."""
    x, y = xy.unbind(-1)
    return torch.stack([xy, torch.stack([-y, x], -1), -xy, torch.stack([y, -x], -1)])


def _select(
    scores: Float[Tensor, "#rotations batch used selected"], mask: Mask
) -> Float[Tensor, "#rotations batch selected used"]:
    """Weights of the objects, with sum 1, for each object to select; all 0 if there are no objects."""
    scores = scores.masked_fill(~mask[..., None], torch.finfo(scores.dtype).min)  # -inf gives NaN without objects
    return (scores.softmax(dim=2) * mask[..., None]).transpose(2, 3)


def _without_padding(tokens: Tokens, mask: Mask) -> Tokens:
    return tokens.masked_fill(~mask[..., None], 0.0)


def _slots_in_use(tokens: Tokens, mask: Mask) -> tuple[Float[Tensor, "batch used token"], Bool[Tensor, "batch used"]]:
    """Drop slots that no set of the batch uses: with 4 objects in 8 slots, three pairs of four are in such slots."""
    used = mask.any(dim=0)
    used[0] = True  # a maximum needs at least one value
    return _without_padding(tokens, mask)[:, used], mask[:, used]


def _mean_and_max(
    members: Float[Tensor, "*#batch members width"], present: Bool[Tensor, "*#batch members"]
) -> Float[Tensor, "*batch features"]:
    """Mean and maximum over the members that are present, 0 if none is; members come from ReLUs, so are at least 0."""
    counted = members * present[..., None]
    mean = counted.sum(dim=-2) / present.sum(dim=-1, keepdim=True).clamp(min=1)
    return torch.cat([mean, counted.amax(dim=-2)], dim=-1)
