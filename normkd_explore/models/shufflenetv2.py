"""ShuffleNetV2 of size 1 for CIFAR ("ShuffleV2").

Ma et al. 2018 (arXiv 1807.11164), with a 1x1 stem at full resolution.

Shapes: B batch, C classes (logits) or colours (images), K channels, D pooled features, H, W.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from .features import (
    Output,
    channel_shuffle,
    concatenate,
    conv1x1,
    conv3x3,
    global_average,
    pre_activations,
    rectified_features,
)

STEM_WIDTH = 24
WIDTHS = (116, 232, 464)
LAST_WIDTH = 1024
BASIC_BLOCKS = (3, 7, 3)


class BasicBlock(nn.Module):
    """Half of the channels pass untouched, the others through 1x1, depthwise 3x3, 1x1; then a shuffle.

    Maps one pre-activation to the next. The untouched half is already rectified, and ReLU commutes with the
    shuffle, so the ReLU of the branch can wait for the entrance of the next block.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = conv1x1(half, half)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = conv3x3(half, half, groups=half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = conv1x1(half, half)
        self.bn3 = nn.BatchNorm2d(half)

    def forward(self, pre_BKHW: Tensor) -> Tensor:
        untouched_BKHW, branch_BKHW = F.relu(pre_BKHW).chunk(2, dim=1)
        branch_BKHW = F.relu(self.bn1(self.conv1(branch_BKHW)))
        branch_BKHW = self.bn2(self.conv2(branch_BKHW))
        branch_BKHW = self.bn3(self.conv3(branch_BKHW))
        return channel_shuffle(concatenate(untouched_BKHW, branch_BKHW), 2)


class DownBlock(nn.Module):
    """Two branches with a depthwise 3x3 of stride 2 each, joined and shuffled; pre-activation to pre-activation."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = conv3x3(width_in, width_in, 2, groups=width_in)
        self.bn1 = nn.BatchNorm2d(width_in)
        self.conv2 = conv1x1(width_in, half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = conv1x1(width_in, half)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = conv3x3(half, half, 2, groups=half)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = conv1x1(half, half)
        self.bn5 = nn.BatchNorm2d(half)

    def forward(self, pre_BKHW: Tensor) -> Tensor:
        x_BKHW = F.relu(pre_BKHW)
        left_BKHW = self.bn2(self.conv2(self.bn1(self.conv1(x_BKHW))))
        right_BKHW = F.relu(self.bn3(self.conv3(x_BKHW)))
        right_BKHW = self.bn5(self.conv5(self.bn4(self.conv4(right_BKHW))))
        return channel_shuffle(concatenate(left_BKHW, right_BKHW), 2)


class ShuffleNetV2(nn.Module):
    """1x1 stem, three stages (a down block, then 3, 7, 3 basic blocks), 1x1 convolution to 1024, pool, linear.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = conv1x1(3, STEM_WIDTH)
        self.bn1 = nn.BatchNorm2d(STEM_WIDTH)
        self.layer1 = stage(STEM_WIDTH, WIDTHS[0], BASIC_BLOCKS[0])
        self.layer2 = stage(WIDTHS[0], WIDTHS[1], BASIC_BLOCKS[1])
        self.layer3 = stage(WIDTHS[1], WIDTHS[2], BASIC_BLOCKS[2])
        self.conv2 = conv1x1(WIDTHS[2], LAST_WIDTH)
        self.bn2 = nn.BatchNorm2d(LAST_WIDTH)
        self.linear = nn.Linear(LAST_WIDTH, num_classes)

    def forward(self, images_BCHW: Tensor, return_features: bool = False) -> Output:
        """Logits (B, C); with return_features also the Features: stem and three stages."""
        stem_BKHW = self.bn1(self.conv1(images_BCHW))
        pre = pre_activations(stem_BKHW, (self.layer1, self.layer2, self.layer3))
        last_BDHW = F.relu(self.bn2(self.conv2(F.relu(pre[-1]))))
        pooled_BD = global_average(last_BDHW)
        logits_BC = self.linear(pooled_BD)
        return (logits_BC, rectified_features(pre, pooled_BD, last_BDHW)) if return_features else logits_BC


def stage(width_in: int, width: int, basic_blocks: int) -> nn.Sequential:
    return nn.Sequential(DownBlock(width_in, width), *(BasicBlock(width) for _ in range(basic_blocks)))
