"""ResNet18 and ResNet50 for 32x32 images: the ImageNet networks with a 3x3 stem of stride 1 and no max pool.

He et al. 2016 (arXiv 1512.03385, table 1). The capital R tells them from `resnet18` and `resnet50`, the
ImageNet networks with a 7x7 stem.

Shapes: B batch, C classes (logits) or colours (images), K channels, D pooled features, H, W.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from .features import (
    Output,
    conv1x1,
    conv3x3,
    global_average,
    init_convolutions,
    last_norms,
    pre_activations,
    projection,
    rectified_features,
)

WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; maps one pre-activation to the next."""

    expansion = 1

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(width_in, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = projection(width_in, width, stride)

    def forward(self, pre_BKHW: Tensor) -> Tensor:
        x_BKHW = F.relu(pre_BKHW)
        branch_BKHW = F.relu(self.bn1(self.conv1(x_BKHW)))
        return self.bn2(self.conv2(branch_BKHW)) + self.shortcut(x_BKHW)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 convolution beside a shortcut; maps pre-activation to pre-activation."""

    expansion = 4

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv1x1(width_in, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, width * self.expansion)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.shortcut = projection(width_in, width * self.expansion, stride)

    def forward(self, pre_BKHW: Tensor) -> Tensor:
        x_BKHW = F.relu(pre_BKHW)
        branch_BKHW = F.relu(self.bn1(self.conv1(x_BKHW)))
        branch_BKHW = F.relu(self.bn2(self.conv2(branch_BKHW)))
        return self.bn3(self.conv3(branch_BKHW)) + self.shortcut(x_BKHW)


class ResNetV2(nn.Module):
    """3x3 stem, four stages (strides 1, 2, 2, 2; widths 64 ... 512 times the expansion), pool, linear.

    Args:
        block: BasicBlock or Bottleneck.
        blocks: number of blocks of each stage.
        num_classes: C.
    """

    def __init__(
        self, block: type[BasicBlock] | type[Bottleneck], blocks: tuple[int, int, int, int], num_classes: int
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, WIDTHS[0])
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        width_out = [width * block.expansion for width in WIDTHS]
        self.layer1 = stage(block, WIDTHS[0], WIDTHS[0], blocks[0], stride=1)
        self.layer2 = stage(block, width_out[0], WIDTHS[1], blocks[1], stride=2)
        self.layer3 = stage(block, width_out[1], WIDTHS[2], blocks[2], stride=2)
        self.layer4 = stage(block, width_out[2], WIDTHS[3], blocks[3], stride=2)
        self.linear = nn.Linear(width_out[3], num_classes)
        init_convolutions(self)

    def forward(self, images_BCHW: Tensor, return_features: bool = False) -> Output:
        """Logits (B, C); with return_features also the Features: stem and four stages."""
        stem_BKHW = self.bn1(self.conv1(images_BCHW))
        pre = pre_activations(stem_BKHW, (self.layer1, self.layer2, self.layer3, self.layer4))
        pooled_BD = global_average(F.relu(pre[-1]))
        logits_BC = self.linear(pooled_BD)
        return (logits_BC, rectified_features(pre, pooled_BD)) if return_features else logits_BC

    def norms_before_relu(self) -> list[nn.BatchNorm2d]:
        """Batch norms in front of the pre-activations: of each stage the one whose output is added to the shortcut."""
        return last_norms(self.bn1, (self.layer1, self.layer2, self.layer3, self.layer4))


def stage(
    block: type[BasicBlock] | type[Bottleneck], width_in: int, width: int, blocks: int, stride: int
) -> nn.Sequential:
    rest = (block(width * block.expansion, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(block(width_in, width, stride), *rest)
