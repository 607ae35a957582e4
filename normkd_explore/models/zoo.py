"""All networks by name: the CIFAR zoo of the distillation literature, ImageNet networks, and timm's.

Shapes: B batch, C classes (of logits) or colours (of images), K channels, H height, W width.
"""

import difflib
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from . import resnetv2
from .mobilenetv1 import MobileNetV1
from .mobilenetv2 import MobileNetV2
from .own import OWN, Builder, register_own
from .resnet import FOUR_TIMES, NARROW, ResNet
from .resnetv2 import ResNetV2
from .shufflenetv1 import ShuffleNetV1
from .shufflenetv2 import ShuffleNetV2
from .timm_models import PREFIX as TIMM_PREFIX
from .timm_models import create_timm_model
from .vgg import VGG
from .wrn import WideResNet


def _imagenet_resnet(block: str, blocks: tuple[int, int, int, int], num_classes: int) -> nn.Module:
    # Imported here because torchvision takes seconds to import.
    from . import imagenet

    return imagenet.ImageNetResNet(getattr(imagenet, block), blocks, num_classes)


_CIFAR: dict[str, Callable[..., nn.Module]] = {
    "resnet8": partial(ResNet, 8, NARROW),
    "resnet14": partial(ResNet, 14, NARROW),
    "resnet20": partial(ResNet, 20, NARROW),
    "resnet32": partial(ResNet, 32, NARROW),
    "resnet44": partial(ResNet, 44, NARROW),
    "resnet56": partial(ResNet, 56, NARROW),
    "resnet110": partial(ResNet, 110, NARROW),
    "resnet8x4": partial(ResNet, 8, FOUR_TIMES),
    "resnet32x4": partial(ResNet, 32, FOUR_TIMES),
    "wrn_16_1": partial(WideResNet, 16, 1),
    "wrn_16_2": partial(WideResNet, 16, 2),
    "wrn_40_1": partial(WideResNet, 40, 1),
    "wrn_40_2": partial(WideResNet, 40, 2),
    "vgg8": partial(VGG, 8),
    "vgg11": partial(VGG, 11),
    "vgg13": partial(VGG, 13),
    "vgg16": partial(VGG, 16),
    "vgg19": partial(VGG, 19),
    "ResNet18": partial(ResNetV2, resnetv2.BasicBlock, (2, 2, 2, 2)),
    "ResNet50": partial(ResNetV2, resnetv2.Bottleneck, (3, 4, 6, 3)),
    "MobileNetV2": MobileNetV2,
    "ShuffleV1": ShuffleNetV1,
    "ShuffleV2": ShuffleNetV2,
}
_IMAGENET: dict[str, Callable[..., nn.Module]] = {
    "resnet18": partial(_imagenet_resnet, "BasicBlock", (2, 2, 2, 2)),
    "resnet34": partial(_imagenet_resnet, "BasicBlock", (3, 4, 6, 3)),
    "resnet50": partial(_imagenet_resnet, "Bottleneck", (3, 4, 6, 3)),
    "mobilenetv1": MobileNetV1,
}
_BUILDERS = _CIFAR | _IMAGENET


def list_models() -> tuple[str, ...]:
    """All names for create_model, besides "timm:NAME": for 32x32 images, for ImageNet, then a user's own."""
    return (*_BUILDERS, *OWN)


def register_model(name: str, builder: Builder, *, stages: Sequence[str] = (), pooled: str | None = None) -> None:
    """Make a network of one's own known under a name: to create_model, to presets and to the command line.

    A name that was registered before is replaced, so that a notebook cell can be run again.

    Args:
        name: letters, digits, "_" and "."; not one of the package's own names.
        builder: called with the number of classes; returns a fresh network drawn from torch's global generator. What
            its forward may return is said at `adapt`.
        stages, pooled: layers whose outputs feature methods compare, see `adapt`; methods on logits need none.

    Raises:
        ValueError: the name is taken or has other characters.
        TypeError: the builder is no function.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.]+", name):
        raise ValueError(f"name: found {name!r}, wanted letters, digits, _ and . alone: presets join names with -.")
    if name in _BUILDERS:
        raise ValueError(f"name: {name!r} is a network of this package; choose another name for yours.")
    register_own(name, builder, stages, pooled)


def create_model(name: str, num_classes: int = 100) -> nn.Module:
    """An untrained network, drawn from torch's global random generator: torch.manual_seed fixes it.

    model(images_BCHW) gives logits (B, C); model(images_BCHW, return_features=True) gives (logits, Features).
    Any image size from 32 on works. Case matters: "ResNet50" is the CIFAR network with a 3x3 stem, "resnet50"
    torchvision's ImageNet network.

    Args:
        name: one of list_models(), or "timm:NAME" for a network of the timm library.
        num_classes: C, at least 2.

    Raises:
        ValueError: unknown name, or fewer than two classes.
        TypeError: num_classes is no whole number.
        ModuleNotFoundError: a timm name without timm.
    """
    num_classes = _checked_classes(num_classes)
    if isinstance(name, str) and name.startswith(TIMM_PREFIX):
        return create_timm_model(name.removeprefix(TIMM_PREFIX), num_classes)
    if name in OWN:
        return OWN[name](num_classes=num_classes)
    if name not in _BUILDERS:
        raise ValueError(_unknown_name(name))
    return _BUILDERS[name](num_classes=num_classes)


def _checked_classes(num_classes: int) -> int:
    try:
        if isinstance(num_classes, bool):
            raise TypeError
        count = operator.index(num_classes)
    except TypeError:
        raise TypeError(
            f"num_classes must be a whole number such as 100, not {num_classes!r} ({type(num_classes).__name__})"
        ) from None
    if count < 2:
        raise ValueError(
            f"num_classes is {count}, but a softmax needs at least 2 classes: pass the number of classes of your "
            "data set, e.g. 100 for CIFAR-100"
        )
    return count


def _unknown_name(name: object) -> str:
    by_lower_case = {known.lower(): known for known in sorted({*_BUILDERS, *OWN})}
    wanted = str(name).lower()
    same_but_case = [known for known in (*_BUILDERS, *OWN) if known.lower() == wanted]
    close = same_but_case or [
        by_lower_case[match] for match in difflib.get_close_matches(wanted, by_lower_case, n=4, cutoff=0.6)
    ]
    similar = f" Similar names: {', '.join(close)} (case matters)." if close else ""
    return (
        f"unknown model name {name!r}.{similar} normkd_explore.models.list_models() lists all names; networks "
        f"of the timm library are called '{TIMM_PREFIX}NAME', and register_model makes your own known."
    )


@dataclass(frozen=True)
class ModelFacts:
    """Size and cost of a network.

    parameters: number of learnable values.
    macs: multiply-accumulates of one image in convolutions and linear layers (1 MAC = 2 FLOPs); batch norm,
        ReLU, pooling and biases are left out, as is the custom.
    stage_shapes: (K, H, W) of each entry of Features.stages; None where the network offers no features.
    """

    name: str
    num_classes: int
    image_size: int
    parameters: int
    macs: int
    stage_shapes: tuple[tuple[int, ...], ...] | None


def describe_model(name: str, num_classes: int = 100, image_size: int | None = None) -> ModelFacts:
    """Counts parameters and multiply-accumulates on torch's "meta" device: no memory, no arithmetic.

    Args:
        name: as for create_model.
        num_classes: C.
        image_size: H = W of the images; 224 for ImageNet and timm networks and 32 for the others if not
            given.

    Raises:
        ValueError, TypeError, ModuleNotFoundError: as create_model.
    """
    # Imported here because it loads torch's compiler, which takes seconds.
    from torch.utils.flop_counter import FlopCounterMode

    if image_size is None:
        image_size = 32 if name in _CIFAR else 224
    with torch.device("meta"), torch.no_grad():
        model = create_model(name, num_classes).eval()
        image_BCHW = torch.empty(1, 3, image_size, image_size)
        with FlopCounterMode(display=False) as counter:
            model(image_BCHW)
        stage_shapes = _stage_shapes(model, image_BCHW)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return ModelFacts(name, num_classes, image_size, parameters, counter.get_total_flops() // 2, stage_shapes)


def _stage_shapes(model: nn.Module, image_BCHW: torch.Tensor) -> tuple[tuple[int, ...], ...] | None:
    try:
        _, features = model(image_BCHW, return_features=True)
    except ValueError:
        return None
    return tuple(tuple(stage.shape[1:]) for stage in features.stages)
