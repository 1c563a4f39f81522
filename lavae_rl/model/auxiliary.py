"""The auxiliary VAE of the paper's warm-up: where it needs information, there are objects (appendix B; Nash et al.).

It is trained beside LAVAE, never reads or gives a label, and is thrown away. Widths, the size of its latent map and
the smoothing of the map are ours: our copy of the paper lacks the first two and calls the result a rough proxy.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lavae_rl.model.gaussian import Gaussian
from lavae_rl.model.image.likelihood import Bernoulli
from lavae_rl.model.image.windows import gaussian_blur
from lavae_rl.model.networks.layers import conv, residual
from lavae_rl.model.shapes import Images, LogitMaps, PerImage

STRIDE = 4
"""Pixels per cell of the latent map, in each direction."""

HOT = 4.0
"""Log-odds that the map gives an object, and minus that it gives to nothing: presences of 0.98 and 0.02."""

_LEVEL_DECAY = 0.95
"""Decay of the moving average of the nats that an object needs."""

_SPREAD = 0.15
"""Standard deviation of the smoothing, in sprites: enough to join the cells of an object, and not its neighbours."""

KLMap = Float[Tensor, "batch rows columns"]


class AuxiliaryVAE(nn.Module):
    """A fully convolutional VAE: three residual blocks with downsampling between them, and the same upwards.

    It has ``width`` channels at full resolution, twice as many further down, and ``latents`` numbers per cell.
    """

    level: Tensor

    def __init__(self, channels: int, width: int = 16, latents: int = 8) -> None:
        super().__init__()
        self.register_buffer("level", torch.zeros(()))
        self.likelihood = Bernoulli(channels)
        coarse = 2 * width
        self.encoder = nn.Sequential(
            conv(channels, width),
            residual(width),
            conv(width, coarse, stride=2),
            residual(coarse),
            conv(coarse, coarse, stride=2),
            residual(coarse),
            nn.Conv2d(coarse, 2 * latents, 1),
        )
        self.decoder = nn.Sequential(
            conv(latents, coarse),
            residual(coarse),
            nn.Upsample(scale_factor=2),
            conv(coarse, coarse),
            residual(coarse),
            nn.Upsample(scale_factor=2),
            conv(coarse, width),
            residual(width),
        )
        self.mean = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.constant_(self.mean.bias, -2.0)  # type: ignore[arg-type]  # start dark, as canvases are

    def forward(self, images: Images, generator: torch.Generator | None = None) -> tuple[PerImage, KLMap]:
        """Log p(x | z) at one sample of the posterior, and KL(q(z | x) || N(0, I)) of each cell, in nats."""
        height, width = images.shape[2:]
        padded = F.pad(images, (0, -width % STRIDE, 0, -height % STRIDE))
        posterior = Gaussian.of(self.encoder(padded))
        latents, _ = posterior.draw(generator)
        theta = torch.sigmoid(self.mean(self.decoder(latents)).float())[..., :height, :width]
        return self.likelihood.log_prob(images, theta).sum((1, 2, 3)), posterior.kl()

    @torch.no_grad()
    def location_map(self, kl: KLMap, canvas_size: tuple[int, int], sprite_size: int) -> LogitMaps:
        """Target of the location logits: the KL map of ``forward``, as log-odds from -HOT (nothing) to HOT (an object).

        The KL of the cells is smoothed on the pixels of the canvas. How many nats an object needs changes as the VAE
        learns: it is taken to be the 90th percentile of the images' maxima, averaged over batches.
        """
        height, width = canvas_size
        fine = F.interpolate(kl[:, None], scale_factor=STRIDE, mode="bilinear", align_corners=False)
        nats = gaussian_blur(fine[:, 0, :height, :width] / STRIDE**2, sprite_size // 2, _SPREAD * sprite_size)
        level = nats.amax((1, 2)).quantile(0.9)
        self.level.copy_(torch.where(self.level > 0, self.level.lerp(level, 1 - _LEVEL_DECAY), level))
        return (HOT * (2 * nats / self.level.clamp(min=1e-3) - 1)).clamp(max=HOT)
