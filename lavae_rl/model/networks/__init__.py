"""The networks of LAVAE, by family."""

from lavae_rl.moved import moved_names

__getattr__ = moved_names(__name__)
