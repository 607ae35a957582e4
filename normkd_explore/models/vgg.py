"""VGG with batch norm for CIFAR: vgg8, vgg11, vgg13, vgg16, vgg19, without hidden fully connected layers.

Simonyan and Zisserman 2015 (arXiv 1409.1556), batch norm after every convolution.

Shapes: B batch, C classes (logits) or colours (images), K channels, D pooled features, H, W.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from .features import Output, as_norm, global_average, init_convolutions, init_linear, rectified_features

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class VGG(nn.Module):
    """Five blocks of 3x3 convolutions (with bias), max pools between them, average pool, linear classifier.

    Max pools follow blocks 0, 1 and 2; from 64 pixels on also block 3, so that the last maps stay at 4x4
    there.

    Args:
        depth: key of CONVOLUTIONS.
        num_classes: C.
    """

    def __init__(self, depth: int, num_classes: int) -> None:
        super().__init__()
        counts = CONVOLUTIONS[depth]
        self.block0 = block(3, WIDTHS[0], counts[0])
        self.block1 = block(WIDTHS[0], WIDTHS[1], counts[1])
        self.block2 = block(WIDTHS[1], WIDTHS[2], counts[2])
        self.block3 = block(WIDTHS[2], WIDTHS[3], counts[3])
        self.block4 = block(WIDTHS[3], WIDTHS[4], counts[4])
        self.classifier = nn.Linear(WIDTHS[4], num_classes)
        init_convolutions(self)
        init_linear(self.classifier)

    def forward(self, images_BCHW: Tensor, return_features: bool = False) -> Output:
        """Logits (B, C); with return_features also the Features: five blocks, the first in place of a stem."""
        pools = 4 if images_BCHW.shape[-1] >= 64 else 3
        pre, x_BKHW = [], images_BCHW
        for index, convolutions in enumerate((self.block0, self.block1, self.block2, self.block3, self.block4)):
            pre.append(convolutions(x_BKHW))
            x_BKHW = F.relu(pre[-1])
            if index < pools:
                x_BKHW = F.max_pool2d(x_BKHW, 2)
        pooled_BD = global_average(x_BKHW)
        logits_BC = self.classifier(pooled_BD)
        return (logits_BC, rectified_features(pre, pooled_BD)) if return_features else logits_BC

    def norms_before_relu(self) -> list[nn.BatchNorm2d]:
        """Batch norms whose outputs are the pre-activations, in their order."""
        return [as_norm(block[-1]) for block in (self.block0, self.block1, self.block2, self.block3, self.block4)]


def block(width_in: int, width: int, convolutions: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU ... without the last ReLU: the block ends in its pre-activation."""
    layers: list[nn.Module] = []
    for index in range(convolutions):
        layers += [
            nn.Conv2d(width if index else width_in, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers[:-1])
