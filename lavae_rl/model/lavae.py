"""LAVAE: the model (Dittadi & Winther 2019, arXiv 1909.11813)."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lavae_rl.model import checkpoint
from lavae_rl.model.canvas import compose
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.frames import to_images
from lavae_rl.model.networks import families
from lavae_rl.model.objects import Detections, Objects
from lavae_rl.model.posterior import find_peaks
from lavae_rl.model.shapes import AnyFrames, Images


class LAVAE(nn.Module):
    """Counts, locates and describes the sprites of a scene; and draws scenes.

    The public methods work on frames, uint8 (batch, height, width, channels) of values 0 and 255, on any canvas that
    holds a sprite. ``from_pretrained`` gives a trained model; ``LAVAE(config)`` an untrained one.
    """

    def __init__(self, config: LAVAEConfig) -> None:
        super().__init__()
        self.config = config
        family = families.FAMILIES[config.networks]
        shape = (config.channels, config.sprite_size, config.latents)
        self.location_network = family.location(config.channels)
        self.appearance_network = family.appearance(*shape)
        self.sprite_decoder = family.decoder(*shape)
        self.count_logits = nn.Parameter(torch.zeros(config.max_objects + 1))
        self._folded: tuple[object, nn.Module] | None = None
        self._warned = False
        # Starts at "log-odds are logits": sharpness * log(L) = 1 on the paper's canvas of 64 x 64.
        self.log_sharpness = nn.Parameter(torch.tensor(-float(np.log(np.log(64 * 64)))))
        self.eval()  # encoding must never depend on the batch; training asks for train() itself

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.count_logits.device

    @property
    def sharpness(self) -> Tensor:
        """Learned factor of the location logits inside q(l | x), positive; see ``posterior.location_log_probs``."""
        return self.log_sharpness.exp()

    @property
    def count_log_probs(self) -> Float[Tensor, " counts"]:
        """Log p(n) for n = 0..N_max, eq. (2)."""
        return F.log_softmax(self.count_logits, dim=0)

    def images(self, frames: AnyFrames) -> Images:
        """Turns frames into what the networks read: float32 0 or 1, (batch, channels, height, width), on the device.

        Raises:
            TypeError: not a uint8 array.
            ValueError: wrong rank, channels or size, or values other than 0 and 255.
        """
        images = to_images(frames, self.config.channels, self.device)
        if min(images.shape[2:]) < self.config.sprite_size:
            raise ValueError(
                f"expected frames of at least {self.config.sprite_size} px a side, got {tuple(images.shape[2:])}"
            )
        return images

    @torch.inference_mode()
    def detect(self, images: Images) -> Detections:
        """q(n | x) and the mode of q(l | x): every object of every image, the surest first."""
        return find_peaks(self.location_network(images))

    @torch.inference_mode()
    def encode(self, frames: AnyFrames, max_objects: int | None = None) -> Objects:
        """Finds the objects: their number, locations and appearances. Deterministic.

        Args:
            frames: uint8 (batch, height, width, channels), values 0 and 255, NumPy or torch.
            max_objects: number of slots, at least 1; of more objects the surest are kept, and the first time this
                happens it is warned about. None gives as many slots as the fullest frame has objects.

        Returns:
            Objects of the same kind (NumPy or torch).

        Raises:
            TypeError, ValueError: see ``images``.
        """
        if max_objects is not None and max_objects < 1:
            raise ValueError(f"expected max_objects of at least 1, got {max_objects}")
        images = self.images(frames)
        logits = self._folded_location_network()(images)
        found = find_peaks(logits)
        presence = logits[found.image_index, found.location[:, 0], found.location[:, 1]].sigmoid()
        mean, log_variance = self.appearance_network(images, found.image_index, found.location)
        canvas_size = (images.shape[2], images.shape[3])
        described = {"presence": presence, "appearance": mean, "appearance_variance": log_variance.exp()}
        objects = Objects.from_detections(found, canvas_size, max_objects, **described)
        self._warn_of_dropped(objects)
        return objects.numpy() if isinstance(frames, np.ndarray) else objects

    def _folded_location_network(self) -> nn.Module:
        """The location network as evaluation wants it: batch norms folded, rebuilt whenever a weight has changed."""
        state = self.location_network.state_dict().values()
        version = tuple((value.data_ptr(), value._version) for value in state)
        if self._folded is None or self._folded[0] != version:
            self._folded = (version, families.fold_batch_norms(self.location_network))
        return self._folded[1]

    def _warn_of_dropped(self, objects: Objects) -> None:
        if not self._warned and len(objects.count) and (most := int(objects.dropped.max())):
            self._warned = True
            slots = objects.mask.shape[1]
            warnings.warn(
                f"a frame has {slots + most} objects, max_objects={slots} keeps the surest; "
                "Objects.dropped counts the others from now on",
                stacklevel=3,
            )

    @torch.inference_mode()
    def decode(self, objects: Objects) -> Float[np.ndarray | Tensor, "..."]:
        """Draws objects on their canvas: pixel means in [0, 1], NumPy if the objects are, torch otherwise.

        Raises:
            ValueError: a location off the canvas.
        """
        mean = self._pixel_means(objects.torch(self.device))
        return mean.cpu().numpy() if isinstance(objects.count, np.ndarray) else mean

    @torch.inference_mode()
    def decode_sprites(self, objects: Objects) -> Float[np.ndarray, "batch slots size size channels"]:
        """The sprite of each object by itself: pixel means in [0, 1], black in unused slots."""
        given = objects.torch(self.device)
        shape = (*given.mask.shape, self.config.channels, self.config.sprite_size, self.config.sprite_size)
        sprites = torch.zeros(shape, device=self.device)
        sprites[given.mask] = self.sprite_decoder(given.appearance[given.mask])
        return sprites.permute(0, 1, 3, 4, 2).cpu().numpy()

    def _pixel_means(self, given: Objects) -> Float[Tensor, "batch height width channels"]:
        image_index, slot = given.mask.nonzero(as_tuple=True)
        location = given.location[image_index, slot]
        limit = torch.tensor(given.canvas_size, device=self.device)
        if ((location < 0) | (location >= limit)).any():
            raise ValueError(f"expected locations on the {given.canvas_size} canvas, got {location.tolist()}")
        sprites = self.sprite_decoder(given.appearance[image_index, slot])
        mean = compose(sprites, image_index, location, len(given.count), given.canvas_size)
        return mean.clamp(0, 1).permute(0, 2, 3, 1)

    @torch.inference_mode()
    def sample_objects(
        self,
        num_images: int,
        num_objects: int | None = None,
        canvas_size: tuple[int, int] = (64, 64),
        generator: torch.Generator | None = None,
    ) -> Objects:
        """Draws from the prior p(n) p(l | n) p(a | n) of eq. (1), as tensors on the model's device.

        Args:
            num_images: how many scenes.
            num_objects: the same count for all; None samples the learned prior of eq. (2).
            canvas_size: (height, width) in pixels.
            generator: source of randomness, on the model's device.

        Raises:
            ValueError: more objects than pixels, or a negative number.
        """
        height, width = canvas_size
        if num_objects is None:
            prior = self.count_log_probs.exp()
            draws = torch.rand(num_images, 1, generator=generator, device=self.device)
            count = (draws > prior.cumsum(0)[:-1]).sum(1).clamp(max=height * width)
        elif 0 <= num_objects <= height * width:
            count = torch.full((num_images,), num_objects, device=self.device)
        else:
            raise ValueError(f"expected num_objects of 0 to {height * width} (one per pixel), got {num_objects}")
        slots = int(count.max()) if num_images else 0
        draws = torch.rand(num_images, height * width, generator=generator, device=self.device)
        flat = draws.topk(slots, dim=1).indices  # uniform without replacement, eq. (3)
        mask = torch.arange(slots, device=self.device) < count[:, None]
        location = torch.stack([flat // width, flat % width], dim=2) * mask[..., None]
        shape = (num_images, slots, self.config.latents)
        appearance = torch.randn(shape, generator=generator, device=self.device) * mask[..., None]
        return Objects(
            count=count,
            location=location,
            appearance=appearance,
            appearance_variance=torch.zeros_like(appearance),
            presence=mask.float(),
            mask=mask,
            dropped=torch.zeros_like(count),
            canvas_size=canvas_size,
        )

    @torch.inference_mode()
    def sample(
        self,
        num_images: int,
        num_objects: int | None = None,
        canvas_size: tuple[int, int] = (64, 64),
        generator: torch.Generator | None = None,
    ) -> UInt8[Tensor, "batch height width channels"]:
        """Ancestral samples of whole frames, values 0 and 255; for the latents behind them, see ``sample_objects``.

        Takes the arguments of ``sample_objects``.
        """
        mean = self._pixel_means(self.sample_objects(num_images, num_objects, canvas_size, generator))
        return torch.bernoulli(mean, generator=generator).to(torch.uint8) * 255

    @torch.inference_mode()
    def elbo(self, frames: AnyFrames, generator: torch.Generator | None = None) -> Float[Tensor, " batch"]:
        """Single-sample evidence lower bound on log p(x), nats per frame; its terms are ``objective.elbo_terms``."""
        from lavae_rl.model.objective import elbo_terms  # objective imports this module

        return elbo_terms(self, self.images(frames), generator).elbo

    @torch.inference_mode()
    def log_likelihood(
        self,
        frames: AnyFrames,
        num_samples: int = 100,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, " batch"]:
        """Importance-weighted lower bound on log p(x), nats per frame.

        The prior p(n) ends at N_max: frames with more objects are explained by N_max objects drawn from q(l | x).

        Args:
            frames: uint8 (batch, height, width, channels), values 0 and 255.
            num_samples: importance samples per frame (100 in the paper).
            generator: source of randomness, on the model's device.
        """
        from lavae_rl.model.objective import importance_weighted_bound  # objective imports this module

        return importance_weighted_bound(self, self.images(frames), num_samples, generator)

    def save_pretrained(self, folder: str | Path, facts: Mapping[str, Any] | None = None) -> None:
        """Writes config.json and model.safetensors.

        Args:
            folder: made if it is missing.
            facts: kept in config.json beside the configuration: recipe, seed, commit, metrics.
        """
        checkpoint.save(Path(folder), self.config, self.state_dict(), facts or {})

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str | torch.device = "cpu") -> "LAVAE":
        """Loads a bundled model, a folder, or a repository of the Hugging Face Hub. Strict; never unpickles.

        Args:
            name: ``"multi-dsprites"`` or another bundled name; a folder with config.json and model.safetensors (a run
                folder will do); or ``"user/repository"``, which needs the extra ``lavae-rl[hub]``.
            device: where to put the weights.

        Raises:
            FileNotFoundError: neither a bundled name nor a folder with both files.
            ImportError: a repository of the Hub, without the extra.
            ValueError: files that are damaged, do not fit each other, or hold NaN or infinite weights.
        """
        folder = checkpoint.find(name)
        with torch.inference_mode(False):  # weights made inside inference mode could not be told when they change
            model = cls(checkpoint.read_config(folder, LAVAEConfig))
            checkpoint.load_weights(model, folder)
            return model.to(device)
