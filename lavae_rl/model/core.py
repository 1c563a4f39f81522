"""The parts of LAVAE that its objective needs: networks, image model, prior p(n), sharpness of q(l | x)."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.image.background import Background, black
from lavae_rl.model.image.composition import Composition, add_sprites
from lavae_rl.model.image.likelihood import Bernoulli, Likelihood
from lavae_rl.model.networks import families
from lavae_rl.model.objects import Detections
from lavae_rl.model.posterior import find_peaks
from lavae_rl.model.shapes import AnyFrames, Images


class LAVAECore(nn.Module):
    """Networks and distributions of LAVAE, on images; ``LAVAE`` is its public face, on frames."""

    def __init__(self, config: LAVAEConfig) -> None:
        super().__init__()
        self.config = config
        family = families.FAMILIES[config.networks]
        shape = (config.channels, config.sprite_size, config.latents)
        self.location_network = family.location(config.channels)
        self.appearance_network = family.appearance(*shape)
        self.sprite_decoder = family.decoder(*shape)
        self.background: Background = black
        self.composition: Composition = add_sprites
        self.likelihood: Likelihood = Bernoulli(config.channels)
        self.count_logits = nn.Parameter(torch.zeros(config.max_objects + 1))
        # Starts at "log-odds are logits": sharpness * log(L) = 1 on the paper's canvas of 64 x 64.
        self.log_sharpness = nn.Parameter(torch.tensor(-math.log(math.log(64 * 64))))
        self.eval()  # encoding must never depend on the batch; training asks for train() itself

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.count_logits.device

    @property
    def sharpness(self) -> Tensor:
        """Inverse temperature of q(l | x), positive, learned; see ``posterior.location_log_probs``."""
        return self.log_sharpness.exp()

    @property
    def count_log_probs(self) -> Float[Tensor, " counts"]:
        """Log p(n) for n = 0..N_max, eq. (2)."""
        return F.log_softmax(self.count_logits, dim=0)

    def images(self, frames: AnyFrames) -> Images:
        """Turns frames into what the networks read: float32 (batch, channels, height, width), on the device.

        Raises:
            TypeError: not a uint8 array.
            ValueError: wrong rank, channels or size, or values that the likelihood refuses.
        """
        images = self.likelihood.images(frames, self.device)
        if min(images.shape[2:]) < self.config.sprite_size:
            raise ValueError(
                f"expected frames of at least {self.config.sprite_size} px a side, got {tuple(images.shape[2:])}"
            )
        return images

    @torch.inference_mode()
    def detect(self, images: Images) -> Detections:
        """q(n | x) and the mode of q(l | x): every object of every image, the most confident first."""
        return find_peaks(self.location_network(images))
