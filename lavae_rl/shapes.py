"""The shape vocabulary of data: NumPy arrays that cross public functions have one of these types.

Axis names: ``batch`` scenes, ``slots`` places for objects (padded), ``sprites`` entries of a sprite bank, ``size`` side
of a square patch in pixels. The types are checked by jaxtyping and beartype in the tests only. Tensors have theirs in
``lavae_rl.model.shapes``, so that whoever makes scenes does not load PyTorch.
"""

import numpy as np
from jaxtyping import Bool, Int, UInt8

Frames = UInt8[np.ndarray, "batch height width channels"]
Picture = UInt8[np.ndarray, "rows columns 3"]
Patches = UInt8[np.ndarray, "sprites size size channels"]
Boxes = Int[np.ndarray, "sprites 4"]
Counts = Int[np.ndarray, " batch"]
Locations = Int[np.ndarray, "batch slots 2"]
SlotIndices = Int[np.ndarray, "batch slots"]
Mask = Bool[np.ndarray, "batch slots"]
