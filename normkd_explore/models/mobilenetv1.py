"""MobileNetV1 for ImageNet, the usual student of a ResNet50 teacher.

Howard et al. 2017 (arXiv 1704.04861), width 1.

Shapes: B batch, C classes (logits) or colours (images), K channels, D pooled features, H, W.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from .features import Output, as_norm, conv1x1, conv3x3, global_average, rectified_features

STEM_WIDTH = 32
WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
# The stem, then the last block before each halving of the resolution from 1/4 on, as in the stages of a
# ResNet.
STAGE_ENDS = (0, 3, 5, 11, 13)


class SeparableConvolution(nn.Sequential):
    """Depthwise 3x3 and pointwise 1x1 convolution; maps one pre-activation to the next."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        depthwise = conv3x3(width_in, width_in, stride, groups=width_in)
        pointwise = conv1x1(width_in, width)
        super().__init__(depthwise, nn.BatchNorm2d(width_in), nn.ReLU(), pointwise, nn.BatchNorm2d(width))

    def forward(self, pre_BKHW: Tensor) -> Tensor:
        return super().forward(F.relu(pre_BKHW))


class MobileNetV1(nn.Module):
    """3x3 stem of stride 2, thirteen separable convolutions, average pool, linear classifier.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        stem = nn.Sequential(conv3x3(3, STEM_WIDTH, stride=2), nn.BatchNorm2d(STEM_WIDTH))
        widths_in = (STEM_WIDTH, *WIDTHS[:-1])
        blocks = map(SeparableConvolution, widths_in, WIDTHS, STRIDES)
        self.model = nn.Sequential(stem, *blocks)
        self.fc = nn.Linear(WIDTHS[-1], num_classes)

    def forward(self, images_BCHW: Tensor, return_features: bool = False) -> Output:
        """Logits (B, C); with return_features also the Features: stem and four stages."""
        pre, pre_BKHW = [], images_BCHW
        for index, block in enumerate(self.model):
            pre_BKHW = block(pre_BKHW)
            if index in STAGE_ENDS:
                pre.append(pre_BKHW)
        pooled_BD = global_average(F.relu(pre_BKHW))
        logits_BC = self.fc(pooled_BD)
        return (logits_BC, rectified_features(pre, pooled_BD)) if return_features else logits_BC

    def norms_before_relu(self) -> list[nn.BatchNorm2d]:
        """Batch norms whose outputs are the pre-activations, in their order."""
        return [as_norm(list(self.model[index].children())[-1]) for index in STAGE_ENDS]
