"""torchvision's ImageNet ResNets (resnet18, resnet34, resnet50) with features on request.

The classes inherit from torchvision's, so state-dict keys, initialisation and function are torchvision's own.
Only the ReLU after each addition moves to the entrance of the next block, which lays the pre-activations
open.

Shapes: B batch, C classes (logits) or colours (images), K channels, D pooled features, H, W.
"""

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet as torchvision_resnet

from .features import Output, global_average, last_norms, pre_activations, rectified_features


class BasicBlock(torchvision_resnet.BasicBlock):
    """torchvision's basic block from pre-activation to pre-activation."""

    def forward(self, pre_BKHW: Tensor) -> Tensor:
        x_BKHW = F.relu(pre_BKHW)
        branch_BKHW = F.relu(self.bn1(self.conv1(x_BKHW)))
        branch_BKHW = self.bn2(self.conv2(branch_BKHW))
        return branch_BKHW + (x_BKHW if self.downsample is None else self.downsample(x_BKHW))


class Bottleneck(torchvision_resnet.Bottleneck):
    """torchvision's bottleneck block from pre-activation to pre-activation."""

    def forward(self, pre_BKHW: Tensor) -> Tensor:
        x_BKHW = F.relu(pre_BKHW)
        branch_BKHW = F.relu(self.bn1(self.conv1(x_BKHW)))
        branch_BKHW = F.relu(self.bn2(self.conv2(branch_BKHW)))
        branch_BKHW = self.bn3(self.conv3(branch_BKHW))
        return branch_BKHW + (x_BKHW if self.downsample is None else self.downsample(x_BKHW))


class ImageNetResNet(torchvision_resnet.ResNet):
    """7x7 stem of stride 2, max pool, four stages, average pool, linear classifier.

    Args:
        block: BasicBlock or Bottleneck of this module.
        blocks: number of blocks of each stage.
        num_classes: C.
    """

    def __init__(
        self, block: type[BasicBlock] | type[Bottleneck], blocks: tuple[int, int, int, int], num_classes: int
    ) -> None:
        super().__init__(block, list(blocks), num_classes=num_classes)

    def forward(self, images_BCHW: Tensor, return_features: bool = False) -> Output:
        """Logits (B, C); with return_features also the Features: stem (before the max pool) and four stages."""
        stem_BKHW = self.bn1(self.conv1(images_BCHW))
        # Maximum and ReLU commute, so the ReLU of the first block serves the quarter of the places left here.
        pooled_stem_BKHW = self.maxpool(stem_BKHW)
        _, *pre = pre_activations(pooled_stem_BKHW, (self.layer1, self.layer2, self.layer3, self.layer4))
        pooled_BD = global_average(F.relu(pre[-1]))
        logits_BC = self.fc(pooled_BD)
        return (logits_BC, rectified_features([stem_BKHW, *pre], pooled_BD)) if return_features else logits_BC

    def norms_before_relu(self) -> list[nn.BatchNorm2d]:
        """Batch norms in front of the pre-activations: of each stage the one whose output is added to the shortcut."""
        return last_norms(self.bn1, (self.layer1, self.layer2, self.layer3, self.layer4))
