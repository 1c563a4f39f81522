"""Stable-Baselines3's side of the set networks: the features extractor of a policy that observes object tokens."""

from typing import Any

import torch
from gymnasium import spaces
from jaxtyping import Float
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from lavae_rl.policies.set_networks import (
    ATTENTION_HEADS,
    AttentionNetwork,
    DeepSetsNetwork,
    FlatNetwork,
    RelationNetwork,
)

ARCHITECTURES = ("relation", "attention", "deepsets", "flat")


class SetFeaturesExtractor(BaseFeaturesExtractor):
    """Reads object tokens as a set: features do not depend on the order of objects, nor on the number of slots.

    For "MultiInputPolicy"::

        PPO("MultiInputPolicy", venv, policy_kwargs={"features_extractor_class": SetFeaturesExtractor})

    Architectures, all with hidden layers of ``width``:
      * "relation": MLPs on what each object and then each pair of objects is, and, in four views, on where each object
        is from three selected ones, twice; the one to start with where objects must be compared;
      * "attention": a small transformer, cheaper than "relation";
      * "deepsets": an MLP on each object, then mean and maximum; the cheapest;
      * "flat": an MLP on the concatenated slots: the baseline, for which the order matters.

    The first three summarise by averages and maxima, never by sums: features stay in range with more objects than in
    training, and say little about how many there are.

    PPO and A2C initialise linear layers orthogonally (``ortho_init=True``), those of the extractor too. Leave it on:
    "relation" is initialised like that anyway, for all algorithms, and the others learn about as fast either way.

    Args:
        observation_space: ``{"tokens": Box (K, D), "mask": MultiBinary (K,)}``, as ``LAVAEObservation`` and its
            vector versions give it. Any further entries are one-dimensional Boxes: they are appended to the features.
        arch: architecture, see above.
        features_dim: number of features made of the tokens. The attribute ``features_dim``, which
            Stable-Baselines3 reads, also counts what is appended.
        width: units per hidden layer; for "attention" a multiple of 4.

    Raises:
        TypeError: the observation space is not a dictionary, or has entries of other kinds.
        ValueError: missing entries, shapes that do not fit, tokens without appearance for "relation", unknown ``arch``,
            sizes below 1.
    """

    def __init__(
        self, observation_space: "spaces.Space[Any]", arch: str = "relation", features_dim: int = 64, width: int = 48
    ) -> None:
        entries = _entries(observation_space)
        slots, token_width = _token_shape(entries)
        others = _others(entries)
        network = _make_network(arch, slots, token_width, width, features_dim)
        super().__init__(observation_space, features_dim + sum(others.values()))
        self.network = network
        self._others = tuple(others)

    def forward(self, observations: dict[str, Tensor]) -> Float[Tensor, "batch features"]:
        """Features of a batch.

        Args:
            observations: "tokens" (batch, slots, D) and "mask" (batch, slots) of 0 and 1, and the further entries.
                Slots may be more or fewer than in the observation space, unless ``arch="flat"``.
        """
        features = self.network(observations["tokens"], observations["mask"] > 0.5)
        return torch.cat([features, *(observations[key] for key in self._others)], dim=1)


def _entries(space: "spaces.Space[Any]") -> dict[str, Any]:
    """The spaces of a dictionary."""
    if not isinstance(space, spaces.Dict):
        raise TypeError(
            f'expected a dictionary observation with "tokens" and "mask", got a {_kind(space)}: wrap frames in '
            'VecLAVAEObservation; flat tokens need no features extractor, use "MlpPolicy" without it, or flatten=False'
        )
    return dict(space.spaces)


def _kind(space: "spaces.Space[Any]") -> str:
    return f"{type(space).__name__} of shape {space.shape}"


def _token_shape(entries: dict[str, Any]) -> tuple[int, int]:
    """Number of slots, and of numbers per token."""
    if missing := sorted({"tokens", "mask"} - entries.keys()):
        raise ValueError(
            f'expected observations with "tokens" and "mask", got {sorted(entries)} without {missing}: '
            "wrap the environment in LAVAEObservation, or rename the entries"
        )
    tokens, mask = entries["tokens"], entries["mask"]
    if not isinstance(tokens, spaces.Box) or not isinstance(mask, spaces.MultiBinary):
        raise TypeError(
            f'expected "tokens" as a Box (K, D) and "mask" as MultiBinary(K), got {_kind(tokens)} and {_kind(mask)}'
        )
    if len(tokens.shape) != 2 or min(tokens.shape) < 1 or mask.shape != tokens.shape[:1]:
        raise ValueError(
            f'expected "tokens" of shape (K, D) and "mask" of shape (K,), got {tokens.shape} and {mask.shape}: '
            "one row per slot, and one bit"
        )
    slots, token_width = tokens.shape
    return slots, token_width


def _others(entries: dict[str, Any]) -> dict[str, int]:
    """Length of each further entry."""
    lengths = {}
    for key, entry in entries.items():
        if key in ("tokens", "mask"):
            continue
        if not isinstance(entry, spaces.Box) or len(entry.shape) != 1:
            raise TypeError(
                f"expected entries beside the tokens as one-dimensional Boxes, got {key!r}, a {_kind(entry)}: "
                "flatten it, or leave it out with gymnasium.wrappers.FilterObservation"
            )
        lengths[key] = entry.shape[0]
    return lengths


def _make_network(arch: str, slots: int, token_width: int, width: int, features: int) -> nn.Module:
    if features < 1 or width < 1:
        raise ValueError(f"expected features_dim and width of at least 1, got {features} and {width}")
    match arch:
        case "relation":
            if token_width < 3:
                raise ValueError(f'expected for "relation" tokens of x, y and an appearance, got {token_width} numbers')
            return RelationNetwork(token_width, width, features)
        case "attention":
            if width % ATTENTION_HEADS:
                raise ValueError(
                    f'expected for "attention" a width that is a multiple of {ATTENTION_HEADS}, got {width}'
                )
            return AttentionNetwork(token_width, width, features)
        case "deepsets":
            return DeepSetsNetwork(token_width, width, features)
        case "flat":
            return FlatNetwork(slots, token_width, width, features)
    raise ValueError(f"expected arch as one of {', '.join(ARCHITECTURES)}, got {arch!r}")
