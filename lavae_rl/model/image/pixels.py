"""Frames read pixel by pixel, where they differ from their background: whole frames are never made floats."""

from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lavae_rl.model.image.background import Pictures
from lavae_rl.model.objects import Detections
from lavae_rl.model.shapes import Sprites
from lavae_rl.model.sites import blocks, nonzero, take, unravel

Places = Int[Tensor, " places"]


class FramePixels:
    """Frames on a background, of which only some pixels are read."""

    def __init__(self, frames: UInt8[Tensor, "batch height width channels"], background: Pictures) -> None:
        self.frames, self.background = frames.contiguous(), background
        self._first = background.states[0].flatten(1).T.contiguous()  # pixels, channels
        self._several = background.several()

    @cached_property
    def changed(self) -> tuple[Places, Places, Places]:
        """Frame, row and column of the pixels that are not as in the first state of the background, nor ignored."""
        batch, height, width, channels = self.frames.shape
        differs = self.frames.flatten(1) != self._first.flatten()
        place = torch.unique_consecutive(nonzero(differs) // channels)
        place = place[~self.background.ignored.flatten()[place % (height * width)]]
        return unravel(place, (batch, height, width))

    def read(self, frame: Places, row: Places, column: Places) -> tuple[Tensor, Tensor]:
        """Values and background of pixels, in [0, 1], each (places, channels); beyond the border, both are 0."""
        _, height, width, channels = self.frames.shape
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        pixel = (row * width + column).where(inside, 0)
        shown = take(self.frames.view(-1, channels), frame * (height * width) + pixel)
        first = take(self._first, pixel)
        values, behind = (part.float().div_(255).mul_(inside[:, None]) for part in (shown, first))
        other = torch.unique_consecutive(nonzero((shown != first) & inside[:, None]) // channels)
        other = other[self._several[pixel[other]]]  # of most pixels, there is one state
        behind[other] = self.background.behind(values[other], pixel[other])
        ignored = self.background.ignored.flatten()[pixel]
        return torch.where(ignored[:, None], behind, values), behind

    def inputs(self, frame: Places, row: Places, column: Places) -> Float[Tensor, "places inputs"]:
        """Inputs of networks that read differences, for pixels; ``LAVAECore.scene`` gives those of whole images."""
        values, behind = self.read(frame, row, column)
        return torch.cat([values, values - behind], dim=1)

    def windows(self, found: Detections, size: int) -> Sprites:
        """The inputs in the window of each object, as ``crop_scaled_windows`` gives them of whole images."""
        windows = torch.zeros(len(found.location), 2 * self.frames.shape[3], size, size, device=self.frames.device)
        for scale in sorted(set(found.scale.tolist())):
            chosen = (found.scale == scale).nonzero()[:, 0]
            offset = torch.arange(scale * size, device=chosen.device) - scale * size // 2
            row, column = found.location[chosen].T[:, :, None] + offset
            inputs = self.inputs(*blocks(found.image_index[chosen], row, column))
            native = inputs.view(len(chosen), scale * size, scale * size, -1).permute(0, 3, 1, 2)
            windows[chosen] = F.avg_pool2d(native, scale) if scale > 1 else native
        return windows
