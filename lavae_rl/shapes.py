"""The shape vocabulary: every array that crosses a public function has one of these types.

Axis names: ``batch`` scenes, ``slots`` places for objects (padded), ``objects`` objects of a whole batch
in one ragged list, ``sprites`` entries of a sprite bank, ``size`` side of a square patch in pixels.
The types are checked by jaxtyping and beartype in the tests only.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

__all__ = [
    "AnyFrames",
    "AppearanceVectors",
    "Boxes",
    "Counts",
    "Frames",
    "Images",
    "Locations",
    "LogitMaps",
    "Mask",
    "ObjectIndex",
    "ObjectLocations",
    "Patches",
    "SlotIndices",
    "Sprites",
]

# NumPy side: data.
Frames = UInt8[np.ndarray, "batch height width channels"]
Patches = UInt8[np.ndarray, "sprites size size channels"]
Boxes = Int[np.ndarray, "sprites 4"]
Counts = Int[np.ndarray, " batch"]
Locations = Int[np.ndarray, "batch slots 2"]
SlotIndices = Int[np.ndarray, "batch slots"]
Mask = Bool[np.ndarray, "batch slots"]

AnyFrames = np.ndarray | Tensor
"""What users hand in as frames: checked by ``LAVAE.images``, whose errors name the remedy."""

# Torch side: model.
Images = Float[Tensor, "batch channels height width"]
LogitMaps = Float[Tensor, "batch height width"]
ObjectIndex = Int[Tensor, " objects"]
ObjectLocations = Int[Tensor, "objects 2"]
AppearanceVectors = Float[Tensor, "objects latents"]
Sprites = Float[Tensor, "objects channels size size"]
