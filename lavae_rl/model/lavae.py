"""LAVAE: the model and its configuration (Dittadi & Winther 2019, arXiv 1909.11813)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lavae_rl.model import networks
from lavae_rl.model.canvas import compose
from lavae_rl.model.objects import Objects
from lavae_rl.model.posterior import Detections, find_peaks
from lavae_rl.model.shapes import AnyFrames, Images

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


@dataclass(frozen=True)
class LAVAEConfig:
    """What is needed to rebuild a LAVAE, apart from its weights. Raises ValueError on values out of range."""

    channels: int = 3
    """Image channels: 1 (grey) or 3 (RGB)."""
    sprite_size: int = 21
    """Side S of a decoded sprite and of the window its appearance is read from, in pixels; odd."""
    latents: int = 8
    """Number D of appearance latents per object."""
    max_objects: int = 3
    """N_max, the largest count in training and the last class of the learned prior p(n); inference has no limit."""
    networks: str = "fast"
    """Network family, a key of ``lavae_rl.model.networks.FAMILIES``."""

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ValueError(f"expected 1 or 3 channels, got {self.channels!r}")
        if self.sprite_size < 5 or self.sprite_size % 2 == 0:
            raise ValueError(f"expected an odd sprite_size of at least 5, got {self.sprite_size!r}")
        if self.latents < 1 or self.max_objects < 1:
            raise ValueError(f"expected latents and max_objects of at least 1, got {self.latents}, {self.max_objects}")
        if self.networks not in networks.FAMILIES:
            raise ValueError(f"expected networks to be one of {sorted(networks.FAMILIES)}, got {self.networks!r}")


class LAVAE(nn.Module):
    """Counts, locates and describes the sprites of a scene; and draws scenes.

    The public methods work on frames, uint8 (batch, height, width, channels) of values 0 and 255, on any canvas that
    holds a sprite. ``from_pretrained`` gives a trained model; ``LAVAE(config)`` an untrained one.
    """

    def __init__(self, config: LAVAEConfig) -> None:
        super().__init__()
        self.config = config
        family = networks.FAMILIES[config.networks]
        shape = (config.channels, config.sprite_size, config.latents)
        self.location_network = family.location(config.channels)
        self.appearance_network = family.appearance(*shape)
        self.sprite_decoder = family.decoder(*shape)
        self.count_logits = nn.Parameter(torch.zeros(config.max_objects + 1))
        # Starts at "log-odds are logits": sharpness * log(L) = 1 on the paper's canvas of 64 x 64.
        self.log_sharpness = nn.Parameter(torch.tensor(-float(np.log(np.log(64 * 64)))))

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
        dtype = getattr(frames, "dtype", type(frames).__name__)
        if str(dtype).removeprefix("torch.") != "uint8":
            raise TypeError(f"expected frames as a uint8 array, got {dtype}")
        shape, channels = tuple(frames.shape), self.config.channels
        if len(shape) != 4 or shape[3] != channels:
            raise ValueError(
                f"expected frames of shape (batch, height, width, {channels}), got {shape}; "
                "a single frame needs frame[None], channel-first frames a transpose"
            )
        if min(shape[1:3]) < self.config.sprite_size:
            raise ValueError(f"expected frames of at least {self.config.sprite_size} px a side, got {shape[1:3]}")
        if isinstance(frames, np.ndarray):
            # PyTorch takes neither read-only nor reversed arrays (frames[..., ::-1]); only these are copied.
            frames = torch.from_numpy(np.require(frames, requirements=["C", "W"]))
        frames = frames.to(self.device)
        if not ((frames == 0) | (frames == 255)).all():
            raise ValueError(
                f"expected pixel values 0 and 255 only, got values up to {int(frames.max())}; "
                "binarise the frames first, for instance (frames > 127) * np.uint8(255)"
            )
        return frames.permute(0, 3, 1, 2).float() / 255

    @torch.inference_mode()
    def detect(self, images: Images) -> Detections:
        """q(n | x) and the mode of q(l | x): every object of every image, the surest first."""
        return find_peaks(self.location_network(images))

    @torch.inference_mode()
    def encode(self, frames: AnyFrames) -> Objects:
        """Finds the objects: their number, locations and mean appearances. Deterministic.

        Args:
            frames: uint8 (batch, height, width, channels), values 0 and 255, NumPy or torch.

        Returns:
            Objects of the same kind (NumPy or torch), with as many slots as the fullest frame has objects.

        Raises:
            TypeError, ValueError: see ``images``.
        """
        images = self.images(frames)
        found = self.detect(images)
        appearance, _ = self.appearance_network(images, found.image_index, found.location)
        objects = Objects.from_detections(found, appearance, (images.shape[2], images.shape[3]))
        return objects.numpy() if isinstance(frames, np.ndarray) else objects

    @torch.inference_mode()
    def decode(self, objects: Objects) -> Float[np.ndarray | Tensor, "..."]:
        """Draws objects on their canvas: pixel means in [0, 1], NumPy if the objects are, torch otherwise.

        Raises:
            ValueError: a location off the canvas.
        """
        mean = self._pixel_means(objects.torch(self.device))
        return mean.cpu().numpy() if isinstance(objects.count, np.ndarray) else mean

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
            count = torch.multinomial(prior, num_images, replacement=True, generator=generator)
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
        return Objects(count, location, appearance, mask, canvas_size)

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
    def log_likelihood(
        self,
        frames: AnyFrames,
        num_samples: int = 100,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, " batch"]:
        """Importance-weighted lower bound on log p(x), nats per frame.

        The prior p(n) ends at N_max: frames with more objects are explained by their N_max surest.

        Args:
            frames: uint8 (batch, height, width, channels), values 0 and 255.
            num_samples: importance samples per frame (100 in the paper).
            generator: source of randomness, on the model's device.
        """
        from lavae_rl.model.objective import importance_weighted_bound

        return importance_weighted_bound(self, self.images(frames), num_samples, generator)

    def save_pretrained(self, folder: str | Path, facts: Mapping[str, Any] | None = None) -> None:
        """Writes config.json and model.safetensors.

        Args:
            folder: made if it is missing.
            facts: kept in config.json beside the configuration: recipe, seed, commit, metrics.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.contiguous() for name, value in self.state_dict().items()}
        config = {"model": asdict(self.config), **(facts or {})}
        # Written beside and moved into place: whoever reads, or kills us, finds whole files.
        temporary = folder / "saving.tmp"
        save_file(weights, temporary)
        temporary.replace(folder / WEIGHTS_FILE)
        temporary.write_text(json.dumps(config, indent=2) + "\n")
        temporary.replace(folder / CONFIG_FILE)

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str | torch.device = "cpu") -> "LAVAE":
        """Loads a bundled model by name, or a folder with config.json and model.safetensors. Never unpickles.

        Args:
            name: ``"multi-dsprites"``, another bundled name, or a folder (a run folder will do).
            device: where to put the weights.

        Raises:
            FileNotFoundError: neither a bundled name nor a folder with both files.
            ValueError: files that are damaged, do not fit each other, or hold NaN or infinite weights.
        """
        folder = Path(name)
        if folder.is_dir():
            return cls._load(folder, device)
        bundled = files("lavae_rl") / "checkpoints"
        names = sorted(entry.name for entry in bundled.iterdir() if entry.is_dir()) if bundled.is_dir() else []
        if str(name) not in names:
            raise FileNotFoundError(f"expected a folder or one of the bundled models {names}, got {str(name)!r}")
        with as_file(bundled / str(name)) as path:
            return cls._load(path, device)

    @classmethod
    def _load(cls, folder: Path, device: str | torch.device) -> "LAVAE":
        for file in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / file).is_file():
                raise FileNotFoundError(f"expected {CONFIG_FILE} and {WEIGHTS_FILE} in {folder}, {file} is missing")
        model = cls(_read_config(folder / CONFIG_FILE))
        try:
            weights = load_file(folder / WEIGHTS_FILE)
            model.load_state_dict(weights, strict=True)
        except (SafetensorError, RuntimeError) as error:
            raise ValueError(
                f"{folder / WEIGHTS_FILE} is damaged or does not fit its {CONFIG_FILE}: {error}"
            ) from error
        if broken := [key for key, value in weights.items() if not torch.isfinite(value.float()).all()]:
            raise ValueError(f"{folder / WEIGHTS_FILE} holds NaN or infinite weights: {', '.join(broken)}")
        return model.to(device).eval()


def _read_config(path: Path) -> LAVAEConfig:
    try:
        values = json.loads(path.read_text())["model"]
        return LAVAEConfig(**values)
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        known = ", ".join(field.name for field in fields(LAVAEConfig))
        raise ValueError(f'expected {path} to be JSON with an object "model" of {known}; got {error}') from error
