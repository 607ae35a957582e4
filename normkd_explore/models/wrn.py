"""Wide ResNets of depth 6n + 4: wrn_16_1, wrn_16_2, wrn_40_1, wrn_40_2 (depth_width).

Zagoruyko and Komodakis 2016 (arXiv 1605.07146), without dropout.

Shapes: B batch, C classes (logits) or colours (images), K channels, D pooled features, H, W.
"""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from .features import Features, Output, conv1x1, conv3x3, global_average, init_convolutions


class BasicBlock(nn.Module):
    """BN - ReLU - conv3x3 - BN - ReLU - conv3x3 beside a shortcut that ends without batch norm or ReLU.

    Where widths differ, the shortcut is a 1x1 convolution of the *activated* input.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width_in)
        self.conv1 = conv3x3(width_in, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.convShortcut = None if width_in == width else conv1x1(width_in, width, stride)

    def forward(self, raw_BKHW: Tensor) -> Tensor:
        return self.after_first_norm(raw_BKHW, self.bn1(raw_BKHW))

    def after_first_norm(self, raw_BKHW: Tensor, normed_BKHW: Tensor) -> Tensor:
        x_BKHW = F.relu(normed_BKHW)
        branch_BKHW = self.conv2(F.relu(self.bn2(self.conv1(x_BKHW))))
        return branch_BKHW + (raw_BKHW if self.convShortcut is None else self.convShortcut(x_BKHW))


class Stage(nn.Module):
    """n basic blocks, the first of which changes width and resolution."""

    def __init__(self, width_in: int, width: int, blocks: int, stride: int) -> None:
        super().__init__()
        rest = (BasicBlock(width, width, 1) for _ in range(blocks - 1))
        self.layer = nn.Sequential(BasicBlock(width_in, width, stride), *rest)

    @property
    def first(self) -> BasicBlock:
        return cast(BasicBlock, self.layer[0])

    def forward(self, raw_BKHW: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (batch-normalised input, raw output).

        The normalised input is the pre-activation of the stage before. Handing it on spares a second pass
        through that batch norm, which in training would update its running statistics twice.
        """
        normed_BKHW = self.first.bn1(raw_BKHW)
        out_BKHW = self.first.after_first_norm(raw_BKHW, normed_BKHW)
        for block in self.layer[1:]:
            out_BKHW = block(out_BKHW)
        return normed_BKHW, out_BKHW


class WideResNet(nn.Module):
    """3x3 stem, three stages (strides 1, 2, 2; 16, 32, 64 times the width channels), BN, ReLU, pool, linear.

    Args:
        depth: 6n + 4.
        width: factor on the channels of the stages.
        num_classes: C.
    """

    def __init__(self, depth: int, width: int, num_classes: int) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        self.conv1 = conv3x3(3, 16)
        self.block1 = Stage(16, 16 * width, blocks, stride=1)
        self.block2 = Stage(16 * width, 32 * width, blocks, stride=2)
        self.block3 = Stage(32 * width, 64 * width, blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.fc = nn.Linear(64 * width, num_classes)
        init_convolutions(self)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images_BCHW: Tensor, return_features: bool = False) -> Output:
        """Logits (B, C); with return_features also the Features: raw stem and three raw stages."""
        raw, normed = [self.conv1(images_BCHW)], []
        for stage in (self.block1, self.block2, self.block3):
            normed_BKHW, out_BKHW = stage(raw[-1])
            normed.append(normed_BKHW)
            raw.append(out_BKHW)
        normed.append(self.bn1(raw[-1]))
        last_BDHW = F.relu(normed[-1])
        pooled_BD = global_average(last_BDHW)
        logits_BC = self.fc(pooled_BD)
        features = Features(tuple(raw), tuple(normed), pooled_BD, last_BDHW)
        return (logits_BC, features) if return_features else logits_BC

    def norms_before_relu(self) -> list[nn.BatchNorm2d]:
        """Batch norms whose outputs are the pre-activations: each stage's is the first of the next."""
        return [*(stage.first.bn1 for stage in (self.block1, self.block2, self.block3)), self.bn1]
