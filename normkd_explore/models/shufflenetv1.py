"""ShuffleNet with three groups for CIFAR ("ShuffleV1").

Zhang et al. 2018 (arXiv 1707.01083), with a 1x1 stem at full resolution.

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
WIDTHS = (240, 480, 960)
BLOCKS = (4, 8, 4)
GROUPS = 3


class Bottleneck(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1; maps one pre-activation to the next.

    With stride 1 the branch is added to the input; with stride 2 it is joined to the average-pooled input,
    and so brings only the channels that the input lacks.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        branch = width if stride == 1 else width - width_in
        middle = branch // 4
        self.groups = 1 if width_in == STEM_WIDTH else GROUPS
        self.conv1 = conv1x1(width_in, middle, groups=self.groups)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = conv3x3(middle, middle, stride, groups=middle)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = conv1x1(middle, branch, groups=GROUPS)
        self.bn3 = nn.BatchNorm2d(branch)

    def forward(self, pre_BKHW: Tensor) -> Tensor:
        x_BKHW = F.relu(pre_BKHW)
        branch_BKHW = F.relu(self.bn1(self.conv1(x_BKHW)))
        branch_BKHW = channel_shuffle(branch_BKHW, self.groups)
        branch_BKHW = F.relu(self.bn2(self.conv2(branch_BKHW)))
        branch_BKHW = self.bn3(self.conv3(branch_BKHW))
        if self.stride == 1:
            return branch_BKHW + x_BKHW
        return concatenate(branch_BKHW, F.avg_pool2d(x_BKHW, 3, stride=2, padding=1))


class ShuffleNetV1(nn.Module):
    """1x1 stem, three stages of 4, 8 and 4 blocks that each halve the resolution, pool, linear classifier.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = conv1x1(3, STEM_WIDTH)
        self.bn1 = nn.BatchNorm2d(STEM_WIDTH)
        self.layer1 = stage(STEM_WIDTH, WIDTHS[0], BLOCKS[0])
        self.layer2 = stage(WIDTHS[0], WIDTHS[1], BLOCKS[1])
        self.layer3 = stage(WIDTHS[1], WIDTHS[2], BLOCKS[2])
        self.linear = nn.Linear(WIDTHS[2], num_classes)

    def forward(self, images_BCHW: Tensor, return_features: bool = False) -> Output:
        """Logits (B, C); with return_features also the Features: stem and three stages."""
        stem_BKHW = self.bn1(self.conv1(images_BCHW))
        pre = pre_activations(stem_BKHW, (self.layer1, self.layer2, self.layer3))
        pooled_BD = global_average(F.relu(pre[-1]))
        logits_BC = self.linear(pooled_BD)
        return (logits_BC, rectified_features(pre, pooled_BD)) if return_features else logits_BC


def stage(width_in: int, width: int, blocks: int) -> nn.Sequential:
    rest = (Bottleneck(width, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(Bottleneck(width_in, width, 2), *rest)
