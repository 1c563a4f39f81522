"""Frames with the true boxes of their objects, to measure detection with and never to train on."""
