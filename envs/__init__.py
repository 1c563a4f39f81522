"""Environments made of the same sprites as the data sets; importing ``lavae_rl`` registers them (``LAVAE/...-v0``)."""

from .collect import CollectEnv
from .digit_order import DigitOrderEnv
from .largest import LargestEnv
from .match_digit import MatchDigitEnv
from .object_goal import ObjectGoalEnv
from .odd_one_out import OddOneOutEnv
from .push import PushEnv
from .sprite_env import SpriteEnv, SpriteVectorEnv

__all__ = [
    "CollectEnv",
    "DigitOrderEnv",
    "LargestEnv",
    "MatchDigitEnv",
    "ObjectGoalEnv",
    "OddOneOutEnv",
    "PushEnv",
    "SpriteEnv",
    "SpriteVectorEnv",
]
