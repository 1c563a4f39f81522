"""Agents on object tokens: settings, environments, training and evaluation with Stable-Baselines3."""
