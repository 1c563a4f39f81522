"""The shape vocabulary of the model: tensors that cross public functions have one of these types.

Axis names as in ``lavae_rl.shapes``; ``objects`` are those of a whole batch in one ragged list.
"""

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

AnyFrames = np.ndarray | Tensor
"""Frames that users pass in: checked by ``LAVAE.images``, whose errors name the remedy."""

Images = Float[Tensor, "batch channels height width"]
LogitMaps = Float[Tensor, "batch *scales height width"]
"""One map of all pixels, or one for each of several scales."""
ObjectIndex = Int[Tensor, " objects"]
ObjectLocations = Int[Tensor, "objects 2"]
AppearanceVectors = Float[Tensor, "objects latents"]
Sprites = Float[Tensor, "objects channels size size"]
PerImage = Float[Tensor, " batch"]
Counts = Int[Tensor, " batch"]
LogProbs = Float[Tensor, "batch pixels"]
OrderedPixels = Int[Tensor, "batch slots"]
