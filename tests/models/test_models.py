"""The zoo: published sizes, tensor names and function of every network, features, and errors that teach."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision
from torch.nn import functional as F

from normkd_explore.models import create_model, describe_model, list_models
from normkd_explore.models.features import channel_shuffle

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
SMALL = (
    "resnet8",
    "wrn_16_1",
    "vgg8",
    "ResNet18",
    "MobileNetV2",
    "ShuffleV1",
    "ShuffleV2",
    "resnet18",
    "mobilenetv1",
)
RECTIFIED = tuple(name for name in SMALL if name not in ("wrn_16_1", "MobileNetV2"))

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


def standard_normal(shape, stream):
    return torch.from_numpy(stream.standard_normal(tuple(shape)))


def fill(model, seed=7):
    """Draws all tensors in the order of the state dict from numpy's frozen generator, batch statistics too."""
    stream = np.random.RandomState(seed)
    for key, value in model.state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        draw = standard_normal(value.shape, stream)
        if key.endswith("running_var"):
            draw = 0.5 + draw.abs()
        elif value.ndim > 1:
            draw = draw * (2 / value[0].numel()) ** 0.5
        else:
            draw = 1 + 0.3 * draw
        value.copy_(draw)
    return model


def images(batch=2, side=32, dtype=torch.float32):
    return standard_normal((batch, 3, side, side), np.random.RandomState(8)).to(dtype)


def test_the_zoo_is_complete():
    assert list_models() == (*CIFAR, *IMAGENET)


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


def test_feature_shapes_of_the_families():
    assert describe_model("resnet8x4").stage_shapes == ((32, 32, 32), (64, 32, 32), (128, 16, 16), (256, 8, 8))
    assert describe_model("wrn_16_2").stage_shapes == ((16, 32, 32), (32, 32, 32), (64, 16, 16), (128, 8, 8))
    assert describe_model("vgg8").stage_shapes[-3:] == ((256, 8, 8), (512, 4, 4), (512, 4, 4))
    assert describe_model("ShuffleV1").stage_shapes == ((24, 32, 32), (240, 16, 16), (480, 8, 8), (960, 4, 4))
    assert describe_model("ShuffleV2").stage_shapes[1:] == ((116, 16, 16), (232, 8, 8), (464, 4, 4))
    expected = ((16, 16, 16), (12, 16, 16), (16, 8, 8), (48, 4, 4), (160, 2, 2))
    assert describe_model("MobileNetV2").stage_shapes == expected
    expected = ((32, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (1024, 7, 7))
    assert describe_model("mobilenetv1").stage_shapes == expected
    assert describe_model("resnet18").stage_shapes[:2] == ((64, 112, 112), (64, 56, 56))


@pytest.mark.parametrize("name", SMALL)
def test_asking_for_features_changes_nothing(name):
    model = create_model(name, 5)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    logits_BC = model(images(4))
    once = {key: value.clone() for key, value in model.state_dict().items()}
    assert all(value == 1 for key, value in once.items() if key.endswith("num_batches_tracked"))
    model.load_state_dict(before)
    same_BC, features = model(images(4), return_features=True)
    assert torch.equal(logits_BC, same_BC)
    assert all(torch.equal(value, once[key]) for key, value in model.state_dict().items())
    classifier = list(model.children())[-1]
    assert torch.equal(classifier(features.pooled), logits_BC)


@pytest.mark.parametrize("name", RECTIFIED)
def test_stages_are_rectified_pre_activations(name):
    _, features = fill(create_model(name, 5).eval())(images(), return_features=True)
    assert len(features.stages) == len(features.pre_activation) >= 4
    for stage_BKHW, pre_BKHW in zip(features.stages, features.pre_activation, strict=True):
        assert pre_BKHW.min() < 0
        assert torch.equal(stage_BKHW, pre_BKHW.clamp(min=0))
    if name != "ShuffleV2":
        assert torch.allclose(features.pooled, features.stages[-1].flatten(2).mean(2), atol=1e-4, rtol=1e-4)


def test_wide_resnet_pre_activations_are_the_next_batch_norms_of_raw_outputs():
    model = fill(create_model("wrn_16_2", 5).eval())
    _, features = model(images(), return_features=True)
    following = (model.block1.layer[0].bn1, model.block2.layer[0].bn1, model.block3.layer[0].bn1, model.bn1)
    for norm, raw_BKHW, pre_BKHW in zip(following, features.stages, features.pre_activation, strict=True):
        assert raw_BKHW.min() < 0
        assert torch.equal(norm(raw_BKHW), pre_BKHW)


def test_mobilenetv2_has_no_pre_activations():
    _, features = create_model("MobileNetV2", 5).eval()(images(), return_features=True)
    assert features.pre_activation is None
    assert features.pooled.shape == (2, 1280)


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


def test_describing_draws_no_random_numbers():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    describe_model("resnet8")
    assert torch.equal(torch.rand(3), expected)


def test_cost_grows_with_the_area():
    small, large = describe_model("resnet20", 10, 32), describe_model("resnet20", 10, 64)
    head = 64 * 10
    assert large.macs - head == 4 * (small.macs - head)


@pytest.mark.parametrize(
    ("name", "hint"), [("Resnet20", "resnet20"), ("resnet_20", "resnet20"), ("wrn40_2", "wrn_40_2"), ("VGG8", "vgg8")]
)
def test_unknown_names_bring_similar_ones(name, hint):
    with pytest.raises(ValueError, match=rf"unknown model name '{name}'.*{hint}.*list_models\(\)"):
        create_model(name)


def test_names_that_differ_in_case_only_are_both_offered():
    with pytest.raises(ValueError, match="ResNet50, resnet50"):
        create_model("RESNET50")


@pytest.mark.parametrize("name", ["", "qqqqqq", None, 7])
def test_hopeless_names_still_say_where_to_look(name):
    with pytest.raises(ValueError, match=r"list_models\(\).*timm:NAME"):
        create_model(name)


@pytest.mark.parametrize("num_classes", [True, 10.0, "10", None])
def test_num_classes_must_be_a_whole_number(num_classes):
    with pytest.raises(TypeError, match="num_classes must be a whole number such as 100"):
        create_model("resnet8", num_classes)


@pytest.mark.parametrize("num_classes", [1, 0, -5])
def test_num_classes_must_be_at_least_two(num_classes):
    with pytest.raises(ValueError, match=f"num_classes is {num_classes}, but a softmax needs at least 2"):
        create_model("resnet8", num_classes)


def test_numpy_integers_count_as_whole_numbers():
    assert create_model("resnet8", np.int64(6)).fc.out_features == 6


def test_a_timm_name_without_timm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModuleNotFoundError, match="pip install timm"):
        create_model("timm:resnet18")


def test_timm_networks_keep_their_names_and_give_features():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs = timm.create_model("resnet10t", num_classes=5).eval()
    torch.manual_seed(0)
    ours = create_model("timm:resnet10t", 5).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    with torch.no_grad():
        logits_BC, features = ours(images(side=64), return_features=True)
        assert torch.equal(ours(images(side=64)), theirs(images(side=64)))
        torch.testing.assert_close(logits_BC, theirs(images(side=64)))
    assert [stage.shape[1] for stage in features.stages] == [64, 64, 128, 256, 512]
    assert (features.pooled.shape, features.pre_activation) == ((2, 512), None)


def test_unknown_timm_names_bring_similar_ones():
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=r"timm knows no model 'resnet188'.*timm:resnet18"):
        create_model("timm:resnet188")


def test_importing_and_building_cifar_networks_leaves_slow_libraries_alone():
    slow = ("torchvision", "torch._dynamo", "timm", "matplotlib", "plotly", "pandas", "IPython")
    program = (
        "import sys; from normkd_explore.models import create_model; create_model('resnet8');"
        f"print([name for name in {slow} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
