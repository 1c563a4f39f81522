"""Dreams on a background: collages of remembered sprites, from which the location network learns.

Half of the scenes keep their sprites apart; in the others sprites touch, and cover up to ``OVERLAP`` of each other.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lavae_rl.model.image.windows import gather_windows
from lavae_rl.model.objects import Detections
from lavae_rl.model.shapes import Images

CutOuts = Float[Tensor, "objects layers size size"]
"""Colours, and as a last channel 1 where a sprite is and 0 elsewhere, centred by the box of what is 1."""
Alphas = Float[Tensor, "objects 1 size size"]
SiteMaps = Bool[Tensor, "batch scales height width"]
"""True at the scale and pixel on which an object is centred."""

OVERLAP = 0.15
"""Largest share of a sprite that another one covers, in the half of the scenes where sprites may touch."""
BESIDE = 0.3
"""Share of sprites that are put beside an earlier one, on the same row or column."""
_NEAR = 6
"""Largest gap to that earlier one, in pixels."""


class CutOutMemory(nn.Module):
    """The latest cut-outs of one scale, in a ring buffer (a module, so that checkpoints keep it)."""

    sprites: Tensor
    written: Tensor

    def __init__(self, capacity: int, channels: int, size: int) -> None:
        super().__init__()
        self.register_buffer("sprites", torch.zeros(capacity, channels + 1, size, size, dtype=torch.uint8))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return min(int(self.written), len(self.sprites))

    def write(self, sprites: CutOuts) -> None:
        """Add cut-outs over the oldest ones."""
        sprites = sprites[: len(self.sprites)]
        index = (self.written + torch.arange(len(sprites), device=sprites.device)) % len(self.sprites)
        self.sprites[index] = (sprites * 255).round().to(torch.uint8)
        self.written += len(sprites)

    def read(self, num: int, generator: torch.Generator) -> CutOuts:
        """Draw cut-outs uniformly, with replacement."""
        index = torch.randint(len(self), (num,), generator=generator, device=self.sprites.device)
        return self.sprites[index].float() / 255


def grow(shown: Alphas, pixels: int) -> Alphas:
    """1 where alpha passes one half, and as many pixels around."""
    return F.max_pool2d((shown > 0.5).float(), 2 * pixels + 1, stride=1, padding=pixels)


def recentre(sprites: CutOuts) -> Float[Tensor, "kept layers size size"]:
    """Shift each cut-out by whole pixels, so that the box of its alpha is centred in its window; drop empty ones.

    Where the centre of a sprite is cannot be observed: location network and decoder could agree on any point, and,
    trained on each other, drift. The box ties them down.
    """
    sprites = sprites[sprites[:, -1].flatten(1).any(1)]
    size = sprites.shape[-1]
    first, extent = alpha_boxes(sprites)
    own = torch.arange(len(sprites), device=sprites.device)
    centred = Detections(own, first + extent // 2, torch.ones_like(own))
    return gather_windows(sprites, centred, size)


def alpha_boxes(sprites: CutOuts) -> tuple[Int[Tensor, "objects 2"], Int[Tensor, "objects 2"]]:
    """(row, column) of the corner and (height, width) of what each cut-out, not empty, shows in its window."""
    there = sprites[:, -1] > 0.5
    sides = torch.stack([there.any(2), there.any(1)], dim=1).int()
    first = sides.argmax(2)
    return first, sprites.shape[-1] - sides.flip(2).argmax(2) - first


class Collage:
    """Scenes in the making: images, the number of each pixel's sprites, and the sites of those placed so far."""

    def __init__(self, backgrounds: Images, wanted: Int[Tensor, " batch"], num_scales: int, margin: int) -> None:
        number, channels, height, width = backgrounds.shape
        self.size, self.margin, self.wanted = (height, width), margin, wanted
        layers = torch.cat([backgrounds, backgrounds.new_zeros(number, 1, height, width)], dim=1)
        padded = F.pad(layers, (margin, margin, margin, margin)).contiguous()
        self._row_length = padded.shape[3]
        self._flat = padded.view(number, channels + 1, -1)
        self.sites = torch.zeros(number, num_scales, height, width, dtype=torch.bool, device=backgrounds.device)
        self.placed = torch.zeros_like(wanted)
        self.latest = torch.zeros(number, 4, dtype=torch.int64, device=backgrounds.device)
        """Location, and (height, width), of the latest sprite of each scene."""

    def place(
        self,
        sprites: CutOuts,
        scale_index: int,
        location: Int[Tensor, "batch 2"],
        allowed: Float[Tensor, " batch"],
    ) -> None:
        """Paste one sprite into each scene that still wants one, and in which no more than ``allowed`` is covered."""
        size, layers = sprites.shape[-1], sprites.shape[1]
        limit = torch.tensor(self.size, device=location.device)
        inside = ((location >= 0) & (location < limit)).all(1)
        location = location.clamp(min=0).minimum(limit - 1)
        corner = location - size // 2 + self.margin
        offset = torch.arange(size, device=location.device)
        within = (offset[:, None] * self._row_length + offset).flatten()
        window = ((corner[:, 0] * self._row_length + corner[:, 1])[:, None] + within)[:, None].expand(-1, layers, -1)
        there = self._flat.gather(2, window).view_as(sprites)
        alpha = sprites[:, -1:]
        taken = there[:, -1:] > 0
        # Scenes without overlap keep a gap of a pixel.
        grown = torch.where((allowed > 0)[:, None, None, None], alpha, F.max_pool2d(alpha, 3, stride=1, padding=1))
        covered = (grown * taken).sum((1, 2, 3)) / alpha.sum((1, 2, 3)).clamp(min=1)
        clear = (covered <= allowed) & (self.placed < self.wanted) & inside & alpha.flatten(1).any(1)
        alpha = alpha * clear[:, None, None, None]
        pasted = torch.cat(
            [(1 - alpha) * there[:, :-1] + alpha * sprites[:, :-1], torch.maximum(there[:, -1:], alpha)], 1
        )
        # Written by index, not through a view by unfold(): its windows overlap, and a GPU writes to them in any order.
        self._flat.scatter_(2, window, pasted.flatten(2))
        scene = clear.nonzero()[:, 0]
        self.sites[scene, scale_index, location[scene, 0], location[scene, 1]] = True
        self.latest[scene] = torch.cat([location, alpha_boxes(sprites)[1]], dim=1)[scene]
        self.placed += clear

    @property
    def images(self) -> Images:
        """The scenes as they are."""
        padded = self._flat.view(len(self._flat), -1, self._flat.shape[2] // self._row_length, self._row_length)
        inner = slice(self.margin, self.margin + self.size[0]), slice(self.margin, self.margin + self.size[1])
        return padded[:, :-1, inner[0], inner[1]].clone()


def collage(
    memories: Sequence[CutOutMemory], backgrounds: Images, max_objects: int, generator: torch.Generator
) -> tuple[Images, SiteMaps]:
    """Compose scenes of 0 to ``max_objects`` remembered sprites over the given backgrounds.

    Every scene tries half as many locations again as ``max_objects``, and stops at its own count. A sprite may reach
    past the border and is cropped there. Of several scales, each is drawn as often as cut-outs of it were remembered.

    Returns:
        The images, and where the objects are.
    """
    device, number = backgrounds.device, len(backgrounds)
    height, width = backgrounds.shape[2:]

    def draw(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (number,), generator=generator, device=device)

    def chance() -> Tensor:
        return torch.rand(number, generator=generator, device=device)

    sizes = [memory.sprites.shape[-1] for memory in memories]
    scene = Collage(backgrounds, draw(0, max_objects + 1), len(memories), max(sizes) // 2)
    allowed = torch.where(chance() < 0.5, OVERLAP, 0.0)
    share = torch.stack([memory.written for memory in memories]).float()
    tries = max_objects + max_objects // 2
    for index in torch.multinomial(share, tries, replacement=True, generator=generator).tolist():
        sprites = memories[index].read(number, generator)
        location = torch.stack([draw(0, height), draw(0, width)], dim=1)
        beside = (chance() < BESIDE) & (scene.placed > 0)
        location = torch.where(beside[:, None], _beside(scene.latest, sprites, draw, chance), location)
        scene.place(sprites, index, location, allowed)
    return scene.images, scene.sites


def _beside(
    latest: Tensor, sprites: CutOuts, draw: Callable[[int, int], Tensor], chance: Callable[[], Tensor]
) -> Int[Tensor, "batch 2"]:
    """A location on the same row or column as the latest sprite of each scene, 0 to ``_NEAR`` pixels apart."""
    _, extent = alpha_boxes(sprites)
    gap = (latest[:, 2:] + extent + 1) // 2 + draw(0, _NEAR + 1)[:, None]
    axis = draw(0, 2)
    along = F.one_hot(axis, 2)
    sign = torch.where(chance() < 0.5, -1, 1)[:, None]
    return latest[:, :2] + along * gap * sign
