"""Attend, infer, repeat (AIR), on Pyro: a peer of LAVAE, written from Eslami et al. 2016 (arXiv:1603.08575).

A recurrent network looks at the whole image and proposes one object after the other, each with a presence, a place and
an appearance, until one is absent. Presences are learned by the score-function gradient, with a baseline that a second
recurrent network computes, all else by reparameterised gradients. Sizes of layers, rates and the prior of presences
are those of the paper and of Pyro's tutorial; the paper's images have 50 x 50 grey pixels.
"""

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, TraceGraph_ELBO
from pyro.optim import PyroOptim
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample, softplus

WINDOW = 28
"""Side of the window that an object is read from and drawn into, in pixels."""
WHAT = 16
HIDDEN = 256
PIXEL_SCALE = 0.3
PRESENCE_PRIOR = 0.01
"""Probability of one more object. So small a prior lets few objects explain an image."""
WHERE_PRIOR = (3.0, 0.2), (0.0, 1.0), (0.0, 1.0)
"""Mean and standard deviation of the inverse size of a window, relative to the canvas, and of its centre (x, y)."""
RATE, BASELINE_RATE = 1e-4, 1e-3


def place(where: Tensor, images: Tensor, size: tuple[int, int], inverse: bool) -> Tensor:
    """Cut windows out of images, or with ``inverse`` draw images on canvases where windows would be cut out.

    Args:
        where: (batch, 3), inverse size and centre (x, y) of each window, in coordinates of -1 to 1.
        images: (batch, channels, height, width).
        size: (height, width) of the result.
        inverse: see above.
    """
    scale, x, y = where[:, 0].clamp(min=0.1), where[:, 1], where[:, 2]
    zero = torch.zeros_like(scale)
    rows = (scale, zero, -x * scale, zero, scale, -y * scale) if inverse else (1 / scale, zero, x, zero, 1 / scale, y)
    grid = affine_grid(torch.stack(rows, 1).view(-1, 2, 3), [len(images), images.shape[1], *size], align_corners=False)
    return grid_sample(images, grid, align_corners=False)


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class AIR(nn.Module):
    """The generative model and its inference networks, for images (batch, channels, height, width) of 0 to 1."""

    def __init__(self, channels: int, size: tuple[int, int], max_objects: int) -> None:
        super().__init__()
        self.channels, self.size, self.max_objects = channels, size, max_objects
        pixels, window = channels * size[0] * size[1], channels * WINDOW**2
        self.look = nn.LSTMCell(pixels + 3 + WHAT + 1, HIDDEN)
        self.predict = mlp(HIDDEN, 200, 1 + 2 * 3)
        self.encode = mlp(window, 200, 2 * WHAT)
        self.decode = mlp(WHAT, 200, window)
        self.baseline_look = nn.LSTMCell(pixels + 3 + WHAT + 1, HIDDEN)
        self.baseline = mlp(HIDDEN, 200, 1)
        with torch.no_grad():  # sprites begin dark
            self.decode[-1].get_parameter("bias").fill_(-2.0)

    def model(self, images: Tensor) -> None:
        """Draw objects from the prior, as many as there are at most, and the images from them."""
        batch = len(images)
        pyro.module("air", self)
        mean, deviation = images.new_tensor(WHERE_PRIOR).T
        with pyro.plate("images", batch):
            canvas, present = torch.zeros_like(images), images.new_ones(batch, 1)
            for step in range(self.max_objects):
                prior = dist.Bernoulli(PRESENCE_PRIOR * present)
                present = pyro.sample(f"present_{step}", prior.to_event(1))
                where_prior = dist.Normal(mean.expand(batch, 3), deviation.expand(batch, 3)).mask(present)
                where = pyro.sample(f"where_{step}", where_prior.to_event(1))
                what_prior = dist.Normal(images.new_zeros(batch, WHAT), 1.0).mask(present)
                what = pyro.sample(f"what_{step}", what_prior.to_event(1))
                sprite = self.decode(what).sigmoid().view(batch, self.channels, WINDOW, WINDOW)
                canvas = canvas + place(where, sprite, self.size, inverse=True) * present[..., None, None]
            pyro.sample("pixels", dist.Normal(canvas, PIXEL_SCALE).to_event(3), obs=images)

    def guide(self, images: Tensor) -> None:
        """Infer the objects of images, one after the other."""
        batch, flat = len(images), images.flatten(1)
        pyro.module("air", self)
        with pyro.plate("images", batch):
            before = images.new_zeros(batch, 3 + WHAT), images.new_ones(batch, 1)
            state, baseline_state = None, None
            for step in range(self.max_objects):
                inputs = torch.cat([flat, *before], 1)
                state = self.look(inputs, state)
                baseline_state = self.baseline_look(inputs.detach(), baseline_state)
                presence, mean, deviation = self._predicted(state[0])
                # What comes after an absent object explains nothing.
                baseline = self.baseline(baseline_state[0])[:, 0] * before[1][:, 0]
                present = pyro.sample(
                    f"present_{step}",
                    dist.Bernoulli(presence * before[1]).to_event(1),
                    infer={"baseline": {"baseline_value": baseline}},
                )
                where = pyro.sample(f"where_{step}", dist.Normal(mean, deviation).mask(present).to_event(1))
                window = place(where, images, (WINDOW, WINDOW), inverse=False)
                loc, scale = self.encode(window.flatten(1)).chunk(2, 1)
                what = pyro.sample(f"what_{step}", dist.Normal(loc, softplus(scale)).mask(present).to_event(1))
                before = torch.cat([where, what], 1), present

    def _predicted(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probability of presence, and mean and standard deviation of a place."""
        presence, mean, deviation = self.predict(hidden).split([1, 3, 3], 1)
        prior_mean, _ = mean.new_tensor(WHERE_PRIOR).T
        # 1e-4 and 1 - 1e-4 keep the score function finite.
        return presence.sigmoid().clamp(1e-4, 1 - 1e-4), mean + prior_mean, softplus(deviation) + 1e-4

    @torch.no_grad()
    def count(self, images: Tensor, most: int) -> Tensor:
        """Objects that are more probable than not, each likelier than its prior place, up to ``most``."""
        batch, flat = len(images), images.flatten(1)
        before = images.new_zeros(batch, 3 + WHAT), images.new_ones(batch, 1)
        state, count = None, torch.zeros(batch, dtype=torch.int64, device=images.device)
        for _ in range(most):
            state = self.look(torch.cat([flat, *before], 1), state)
            presence, where, _ = self._predicted(state[0])
            present = (presence > 0.5).float() * before[1]
            what = self.encode(place(where, images, (WINDOW, WINDOW), inverse=False).flatten(1))[:, :WHAT]
            before = torch.cat([where, what], 1), present
            count += present[:, 0].long()
        return count


class AIRTraining:
    """Training of AIR by stochastic variational inference."""

    def __init__(self, channels: int, size: tuple[int, int], max_objects: int, seed: int, device: str) -> None:
        pyro.set_rng_seed(seed)
        pyro.clear_param_store()
        self.air = AIR(channels, size, max_objects).to(device)

        def rates(name: str) -> dict[str, float]:
            return {"lr": BASELINE_RATE if "baseline" in name else RATE}

        optimizer = PyroOptim(torch.optim.Adam, rates)
        self._svi = SVI(self.air.model, self.air.guide, optimizer, TraceGraph_ELBO())

    def step(self, images: Tensor) -> None:
        """Take one step on a batch."""
        self._svi.step(images)

    def count(self, images: Tensor, most: int) -> Tensor:
        """See ``AIR.count``."""
        return self.air.count(images, most)
