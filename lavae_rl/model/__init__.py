"""The model: networks, posterior, objective."""
