"""Diagonal Gaussian posteriors of continuous latents, whose prior is N(0, I)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

LOG_VARIANCE_RANGE = (-12.0, 4.0)
"""Bounds of the log-variance: keeps exp() finite whatever the input."""

Values = Float[Tensor, "batch latents *map"]


class Gaussian(NamedTuple):
    """N(mean, exp(log_variance)), in float32: rows of latents, or maps of them."""

    mean: Values
    log_variance: Values

    @classmethod
    def of(cls, features: Float[Tensor, "batch features *map"]) -> "Gaussian":
        """The posterior that a network's output stands for, in float32 even where networks are not."""
        mean, log_variance = features.float().chunk(2, dim=1)
        return cls(mean, log_variance.clamp(*LOG_VARIANCE_RANGE))

    def draw(self, generator: torch.Generator | None) -> tuple[Values, Values]:
        """A sample, differentiable in both parameters, and the standard normal noise that it is made of."""
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device)
        return self.mean + noise * (0.5 * self.log_variance).exp(), noise

    def kl(self) -> Float[Tensor, " batch *map"]:
        """KL(N(mean, exp(log_variance)) || N(0, I)) of each row, or of each cell of a map, in nats."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance).sum(1)

    def log_ratio(self, sample: Values, noise: Values) -> Float[Tensor, " batch"]:
        """Log p(z) - log q(z) of each row or map at a sample of ``draw``: the constants log 2 pi cancel."""
        return 0.5 * (noise.square() + self.log_variance - sample.square()).flatten(1).sum(1)
