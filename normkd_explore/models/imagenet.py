"""torchvision's ImageNet ResNets (resnet18, resnet34, resnet50) with features on request, and their weights.

The classes inherit from torchvision's, so state-dict keys, initialisation and function are torchvision's own.
Only the ReLU after each addition moves to the entrance of the next block, which lays the pre-activations
open.

Shapes: B batch, C classes (logits) or colours (images), K channels, D pooled features, H, W.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models as torchvision_models
from torchvision.models import resnet as torchvision_resnet

from .containers import CheckpointError
from .features import Output, global_average, pre_activations, rectified_features

WEIGHTS = {
    "resnet18": torchvision_models.ResNet18_Weights.IMAGENET1K_V1,
    "resnet34": torchvision_models.ResNet34_Weights.IMAGENET1K_V1,
    "resnet50": torchvision_models.ResNet50_Weights.IMAGENET1K_V1,
}


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


def pretrained_imagenet(name: str) -> nn.Module:
    """A ResNet with torchvision's ImageNet weights ("IMAGENET1K_V1"), the teachers of the distillation papers.

    Downloads once into torch's cache folder and checks the hash that is part of the file name.

    Args:
        name: "resnet18", "resnet34" or "resnet50".

    Raises:
        ValueError: torchvision has no weights for a network of this name.
        ConnectionError: the file is neither in the cache nor to be downloaded.
        CheckpointError: the file is damaged.
    """
    from .zoo import create_model

    if name not in WEIGHTS:
        raise ValueError(
            f"pretrained_imagenet: no ImageNet weights known for {name!r}; there are weights for "
            f"{', '.join(WEIGHTS)}. For any other network pass your own file: --teacher-weights FILE on the "
            "command line, or load_checkpoint(name, file) in Python."
        )
    weights = WEIGHTS[name]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    try:
        state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except OSError as error:
        raise ConnectionError(_no_download(name, weights.url, cached, error)) from error
    except Exception as error:
        raise CheckpointError(
            f"the ImageNet weights of {name} came damaged from {weights.url} or lie damaged in {cached} ({error}). "
            "Delete that file and try again."
        ) from error
    with torch.random.fork_rng(devices=[]):
        model = create_model(name, num_classes=1000)
    model.load_state_dict(state)
    return model


def _no_download(name: str, url: str, cached: Path, error: Exception) -> str:
    return (
        f"could not download the ImageNet weights of {name} from {url} ({error}). Without a network, fetch that "
        f"file elsewhere and either pass it with --teacher-weights FILE (in Python: load_checkpoint({name!r}, "
        f"FILE)) or copy it to {cached}, where it is looked for first."
    )
