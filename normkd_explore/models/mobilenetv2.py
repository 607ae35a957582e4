"""MobileNetV2 at half width for CIFAR ("mobile_half" in the distillation literature).

Sandler et al. 2018 (arXiv 1801.04381), changed for 32x32 images: five halvings of the resolution become four,
ReLU in place of ReLU6, no dropout.

Shapes: B batch, C classes (logits) or colours (images), K channels, D pooled features, H, W.
"""

from torch import Tensor, nn

from .features import Features, Output, conv1x1, conv3x3, global_average, init_convolutions, init_linear

EXPANSION = 6
LAST_WIDTH = 1280
# (expansion, channels at full width, blocks, stride of the first block) for each group of inverted residuals.
GROUPS = (
    (1, 16, 1, 1),
    (EXPANSION, 24, 2, 1),
    (EXPANSION, 32, 3, 2),
    (EXPANSION, 64, 4, 2),
    (EXPANSION, 96, 3, 1),
    (EXPANSION, 160, 3, 2),
    (EXPANSION, 320, 1, 1),
)
STAGE_ENDS = (1, 2, 4, 6)


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise 3x3, linear 1x1 projection; added to the input where shapes allow."""

    def __init__(self, width_in: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = width_in * expansion
        self.residual = stride == 1 and width_in == width
        self.conv = nn.Sequential(
            *norm_relu(conv1x1(width_in, hidden)),
            *norm_relu(conv3x3(hidden, hidden, stride, groups=hidden)),
            conv1x1(hidden, width),
            nn.BatchNorm2d(width),
        )

    def forward(self, x_BKHW: Tensor) -> Tensor:
        return x_BKHW + self.conv(x_BKHW) if self.residual else self.conv(x_BKHW)


class MobileNetV2(nn.Module):
    """Stem of stride 2, seven groups of inverted residuals, 1x1 convolution to 1280, pool, linear classifier.

    Args:
        num_classes: C.
        width: factor on all channels but the last 1280.
    """

    def __init__(self, num_classes: int, width: float = 0.5) -> None:
        super().__init__()
        width_in = int(32 * width)
        self.conv1 = nn.Sequential(*norm_relu(conv3x3(3, width_in, stride=2)))
        self.blocks = nn.ModuleList()
        for expansion, full_width, blocks, stride in GROUPS:
            width_out = int(full_width * width)
            first = InvertedResidual(width_in, width_out, stride, expansion)
            rest = (InvertedResidual(width_out, width_out, 1, expansion) for _ in range(blocks - 1))
            self.blocks.append(nn.Sequential(first, *rest))
            width_in = width_out
        self.conv2 = nn.Sequential(*norm_relu(conv1x1(width_in, LAST_WIDTH)))
        linear = nn.Linear(LAST_WIDTH, num_classes)
        self.classifier = nn.Sequential(linear)
        init_convolutions(self)
        init_linear(linear)

    def forward(self, images_BCHW: Tensor, return_features: bool = False) -> Output:
        """Logits (B, C); with return_features also the Features: stem and four stages, no pre-activations.

        Stages end in a linear bottleneck, so there is no ReLU that a pre-activation could precede.
        """
        x_BKHW = self.conv1(images_BCHW)
        stages = [x_BKHW]
        for index, group in enumerate(self.blocks):
            x_BKHW = group(x_BKHW)
            if index in STAGE_ENDS:
                stages.append(x_BKHW)
        last_BDHW = self.conv2(x_BKHW)
        pooled_BD = global_average(last_BDHW)
        logits_BC = self.classifier(pooled_BD)
        return (logits_BC, Features(tuple(stages), None, pooled_BD, last_BDHW)) if return_features else logits_BC


def norm_relu(convolution: nn.Conv2d) -> tuple[nn.Module, nn.Module, nn.Module]:
    return convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()
