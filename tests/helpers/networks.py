"""Weights and images that are the same everywhere, and networks small enough to try often."""

import numpy as np
import torch

SMALL = (
    "resnet8",
    "wrn_16_1",
    "vgg8",
    "ResNet18",
    "MobileNetV2",
    "ShuffleV1",
    "ShuffleV2",
    "resnet18",
    "mobilenetv1",
)


def standard_normal(shape, stream):
    return torch.from_numpy(stream.standard_normal(tuple(shape)))


def fill(model, seed=7):
    """Draws all tensors in the order of the state dict from numpy's frozen generator, batch statistics too."""
    stream = np.random.RandomState(seed)
    for key, value in model.state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        draw = standard_normal(value.shape, stream)
        if key.endswith("running_var"):
            draw = 0.5 + draw.abs()
        elif value.ndim > 1:
            draw = draw * (2 / value[0].numel()) ** 0.5
        else:
            draw = 1 + 0.3 * draw
        value.copy_(draw)
    return model


def images(batch=2, side=32, dtype=torch.float32):
    return standard_normal((batch, 3, side, side), np.random.RandomState(8)).to(dtype)
