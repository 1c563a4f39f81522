"""Programs that train and measure a LAVAE. What is reusable lives in ``lavae_rl``."""
