"""What every network must do: learn, take any size, compile, start as published."""

import pytest
import torch
from torch.nn import functional as F

from normkd_explore.models import create_model
from normkd_explore.models.features import channel_shuffle
from tests.helpers.networks import SMALL, fill, images


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_learns(name):
    model = create_model(name, 3)
    F.cross_entropy(model(images(8)), torch.arange(8) % 3).backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_any_image_size_from_32_on(name):
    model = create_model(name, 4).eval()
    with torch.no_grad():
        for height, width in ((32, 32), (47, 33), (64, 64)):
            assert model(torch.zeros(1, 3, height, width)).shape == (1, 4)


@pytest.mark.parametrize("name", SMALL)
def test_channels_last_gives_the_same_logits(name):
    model = fill(create_model(name, 5).eval().double())
    x_BCHW = images(dtype=torch.float64)
    expected_BC, expected = model(x_BCHW, return_features=True)
    model = model.to(memory_format=torch.channels_last)
    logits_BC, features = model(x_BCHW.to(memory_format=torch.channels_last), return_features=True)
    torch.testing.assert_close(logits_BC, expected_BC, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(features, expected, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "vgg8"])
def test_one_graph_for_torch_compile(name):
    torch.compiler.reset()
    model = create_model(name, 5).eval()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        logits_BC, features = compiled(images(1), return_features=True)
        expected_BC, expected = model(images(1), return_features=True)
    assert torch.equal(logits_BC, expected_BC)
    torch.testing.assert_close(features, expected, rtol=0, atol=0)


def test_several_students_in_one_vectorised_call():
    students = [create_model("ShuffleV2", 5).eval() for _ in range(2)]
    parameters, buffers = torch.func.stack_module_state(students)

    def logits(parameters, buffers, x_BCHW):
        return torch.func.functional_call(students[0], (parameters, buffers), (x_BCHW,))

    together = torch.func.vmap(logits, in_dims=(0, 0, None))(parameters, buffers, images())
    torch.testing.assert_close(together, torch.stack([student(images()) for student in students]), rtol=1e-4, atol=1e-5)


def test_channel_shuffle_deals_groups_out():
    x_BKHW = torch.arange(2 * 12 * 2 * 3.0).reshape(2, 12, 2, 3)
    shuffled_BKHW = channel_shuffle(x_BKHW, 3)
    compiled = torch.compile(channel_shuffle, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x_BKHW, 3), shuffled_BKHW)
    for group in range(3):
        for index in range(4):
            assert torch.equal(shuffled_BKHW[:, index * 3 + group], x_BKHW[:, group * 4 + index])


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2"])
def test_the_seed_decides_the_weights(name):
    def drawn(seed):
        torch.manual_seed(seed)
        return torch.cat([value.flatten().double() for value in create_model(name, 5).state_dict().values()])

    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))


@pytest.mark.parametrize("name", ["resnet8x4", "wrn_40_2", "vgg8", "ResNet18", "MobileNetV2"])
def test_convolutions_start_with_fan_out_variance(name):
    torch.manual_seed(0)
    model = create_model(name)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 20_000:
            wanted = (2 / (module.kernel_size[0] ** 2 * module.out_channels)) ** 0.5
            assert module.weight.std().item() == pytest.approx(wanted, rel=0.03)
            assert abs(module.weight.mean().item()) < 0.03 * wanted


def test_classifiers_start_as_published():
    for name in ("vgg8", "MobileNetV2"):
        weight, bias = list(create_model(name).parameters())[-2:]
        assert weight.std().item() == pytest.approx(0.01, rel=0.03)
        assert not bias.any()
    assert not create_model("wrn_16_1").fc.bias.any()
    assert create_model("resnet8").fc.bias.any()
