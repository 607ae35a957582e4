"""What every network of the zoo hands out besides logits, and the few layers that several families share.

Shapes: B batch, C classes (logits) or colours (images), K channels, D pooled features, H, W.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Features(NamedTuple):
    """Intermediate results of one forward pass, the raw material of feature distillation.

    stages: output (B, K, H, W) of the stem (index 0) and of each stage, after the last ReLU of the stage; for
        wide ResNets the raw block outputs, for MobileNetV2 the linear bottlenecks, as those networks hand
        them on.
    pre_activation: the same places one step before the ReLU, in the same order (for wide ResNets: the raw
        output after the batch normalisation that follows it); None where a family has no such place.
    pooled: spatial average (B, D) that the classifier sees.
    last_map: map (B, D, H, W) whose average is `pooled`; None where that is the last of the stages, or where there
        is none.
    """

    stages: tuple[Tensor, ...]
    pre_activation: tuple[Tensor, ...] | None
    pooled: Tensor
    last_map: Tensor | None = None


Output = Tensor | tuple[Tensor, Features]


def pre_activations(stem_BKHW: Tensor, stages: Iterable[nn.Module]) -> list[Tensor]:
    """Runs stages that map one pre-activation to the next, and keeps what each of them returns."""
    pre = [stem_BKHW]
    for stage in stages:
        pre.append(stage(pre[-1]))
    return pre


def rectified_features(pre: list[Tensor], pooled_BD: Tensor, last_BDHW: Tensor | None = None) -> Features:
    """Features of a network whose stage outputs are ReLU(pre-activation)."""
    return Features(tuple(F.relu(pre_BKHW) for pre_BKHW in pre), tuple(pre), pooled_BD, last_BDHW)


def last_norms(stem: nn.BatchNorm2d, stages: Iterable[nn.Sequential]) -> list[nn.BatchNorm2d]:
    """The batch norm of the stem, and the one that ends the branch of each residual stage's last block."""
    ends = [stage[-1] for stage in stages]
    return [stem, *(as_norm(end.bn3 if hasattr(end, "bn3") else end.bn2) for end in ends)]


def as_norm(layer: nn.Module | Tensor) -> nn.BatchNorm2d:
    """A layer that a network knows to be a batch norm."""
    assert isinstance(layer, nn.BatchNorm2d)
    return layer


def global_average(x_BKHW: Tensor) -> Tensor:
    """Average over all places: (B, K, H, W) -> (B, K). Any image size; no parameters."""
    return x_BKHW.mean(dim=(2, 3))


def channel_shuffle(x_BKHW: Tensor, groups: int) -> Tensor:
    """Deals the channels of each group out to all groups: channel g*n + i moves to i*groups + g, n = K/groups."""
    return x_BKHW.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def conv1x1(width_in: int, width_out: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width_in, width_out, 1, stride, groups=groups, bias=False)


def conv3x3(width_in: int, width_out: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width_in, width_out, 3, stride, padding=1, groups=groups, bias=False)


def projection(width_in: int, width_out: int, stride: int) -> nn.Module:
    """Shortcut of a residual block: the identity where shapes agree, else a 1x1 convolution and batch norm."""
    if stride == 1 and width_in == width_out:
        return nn.Identity()
    return nn.Sequential(conv1x1(width_in, width_out, stride), nn.BatchNorm2d(width_out))


def init_convolutions(model: nn.Module) -> None:
    """Draws every convolution from Normal(0, sqrt(2 / (k * k * output channels))), He et al. 2015 with "fan out".

    Depthwise convolutions count all output channels here, as the published MobileNetV2 does: fan out is not
    divided by the groups.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            height, width = module.kernel_size
            nn.init.normal_(module.weight, 0.0, (2.0 / (height * width * module.out_channels)) ** 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def init_linear(linear: nn.Linear) -> None:
    """Draws a classifier from Normal(0, 0.01) with zero bias."""
    nn.init.normal_(linear.weight, 0.0, 0.01)
    nn.init.zeros_(linear.bias)


def concatenate(*parts_BKHW: Tensor) -> Tensor:
    """Joins feature maps along the channels."""
    return torch.cat(parts_BKHW, dim=1)
