"""Residual blocks, and the paper's layer: convolution, leaky ReLU, batch normalisation, in this order."""

from collections import OrderedDict

from torch import Tensor, nn


def conv(inputs: int, outputs: int, stride: int = 1, normalise: bool = True) -> nn.Sequential:
    """A 3 x 3 layer."""
    return layer(nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=not normalise), normalise)


def layer(convolution: nn.Conv2d | nn.ConvTranspose2d, normalise: bool = True) -> nn.Sequential:
    """A layer around a convolution."""
    norm = [nn.BatchNorm2d(convolution.out_channels)] if normalise else []
    return nn.Sequential(convolution, nn.LeakyReLU(inplace=True), *norm)


class Residual(nn.Sequential):
    """Layers whose output is added to their input."""

    def forward(self, features: Tensor) -> Tensor:
        """Refined features, of the same shape."""
        return features + super().forward(features)  # type: ignore[no-untyped-call]


def residual(channels: int, transposed: bool = False, normalise: bool = True) -> Residual:
    """A residual block of two layers, around transposed or plain convolutions."""
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    convolutions = (kind(channels, channels, 3, padding=1, bias=not normalise) for _ in range(2))
    return Residual(OrderedDict(layers=nn.Sequential(*(layer(each, normalise) for each in convolutions))))
