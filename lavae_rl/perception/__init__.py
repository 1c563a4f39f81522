"""Perception: frames of an environment to object tokens, in Gymnasium's and Stable-Baselines3's terms."""
