"""Programs that train, evaluate and compare agents."""
