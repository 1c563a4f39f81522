"""A slot model: slot attention (Locatello et al. 2020, arXiv:2006.15055) as an autoencoder, of about LAVAE's size.

Slots compete for the pixels of an image, and each is drawn with a mask of its own. The model has no notion of a count:
here, the objects are the slots that win the pixels of something lit.
"""

import torch
from torch import Tensor, nn

WIDTH = 32
ITERATIONS = 3
RATE, WARM_UP = 4e-4, 500
LEAST_PIXELS = 6
"""Lit pixels that a slot has to win to be counted; the smallest sprites have more."""


class Positions(nn.Module):
    """Layer that adds a linear map of the coordinates of each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, WIDTH)

    def forward(self, features: Tensor) -> Tensor:
        rows, columns = (torch.linspace(0, 1, side, device=features.device) for side in features.shape[2:])
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        embedded: Tensor = self.linear(torch.stack([y, x, 1 - y, 1 - x], -1))
        return features + embedded.permute(2, 0, 1)


class SlotModel(nn.Module):
    """Encoder, slot attention and decoder, for images (batch, channels, height, width) of 0 to 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()

        def conv(inputs: int, stride: int = 1) -> list[nn.Module]:
            return [nn.Conv2d(inputs, WIDTH, 5, stride, 2), nn.ReLU()]

        self.encoder = nn.Sequential(*conv(channels, 2), *conv(WIDTH), *conv(WIDTH), Positions())
        self.features = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.mean, self.log_scale = nn.Parameter(torch.zeros(WIDTH)), nn.Parameter(torch.zeros(WIDTH))
        self.keys, self.values = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.queries, self.update = nn.Linear(WIDTH, WIDTH, bias=False), nn.GRUCell(WIDTH, WIDTH)
        self.norm_features, self.norm_slots, self.norm_update = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.refine = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.ReLU(), nn.Linear(2 * WIDTH, WIDTH))
        up: list[nn.Module] = [Positions()]
        for inputs, outputs in ((WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH // 2)):
            up += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.ReLU()]
        self.decoder = nn.Sequential(*up, nn.Conv2d(WIDTH // 2, channels + 1, 3, 1, 1))

    def slots(self, images: Tensor, number: int) -> Tensor:
        """Slots (batch, number, WIDTH) of images."""
        features = self.norm_features(self.features(self.encoder(images).flatten(2).transpose(1, 2)))
        keys, values = self.keys(features), self.values(features)
        noise = torch.randn(len(images), number, WIDTH, device=images.device)
        slots: Tensor = self.mean + self.log_scale.exp() * noise
        for _ in range(ITERATIONS):
            attention = (self.queries(self.norm_slots(slots)) @ keys.transpose(1, 2) * WIDTH**-0.5).softmax(1) + 1e-8
            updates = attention / attention.sum(2, keepdim=True) @ values
            slots = self.update(updates.flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
            slots = slots + self.refine(self.norm_update(slots))
        return slots

    def forward(self, images: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Images drawn from their slots, and the masks (batch, number, height, width), whose sum is 1."""
        slots = self.slots(images, number)
        sides = [side // 8 for side in images.shape[2:]]
        spread = slots.flatten(0, 1)[..., None, None].expand(-1, -1, *sides)
        drawn = self.decoder(spread).unflatten(0, slots.shape[:2])
        colors, masks = drawn[:, :, :-1], drawn[:, :, -1:].softmax(1)
        return (masks * colors).sum(1), masks[:, :, 0]


class SlotTraining:
    """Training of a slot model to reconstruct frames."""

    def __init__(self, channels: int, max_objects: int, seed: int, device: str) -> None:
        torch.manual_seed(seed)
        self.model = SlotModel(channels).to(device)
        self._slots = max_objects + 1  # one for the background
        self._optimizer = torch.optim.Adam(self.model.parameters(), RATE)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, lambda step: min((step + 1) / WARM_UP, 1))

    def step(self, images: Tensor) -> None:
        """Take one step on a batch."""
        drawn, _ = self.model(images, self._slots)
        self._optimizer.zero_grad()
        (drawn - images).square().mean().backward()
        self._optimizer.step()
        self._schedule.step()

    @torch.no_grad()
    def count(self, images: Tensor, most: int) -> Tensor:
        """Slots that win enough lit pixels, of ``most`` objects and the background."""
        _, masks = self.model(images, most + 1)
        won = masks.argmax(1, keepdim=True) == torch.arange(most + 1, device=images.device)[:, None, None]
        lit = images.amax(1, keepdim=True) > 0.5
        return ((won & lit).sum((2, 3)) >= LEAST_PIXELS).sum(1)
