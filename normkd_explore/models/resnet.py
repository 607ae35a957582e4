"""CIFAR ResNets of depth 6n + 2: resnet8 ... resnet110, and the four times wider resnet8x4 and resnet32x4.

He et al. 2016 (arXiv 1512.03385, section 4.2), with 1x1 projections as shortcuts wherever shapes change.

Shapes: B batch, C classes (logits) or colours (images), K channels, D pooled features, H, W.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from .features import (
    Output,
    conv3x3,
    global_average,
    init_convolutions,
    last_norms,
    pre_activations,
    projection,
    rectified_features,
)

NARROW = (16, 16, 32, 64)
FOUR_TIMES = (32, 64, 128, 256)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; maps one pre-activation to the next.

    The ReLU usually drawn after the addition stands at the entrance of the next block: the same function, and
    the pre-activations that some feature losses want are at hand.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(width_in, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = projection(width_in, width, stride)

    def forward(self, pre_BKHW: Tensor) -> Tensor:
        x_BKHW = F.relu(pre_BKHW)
        branch_BKHW = F.relu(self.bn1(self.conv1(x_BKHW)))
        return self.bn2(self.conv2(branch_BKHW)) + self.downsample(x_BKHW)


class ResNet(nn.Module):
    """3x3 stem, three stages (strides 1, 2, 2) of (depth - 2) / 6 basic blocks, pool, linear classifier.

    Args:
        depth: 6n + 2.
        widths: channels of the stem and of the three stages.
        num_classes: C.
    """

    def __init__(self, depth: int, widths: tuple[int, int, int, int], num_classes: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = conv3x3(3, widths[0])
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = stage(widths[0], widths[1], blocks, stride=1)
        self.layer2 = stage(widths[1], widths[2], blocks, stride=2)
        self.layer3 = stage(widths[2], widths[3], blocks, stride=2)
        self.fc = nn.Linear(widths[3], num_classes)
        init_convolutions(self)

    def forward(self, images_BCHW: Tensor, return_features: bool = False) -> Output:
        """Logits (B, C); with return_features also the Features: stem and three stages."""
        stem_BKHW = self.bn1(self.conv1(images_BCHW))
        pre = pre_activations(stem_BKHW, (self.layer1, self.layer2, self.layer3))
        pooled_BD = global_average(F.relu(pre[-1]))
        logits_BC = self.fc(pooled_BD)
        return (logits_BC, rectified_features(pre, pooled_BD)) if return_features else logits_BC

    def norms_before_relu(self) -> list[nn.BatchNorm2d]:
        """Batch norms in front of the pre-activations: of each stage the one whose output is added to the shortcut."""
        return last_norms(self.bn1, (self.layer1, self.layer2, self.layer3))


def stage(width_in: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(width_in, width, stride)
    return nn.Sequential(first, *(BasicBlock(width, width, 1) for _ in range(blocks - 1)))
