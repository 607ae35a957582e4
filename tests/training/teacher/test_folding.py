"""Folding changes no more than rounding, and nothing of the model itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normkd_explore.models import create_model
from normkd_explore.training import Teacher, make_fabric
from normkd_explore.training.teacher.folding import folded

FOLDABLE = ["resnet8", "resnet8x4", "wrn_16_2", "ResNet18", "MobileNetV2", "ShuffleV1", "ShuffleV2"]


def seen_network(name):
    """A network whose running statistics and affine maps are not those of the start."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=7)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    model(torch.randn(16, 3, 32, 32))
    return model.eval().to(memory_format=torch.channels_last)


def pictures(count=5):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", FOLDABLE)
def test_folded_networks_give_the_same_logits_and_features(name):
    model, images_BCHW = seen_network(name), pictures()
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    before = images_BCHW.clone()
    fast, full = folded(model), folded(model, return_features=True)
    logits_BC, features = model(images_BCHW, return_features=True)
    torch.testing.assert_close(fast(images_BCHW), logits_BC, rtol=1e-3, atol=1e-4)
    logits_again, features_again = full(images_BCHW, True)
    assert torch.equal(logits_again, fast(images_BCHW))  # with and without features, to the last bit
    for kind in ("stages", "pre_activation"):
        for mine, theirs in zip(getattr(features_again, kind) or (), getattr(features, kind) or (), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)
    assert torch.equal(images_BCHW, before)  # no ReLU was written over the input
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


def test_something_was_folded():
    norms = [module for module in folded(seen_network("resnet8")).modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms == []


class Shared(nn.Module):
    """A convolution with two readers, and a sum that is needed again after its ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, images_BCHW):
        seen = self.conv(images_BCHW)
        both = self.norm(seen) + seen
        return (F.relu(both) + both).mean((2, 3))


def test_values_that_are_needed_again_are_kept():
    torch.manual_seed(0)
    model, images_BCHW = Shared(), pictures()
    model(3 * images_BCHW + 1)
    model.eval()
    torch.testing.assert_close(folded(model)(images_BCHW), model(images_BCHW))


class Choosy(nn.Module):
    """Looks at its data before it decides."""

    def forward(self, images_BCHW):
        return images_BCHW.mean((2, 3)) if images_BCHW.sum() > 0 else images_BCHW.amax((2, 3))


@pytest.mark.parametrize("model", [Choosy(), create_model("vgg8", num_classes=7)])
def test_a_model_that_cannot_be_traced_is_used_as_it_is(model):
    assert folded(model.eval()) is None
    images_BCHW = pictures(3)
    teacher = Teacher(model, make_fabric("cpu"))
    torch.testing.assert_close(teacher.evaluate(images_BCHW), model(images_BCHW), rtol=1e-4, atol=1e-5)
