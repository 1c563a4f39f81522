"""Dreams: scenes whose object locations are known, from which the location network learns.

A dream is composed from sprites the model remembers, at random locations; the network is trained to find them. This
is the sleep phase of wake-sleep for the discrete latents n and l. No label is used, and since dreams hold more objects
than training scenes, counting generalises beyond them by construction.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lavae_rl.model.image.windows import crop_windows
from lavae_rl.model.objects import Detections
from lavae_rl.model.shapes import Images, LogitMaps, Sprites

BinarySprites = Bool[Tensor, "objects channels size size"]
CentreMaps = Bool[Tensor, "batch *scales height width"]

OVERLAP = 0.7
"""Largest fraction of the smaller of two overlapping sprites that they share there."""

MASK_LEVEL = 0.3
"""A pixel belongs to a decoded sprite from this fraction of the sprite's largest pixel mean on."""


class SpriteMemory(nn.Module):
    """The latest sprites of the wake phase, in a ring buffer (a module, so that checkpoints keep it)."""

    sprites: Tensor
    written: Tensor

    def __init__(self, capacity: int, channels: int, size: int) -> None:
        super().__init__()
        self.register_buffer("sprites", torch.zeros(capacity, channels, size, size, dtype=torch.bool))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return min(int(self.written), len(self.sprites))

    def write(self, sprites: BinarySprites) -> None:
        """Add sprites with lit pixels, over the oldest ones."""
        sprites = sprites[sprites.any(dim=(1, 2, 3))][: len(self.sprites)]
        index = (self.written + torch.arange(len(sprites), device=sprites.device)) % len(self.sprites)
        self.sprites[index] = sprites
        self.written += len(sprites)

    def read(self, num: int, generator: torch.Generator) -> BinarySprites:
        """Draw sprites uniformly, with replacement."""
        index = torch.randint(len(self), (num,), generator=generator, device=self.sprites.device)
        return self.sprites[index]


def _grow(mask: Bool[Tensor, "masks height width"]) -> Bool[Tensor, "masks height width"]:
    return F.max_pool2d(mask[:, None].float(), 3, stride=1, padding=1)[:, 0] > 0.5


def cut_out(images: Images, found: Detections, sprites: Sprites) -> BinarySprites:
    """The image's own pixels that a decoded sprite explains: inside its mask, grown by one pixel."""
    windows = crop_windows(images, found, sprites.shape[-1])
    brightness = sprites.amax(1)
    mask = brightness > MASK_LEVEL * brightness.amax((1, 2), keepdim=True)
    return (windows > 0.5) & _grow(mask)[:, None]


def recentre(sprites: BinarySprites) -> BinarySprites:
    """Shift each sprite by whole pixels, so that its centre of mass is the centre of its window.

    Where the centre of a sprite is cannot be observed: location network and decoder could agree on any point, and,
    trained on each other, drift. The centre of mass ties them down.
    """
    half = sprites.shape[-1] // 2
    mass = sprites.any(1).float()
    total = mass.sum((1, 2)).clamp(min=1)
    offset = torch.arange(-half, half + 1, device=sprites.device, dtype=mass.dtype)
    centre = torch.stack([(mass.sum(2) * offset).sum(1), (mass.sum(1) * offset).sum(1)], dim=1) / total[:, None]
    # Symmetric sprites have their centre on a pixel or midway between two: a quarter keeps both clear of rounding.
    shift = (centre + 0.25).round().long()
    own = torch.arange(len(sprites), device=sprites.device)
    centred = Detections(own, half + shift, torch.ones_like(own))
    return crop_windows(sprites.float(), centred, sprites.shape[-1]) > 0.5


def dilate(sprites: BinarySprites, generator: torch.Generator) -> BinarySprites:
    """Dilate a random half of the sprites by one pixel down and a random half by one pixel to the right.

    Other renderers draw the same shapes a pixel larger, or centred on a pixel rather than between two. A network that
    has only ever read one drawing of a shape is unsure of the others.
    """
    for axis in (2, 3):
        chosen = torch.rand(len(sprites), generator=generator, device=sprites.device) < 0.5
        moved = sprites.roll(1, axis)
        moved.select(axis, 0).zero_()
        sprites = sprites | (moved & chosen[:, None, None, None])
    return sprites


def dream(
    memory: SpriteMemory,
    num_scenes: int,
    max_objects: int,
    canvas_size: tuple[int, int],
    generator: torch.Generator,
    crowded: float = 0.0,
) -> tuple[Images, CentreMaps]:
    """Compose scenes of 0 to ``max_objects`` remembered sprites; return images, and True where an object is centred.

    Every scene tries half as many locations again as ``max_objects``, and stops at its own count. A sprite whose mask,
    grown by one pixel, would touch an earlier one is left out. In a fraction ``crowded`` of the scenes, sprites may
    touch and overlap, and one is left out that would share ``OVERLAP`` of the smaller of two. Centres keep a third of a
    sprite off the border; a sprite may reach past it and is cropped there.
    """
    device = memory.sprites.device
    channels, size = memory.sprites.shape[1:3]
    half, border, (height, width) = size // 2, size // 3, canvas_size
    tries = (max_objects + max_objects // 2, num_scenes)
    wanted = torch.randint(max_objects + 1, (num_scenes,), generator=generator, device=device)
    sprites = memory.read(tries[0] * num_scenes, generator).view(*tries, channels, size, size)
    row = torch.randint(border, height - border, tries, generator=generator, device=device)
    column = torch.randint(border, width - border, tries, generator=generator, device=device)
    # Written by index, not through a view by unfold(): its windows overlap, and a GPU writes to them in any order.
    grown = (height + size - 1, width + size - 1)
    offset = (torch.arange(size, device=device)[:, None] * grown[1] + torch.arange(size, device=device)).flatten()
    window = (row * grown[1] + column)[..., None] + offset
    allowed = torch.where(torch.rand(num_scenes, generator=generator, device=device) < crowded, OVERLAP, 0.0)
    kept = _placed(sprites.any(2), window, wanted, allowed, math.prod(grown))
    padded = torch.zeros(num_scenes, channels, math.prod(grown), device=device)
    index = window.transpose(0, 1).flatten(1)[:, None].expand(-1, channels, -1)
    pixels = (sprites & kept[..., None, None, None]).permute(1, 2, 0, 3, 4).flatten(2)
    padded.scatter_add_(2, index, pixels.float())
    images = padded.clamp_(max=1).view(num_scenes, channels, *grown)[:, :, half : half + height, half : half + width]
    centres = torch.zeros(num_scenes, height * width, dtype=torch.uint8, device=device)
    centres.scatter_add_(1, (row * width + column).T, kept.T.to(torch.uint8))
    return images, centres.view(num_scenes, height, width) > 0


def _placed(
    masks: Bool[Tensor, "tries batch size size"],
    window: Int[Tensor, "tries batch pixels"],
    wanted: Int[Tensor, " batch"],
    allowed: Float[Tensor, " batch"],
    num_pixels: int,
) -> Bool[Tensor, "tries batch"]:
    """True for sprites that are placed, until a scene has as many as are wanted of it.

    They are a pixel apart from all before them, or share less than the fraction ``allowed`` with them, of the smaller
    of two sprites. The loop is most of what a GPU has to launch for a dream, so one map serves all channels: the area
    of the smallest sprite on each pixel.
    """
    near, areas = _grow(masks.flatten(0, 1)).view_as(window), masks.sum((2, 3))
    free = masks[0, 0].numel() + 1
    smallest = torch.full((masks.shape[1], num_pixels), free, device=masks.device)
    placed, kept = torch.zeros_like(wanted), []
    for mask, around, area, there in zip(masks.flatten(2), near, areas, window, strict=True):
        before = smallest.gather(1, there)
        taken = before < free
        least = torch.minimum(before.masked_fill(~mask, free).amin(1), area)
        fits = ~(taken & around).any(1) | ((taken & mask).sum(1) < allowed * least)
        fits &= placed < wanted
        now = torch.where(mask & fits[:, None], torch.minimum(before, area[:, None]), before)
        smallest.scatter_(1, there, now)
        placed = placed + fits
        kept.append(fits)
    return torch.stack(kept)


def centre_loss(logits: LogitMaps, centres: CentreMaps) -> Float[Tensor, ""]:
    """Focal loss on the map of centres, per object, the 3 x 3 neighbourhood of a centre discounted.

    Focal because 1 pixel in 1,000 is a centre; discounted because one pixel beside it is nearly right.
    """
    target = centres.float()
    near = _grow(centres.flatten(0, -3)).view_as(centres).float() - target
    log_on, log_off = F.logsigmoid(logits), F.logsigmoid(-logits)
    on, off = log_on.exp(), log_off.exp()
    loss = -(target * off.square() * log_on + (1 - target) * (1 - 0.9 * near) * on.square() * log_off)
    return loss.sum() / target.sum().clamp(min=1)


def location_loss(log_probs: Float[Tensor, "batch pixels"], centres: CentreMaps) -> Tensor:
    """-log q(l_1 | x) of dreamed locations per object: the sleep phase's objective for the first draw of eq. (11).

    The order of objects is arbitrary, so each of n objects should get 1/n of the mass: cross-entropy against that.
    """
    target = centres.flatten(1).float()
    return -(target * log_probs).sum() / target.sum().clamp(min=1)
