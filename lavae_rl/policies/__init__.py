"""Policy networks that read sets of object tokens."""
