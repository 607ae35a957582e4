"""The zoo has the published sizes, tensor names and logits."""

import re

import numpy as np
import pytest
import torch
import torchvision

from normkd_explore.models import create_model, describe_model, list_models
from tests.helpers.networks import fill, images

# Parameters, multiply-accumulates in millions at 32x32, tensors in the state dict; 100 classes.
CIFAR = {
    "resnet8": (83_892, "12.51", 56),
    "resnet14": (181_108, "26.66", 92),
    "resnet20": (278_324, "40.82", 128),
    "resnet32": (472_756, "69.13", 200),
    "resnet44": (667_188, "97.44", 272),
    "resnet56": (861_620, "125.75", 344),
    "resnet110": (1_736_564, "253.16", 668),
    "resnet8x4": (1_233_540, "177.07", 62),
    "resnet32x4": (7_433_860, "1083.04", 206),
    "wrn_16_1": (180_916, "26.66", 82),
    "wrn_16_2": (703_284, "101.12", 83),
    "wrn_40_1": (569_780, "83.29", 226),
    "wrn_40_2": (2_255_156, "327.61", 227),
    "vgg8": (3_965_028, "96.19", 37),
    "vgg11": (9_277_284, "209.44", 58),
    "vgg13": (9_462_180, "284.94", 72),
    "vgg16": (14_774_436, "398.18", 93),
    "vgg19": (20_086_692, "511.43", 114),
    "ResNet18": (11_220_132, "555.47", 122),
    "ResNet50": (23_705_252, "1298.01", 320),
    "MobileNetV2": (812_836, "6.52", 320),
    "ShuffleV1": (949_258, "38.69", 296),
    "ShuffleV2": (1_355_528, "44.50", 338),
}
# Parameters and multiply-accumulates in thousands of millions at 224x224; 1000 classes.
IMAGENET = {
    "resnet18": (11_689_512, "1.814"),
    "resnet34": (21_797_672, "3.664"),
    "resnet50": (25_557_032, "4.089"),
    "mobilenetv1": (4_231_976, "0.569"),
}
NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
KEYS = {
    "resnet": rf"conv1\.weight|bn1\.{NORM}|layer[1-3]\.\d+\.conv[12]\.weight|layer[1-3]\.\d+\.bn[12]\.{NORM}"
    rf"|layer[1-3]\.0\.downsample\.(0\.weight|1\.{NORM})|fc\.(weight|bias)",
    "wrn": rf"conv1\.weight|block[1-3]\.layer\.\d+\.(bn[12]\.{NORM}|conv[12]\.weight)"
    rf"|block[1-3]\.layer\.0\.convShortcut\.weight|bn1\.{NORM}|fc\.(weight|bias)",
    "vgg": rf"block[0-4]\.[0369]\.(weight|bias)|block[0-4]\.(1|4|7|10)\.{NORM}|classifier\.(weight|bias)",
    "ResNet": rf"conv1\.weight|bn1\.{NORM}|layer[1-4]\.\d+\.conv[1-3]\.weight|layer[1-4]\.\d+\.bn[1-3]\.{NORM}"
    rf"|layer[1-4]\.0\.shortcut\.(0\.weight|1\.{NORM})|linear\.(weight|bias)",
    "MobileNetV2": rf"conv[12]\.0\.weight|conv[12]\.1\.{NORM}|blocks\.[0-6]\.\d\.conv\.[036]\.weight"
    rf"|blocks\.[0-6]\.\d\.conv\.[147]\.{NORM}|classifier\.0\.(weight|bias)",
    "ShuffleV1": rf"conv1\.weight|bn1\.{NORM}|layer[1-3]\.\d\.(conv[1-3]\.weight|bn[1-3]\.{NORM})"
    r"|linear\.(weight|bias)",
    "ShuffleV2": rf"conv[12]\.weight|bn[12]\.{NORM}|layer[1-3]\.0\.(conv[1-5]\.weight|bn[1-5]\.{NORM})"
    rf"|layer[1-3]\.[1-7]\.(conv[1-3]\.weight|bn[1-3]\.{NORM})|linear\.(weight|bias)",
}
# Logits of the second image, float64, evaluated with independent implementations that follow the published
# code, with the weights of `fill`, seed 7, five classes, and images of seed 8.
GOLDEN = {
    "resnet14": (9.50960184, -19.2861783, 17.1466384),
    "resnet8x4": (5.65079048, 3.28949988, -1.07975495),
    "wrn_16_1": (2.14495693, -3.86221331, 2.69400449),
    "wrn_16_2": (5.8647285, -4.81643883, 3.38463712),
    "vgg8": (-1.63026931, -3.36156237, 13.799396),
    "vgg16": (5.94280628, -0.672239674, -1.11538765),
    "ResNet18": (-12.889084, -20.98297, 3.44504644),
    "ResNet50": (711.519309, -814.946602, -368.686603),
    "MobileNetV2": (38.9287678, 518.052724, -150.664701),
    "ShuffleV1": (10.8034492, 4.77291818, 83.6374439),
    "ShuffleV2": (67.757298, 216.433228, 49.8953574),
    "mobilenetv1": (-1.04466803, -0.529961597, 1.06614421),
}


def test_the_zoo_is_complete():
    """Importing the federations adds a network of ours, for many clients on a laptop."""
    assert tuple(name for name in list_models() if name != "pocket") == (*CIFAR, *IMAGENET)


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_networks_have_the_published_size(name):
    parameters, macs, tensors = CIFAR[name]
    facts = describe_model(name)
    assert (facts.parameters, f"{facts.macs / 1e6:.2f}") == (parameters, macs)
    with torch.device("meta"):
        model = create_model(name)
    assert len(model.state_dict()) == tensors
    family = name if name in KEYS else re.match("[A-Za-z]+", name)[0]
    assert [key for key in model.state_dict() if not re.fullmatch(KEYS[family], key)] == []


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_networks_have_the_published_size(name):
    parameters, macs = IMAGENET[name]
    facts = describe_model(name, num_classes=1000)
    assert (facts.parameters, f"{facts.macs / 1e9:.3f}", facts.image_size) == (parameters, macs, 224)


def test_mobilenetv1_has_the_published_tensor_names():
    model = create_model("mobilenetv1", 7)
    separable = [(index, layer) for index in range(1, 14) for layer in (0, 3)]
    convolutions = [(0, 0), *separable]
    assert [key for key, value in model.state_dict().items() if value.ndim == 4] == [
        f"model.{index}.{layer}.weight" for index, layer in convolutions
    ]
    norms = {re.sub(r"\.[a-z_]+$", "", key) for key in model.state_dict() if key.endswith("running_mean")}
    assert norms == {f"model.{index}.{layer + 1}" for index, layer in convolutions}
    assert model.state_dict()["fc.weight"].shape == (7, 1024)


@pytest.mark.parametrize("name", GOLDEN)
def test_logits_agree_with_independent_implementations(name):
    model = fill(create_model(name, 5).double().eval())
    with torch.no_grad():
        logits_BC = model(images(side=224 if name == "mobilenetv1" else 32, dtype=torch.float64))
    np.testing.assert_allclose(logits_BC[1, :3].numpy(), GOLDEN[name], rtol=1e-7)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_imagenet_resnets_are_torchvisions(name):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(num_classes=6)
    torch.manual_seed(0)
    ours = create_model(name, 6)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    pairs = zip(theirs.state_dict().values(), ours.state_dict().values(), strict=True)
    assert all(torch.equal(their_tensor, our_tensor) for their_tensor, our_tensor in pairs)
    x_BCHW = images(side=64)
    assert torch.allclose(ours(x_BCHW), theirs(x_BCHW), atol=1e-5)
    assert torch.equal(ours.layer3[0].bn1.running_mean, theirs.layer3[0].bn1.running_mean)
