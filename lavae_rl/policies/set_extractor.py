"""Stable-Baselines3's side of the set networks: the features extractor of a policy that observes object tokens."""

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from jaxtyping import Float
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from lavae_rl.policies.set_networks import (
    AttentionNetwork,
    DeepSetsNetwork,
    FlatNetwork,
    RelationNetwork,
    SelectionNetwork,
)

_NETWORKS = {
    "relation": RelationNetwork,
    "attention": AttentionNetwork,
    "deepsets": DeepSetsNetwork,
    "selection": SelectionNetwork,
}
ARCHITECTURES = (*_NETWORKS, "flat")


class SetFeaturesExtractor(BaseFeaturesExtractor):
    """Features of a set of object tokens: neither the order of objects nor the number of slots matters.

    For "MultiInputPolicy"::

        PPO("MultiInputPolicy", venv, policy_kwargs={"features_extractor_class": SetFeaturesExtractor})

    Architectures, all with hidden layers of ``width`` units:
      * "relation": MLPs on each object and on each pair of objects by appearance, then, in four rotations, on the
        positions of all objects relative to three selected ones; the one to start with where objects are compared;
      * "attention": a small transformer, cheaper than "relation";
      * "deepsets": an MLP on each object, then mean and maximum; the cheapest;
      * "selection": an MLP on each object selects a few, whose tokens are read together; nearly as cheap, and the one
        to start with where agents control moving objects;
      * "flat": an MLP on the concatenated slots, a baseline for which the order matters.

    PPO and A2C initialise linear layers orthogonally (``ortho_init=True``), those of the extractor too. Leave it on:
    "relation" is initialised like that for all algorithms, and the others learn about as fast either way.

    Args:
        observation_space: ``{"tokens": Box (K, D), "mask": MultiBinary (K,)}``, as ``LAVAEObservation`` and its
            vector versions return it. Any further entries are one-dimensional Boxes, appended to the features.
        arch: architecture, see above; "relation" needs tokens with an appearance, D of at least 3.
        features_dim: number of features made of the tokens. The attribute ``features_dim``, which
            Stable-Baselines3 reads, also counts what is appended.
        width: units per hidden layer; for "attention" a multiple of 4.
        last_scales: factors of the last numbers of a token, for example of a velocity, which is small.
        appearance_scale: factor of the appearance: of the numbers between x, y and those with ``last_scales``.

    Raises:
        TypeError: the observation space is not a dictionary, or has entries of other kinds or shapes.
        ValueError: missing entries, unknown ``arch``, or sizes out of range.
    """

    _scales: Tensor

    def __init__(
        self,
        observation_space: "spaces.Space[Any]",
        arch: str = "relation",
        features_dim: int = 64,
        width: int = 48,
        last_scales: Sequence[float] = (),
        appearance_scale: float = 1.0,
    ) -> None:
        if features_dim < 1 or width < 1:
            raise ValueError(f"expected features_dim and width of at least 1, got {features_dim} and {width}")
        if arch not in ARCHITECTURES:
            raise ValueError(f"expected arch as one of {', '.join(ARCHITECTURES)}, got {arch!r}")
        slots, token_width, others = _sizes(observation_space)
        if len(last_scales) > token_width:
            raise ValueError(f"expected at most {token_width} last_scales, one for each number, got {last_scales}")
        super().__init__(observation_space, features_dim + sum(others.values()))
        sizes = (token_width, width, features_dim)
        self.network = FlatNetwork(slots, *sizes) if arch == "flat" else _NETWORKS[arch](*sizes)
        self._others = tuple(others)
        # Not part of the weights: agents saved without scales keep loading.
        scales, last = torch.ones(token_width), token_width - len(last_scales)
        scales[2:last] = appearance_scale
        scales[last:] = torch.tensor(last_scales)
        self.register_buffer("_scales", scales, persistent=False)

    def forward(self, observations: dict[str, Tensor]) -> Float[Tensor, "batch features"]:
        """Features of a batch: "tokens" (batch, slots, D), "mask" (batch, slots) of 0 and 1, and the further entries.

        Slots may be more or fewer than in the observation space, unless ``arch="flat"``.
        """
        features = self.network(observations["tokens"] * self._scales, observations["mask"] > 0.5)
        return torch.cat([features, *(observations[key] for key in self._others)], dim=1)


def _kind(space: "spaces.Space[Any]") -> str:
    return f"{type(space).__name__} of shape {space.shape}"


def _sizes(space: "spaces.Space[Any]") -> tuple[int, int, dict[str, int]]:
    """Number of slots, numbers per token, and the length of each further entry."""
    if not isinstance(space, spaces.Dict):
        raise TypeError(
            f'expected a dictionary observation with "tokens" and "mask", got a {_kind(space)}: wrap frames in '
            'VecLAVAEObservation; flat tokens need no features extractor, use "MlpPolicy" without it, or flatten=False'
        )
    entries: dict[str, Any] = dict(space.spaces)
    if missing := sorted({"tokens", "mask"} - entries.keys()):
        raise ValueError(
            f'expected observations with "tokens" and "mask", got {sorted(entries)} without {missing}: '
            "wrap the environment in LAVAEObservation, or rename the entries"
        )
    tokens, mask = entries.pop("tokens"), entries.pop("mask")
    table = isinstance(tokens, spaces.Box) and len(tokens.shape) == 2 and min(tokens.shape) > 0
    if not table or not isinstance(mask, spaces.MultiBinary) or mask.shape != tokens.shape[:1]:
        raise TypeError(
            f'expected "tokens" as a Box (K, D) and "mask" as MultiBinary(K), got {_kind(tokens)} and {_kind(mask)}'
        )
    for key, entry in entries.items():
        if not isinstance(entry, spaces.Box) or len(entry.shape) != 1:
            raise TypeError(
                f"expected entries beside the tokens as one-dimensional Boxes, got {key!r}, a {_kind(entry)}: "
                "flatten it, or leave it out with gymnasium.wrappers.FilterObservation"
            )
    return *tokens.shape, {key: entry.shape[0] for key, entry in entries.items()}
