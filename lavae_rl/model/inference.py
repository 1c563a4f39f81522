"""What makes a trained model faster where it is only used."""

import itertools

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(model: nn.Module) -> None:
    """Folds each batch normalisation that follows a convolution into its weights, in place: one pass less over memory.

    The same function but for rounding; no longer a model to train or to save.
    """
    sequences = [module for module in model.modules() if isinstance(module, nn.Sequential)]
    for layers in sequences:
        for place, (convolution, norm) in enumerate(itertools.pairwise(layers)):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                with torch.inference_mode(False):  # weights of inference mode could not be told when they change
                    layers[place], layers[place + 1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
