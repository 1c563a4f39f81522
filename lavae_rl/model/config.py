"""What is needed to rebuild a LAVAE, apart from its weights."""

from dataclasses import dataclass

from lavae_rl.model.networks.families import FAMILIES


@dataclass(frozen=True)
class LAVAEConfig:
    """Configuration of a model. Raises ValueError on values out of range."""

    channels: int = 3
    """Image channels: 1 (grey) or 3 (RGB)."""
    sprite_size: int = 21
    """Side S of a decoded sprite and of the window its appearance is read from, in pixels; odd."""
    latents: int = 8
    """Number D of appearance latents per object."""
    max_objects: int = 3
    """N_max, the largest count in training and the last class of the learned prior p(n); inference has no limit."""
    networks: str = "fast"
    """Network family, a key of ``lavae_rl.model.networks.families.FAMILIES``."""

    def __post_init__(self) -> None:
        for name in ("channels", "sprite_size", "latents", "max_objects"):
            if not isinstance(getattr(self, name), int):
                raise ValueError(f"expected {name} to be a whole number, got {getattr(self, name)!r}")
        if self.channels not in (1, 3):
            raise ValueError(f"expected 1 or 3 channels, got {self.channels!r}")
        if self.sprite_size < 5 or self.sprite_size % 2 == 0:
            raise ValueError(f"expected an odd sprite_size of at least 5, got {self.sprite_size!r}")
        if self.latents < 1 or self.max_objects < 1:
            raise ValueError(f"expected latents and max_objects of at least 1, got {self.latents}, {self.max_objects}")
        if self.networks not in FAMILIES:
            raise ValueError(f"expected networks to be one of {sorted(FAMILIES)}, got {self.networks!r}")
