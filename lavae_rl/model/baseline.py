"""The paper's baseline: a fully convolutional VAE, whose latents are a map, not objects (appendix B).

The widths and the number of latents per cell are ours: our copy of the paper states about 1M parameters and no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from lavae_rl.model.checkpoint import PretrainedModel
from lavae_rl.model.gaussian import Gaussian
from lavae_rl.model.image.likelihood import Bernoulli, as_images
from lavae_rl.model.networks.layers import conv, layer, residual
from lavae_rl.model.shapes import AnyFrames, Images, PerImage
from lavae_rl.shapes import Frames

STRIDE = 8
"""Pixels per cell of the latent map, in each direction."""

LatentMap = Float[Tensor, "batch latents rows columns"]


@dataclass(frozen=True)
class BaselineConfig:
    """Configuration of a baseline. Raises ValueError on values out of range."""

    channels: int = 3
    """Image channels: 1 (grey) or 3 (RGB)."""
    latents: int = 16
    """Latents per cell: 64 cells on a canvas of 64 x 64."""

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ValueError(f"expected 1 or 3 channels, got {self.channels!r}")
        if not isinstance(self.latents, int) or not 1 <= self.latents <= 1_024:
            raise ValueError(f"expected latents of 1 to 1,024, got {self.latents!r}")


class ConvVAE(PretrainedModel):
    """A VAE without objects; for comparison with ``LAVAE``, whose conventions it shares."""

    model_type = "conv-vae"
    finds_objects = False
    config_type = BaselineConfig

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__()
        self.config = config
        self.likelihood = Bernoulli(config.channels)
        fine, middle, coarse = 24, 48, 96
        self.encoder = nn.Sequential(
            conv(config.channels, fine, stride=2),
            residual(fine),
            nn.Conv2d(fine, middle, 3, 2, padding=1),
            residual(middle),
            nn.Conv2d(middle, coarse, 3, 2, padding=1),
            residual(coarse),
            residual(coarse),
            nn.Conv2d(coarse, 2 * config.latents, 1),
        )
        self.decoder = nn.Sequential(
            layer(nn.ConvTranspose2d(config.latents, coarse, 1, bias=False)),
            residual(coarse, transposed=True),
            residual(coarse, transposed=True),
            nn.ConvTranspose2d(coarse, middle, 4, 2, padding=1),
            residual(middle, transposed=True),
            nn.ConvTranspose2d(middle, fine, 4, 2, padding=1),
            residual(fine, transposed=True),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            conv(fine, fine),
            nn.Conv2d(fine, config.channels, 3, padding=1),
        )
        self.eval()

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    def images(self, frames: AnyFrames) -> Images:
        """Turn frames into what the encoder reads: float32 0 or 1, (batch, channels, height, width), on the device.

        Raises:
            TypeError, ValueError: not uint8 (batch, height, width, channels) of 0 and 255, sides multiples of STRIDE.
        """
        images = as_images(self.likelihood.check(frames, self.device))
        if any(side % STRIDE for side in images.shape[2:]):
            size = tuple(images.shape[2:])
            raise ValueError(f"expected frames with sides that are multiples of {STRIDE}, got {size}")
        return images

    @torch.inference_mode()
    def encode(self, frames: AnyFrames) -> LatentMap:
        """Posterior means of the latent map; frames as in ``images``."""
        return Gaussian.of(self.encoder(self.images(frames))).mean

    @torch.inference_mode()
    def decode(self, latents: LatentMap) -> Float[Tensor, "batch height width channels"]:
        """Pixel means in (0, 1)."""
        return self._theta(latents).permute(0, 2, 3, 1)

    def _theta(self, latents: LatentMap) -> Images:
        # In float32: in bfloat16, the sigmoid would be 1, and its gradient 0, from a logit of 6 on.
        return torch.sigmoid(self.decoder(latents).float())

    def reconstruct(
        self, frames: Frames
    ) -> tuple[Float[np.ndarray, "batch height width channels"], Sequence[Int[np.ndarray, "objects 2"]]]:
        """Pixel means of frames, encoded and decoded; no locations of objects: see ``LAVAE.reconstruct``."""
        return self.decode(self.encode(frames)).cpu().numpy(), [np.zeros((0, 2), int)] * len(frames)

    @torch.inference_mode()
    def sample(
        self, num_images: int, canvas_size: tuple[int, int] = (64, 64), generator: torch.Generator | None = None
    ) -> UInt8[Tensor, "batch height width channels"]:
        """Ancestral samples of whole frames, values 0 and 255; see ``sample_means``."""
        mean = self.sample_means(num_images, canvas_size, generator)
        return self.likelihood.sample(mean, generator).to(torch.uint8) * 255

    def sample_means(
        self, num_images: int, canvas_size: tuple[int, int] = (64, 64), generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch height width channels"]:
        """Pixel means in (0, 1) of latents drawn from their prior N(0, I).

        Raises:
            ValueError: a canvas whose sides are no multiples of STRIDE.
        """
        if any(side < STRIDE or side % STRIDE for side in canvas_size):
            raise ValueError(f"expected canvas_size with sides that are multiples of {STRIDE}, got {canvas_size}")
        shape = (num_images, self.config.latents, *(side // STRIDE for side in canvas_size))
        return self.decode(torch.randn(shape, generator=generator, device=self.device))

    def elbo_terms(self, images: Images, generator: torch.Generator | None = None) -> tuple[PerImage, PerImage]:
        """Log p(x | z) at one sample of the posterior, and KL(q(z | x) || N(0, I)); nats per frame, differentiable."""
        posterior = Gaussian.of(self.encoder(images))
        latents, _ = posterior.draw(generator)
        kl = Gaussian(posterior.mean.flatten(1), posterior.log_variance.flatten(1)).kl()
        return self._log_likelihood(images, latents), kl

    def _log_likelihood(self, images: Images, latents: LatentMap) -> PerImage:
        return self.likelihood.log_prob(images, self._theta(latents)).sum((1, 2, 3))

    @torch.inference_mode()
    def elbo(self, frames: AnyFrames, generator: torch.Generator | None = None) -> PerImage:
        """Single-sample evidence lower bound on log p(x), nats per frame."""
        log_likelihood, kl = self.elbo_terms(self.images(frames), generator)
        return log_likelihood - kl

    @torch.inference_mode()
    def log_likelihood(
        self, frames: AnyFrames, num_samples: int = 100, generator: torch.Generator | None = None
    ) -> PerImage:
        """Importance-weighted lower bound on log p(x), nats per frame; see ``LAVAE.log_likelihood``."""
        if num_samples < 1:
            raise ValueError(f"expected at least 1 importance sample, got {num_samples}")
        images = self.images(frames)
        posterior, weights = Gaussian.of(self.encoder(images)), []
        for _ in range(num_samples):
            latents, noise = posterior.draw(generator)
            weights.append(self._log_likelihood(images, latents) + posterior.log_ratio(latents, noise))
        return torch.stack(weights).logsumexp(0) - torch.tensor(float(num_samples)).log()
