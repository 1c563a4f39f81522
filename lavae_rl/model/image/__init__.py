"""Images of sprites at their sites, and their probability: windows, composition, background, likelihood."""
