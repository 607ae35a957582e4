"""Published settings, checked against the values read in the authors' configurations."""

from __future__ import annotations

import pytest

from normkd_explore.losses import DKD, KD, LSKD, NormDKD, NormKD
from normkd_explore.methods import METHODS, get_method, settings_for
from normkd_explore.models import list_models
from normkd_explore.training import Recipe, get_preset, list_presets, teacher_recipe
from normkd_explore.training.recipes.presets import parse_preset

CIFAR_PAIRS = """resnet56-resnet20 resnet110-resnet32 resnet32x4-resnet8x4 wrn_40_2-wrn_16_2 wrn_40_2-wrn_40_1
vgg13-vgg8 resnet32x4-ShuffleV1 resnet32x4-ShuffleV2 wrn_40_2-ShuffleV1 vgg13-MobileNetV2 ResNet50-MobileNetV2
resnet110-resnet20"""


def test_every_promised_preset_exists():
    wanted = {"glyphs/resnet20-resnet8", "imagenet/resnet34-resnet18", "imagenet/resnet50-mobilenetv1"}
    wanted |= {f"cifar100/{pair}" for pair in CIFAR_PAIRS.split()}
    assert set(list_presets()) == wanted


@pytest.mark.parametrize("name", list_presets())
@pytest.mark.parametrize("method", METHODS)
def test_every_preset_names_real_models_and_builds_its_loss(name, method):
    recipe = get_preset(name, method)
    assert {recipe.student, *parse_preset(name)[1:]} <= set(list_models())
    get_method(method).build(**recipe.settings.loss)
    assert recipe.settings.source
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe


def test_the_cifar100_solver_is_the_published_one():
    recipe = get_preset("cifar100/resnet32x4-resnet8x4")
    solver = (recipe.epochs, recipe.batch_size, recipe.lr, recipe.milestones, recipe.momentum, recipe.weight_decay)
    assert solver == (240, 64, 0.05, (150, 180, 210), 0.9, 5e-4)
    for student in ("resnet32x4-ShuffleV1", "resnet32x4-ShuffleV2", "vgg13-MobileNetV2", "ResNet50-MobileNetV2"):
        assert get_preset(f"cifar100/{student}").lr == 0.01
    assert teacher_recipe("cifar100/vgg13-MobileNetV2").lr == 0.05


def test_the_imagenet_solver_is_the_published_one():
    recipe = get_preset("imagenet/resnet34-resnet18")
    solver = (recipe.epochs, recipe.batch_size, recipe.lr, recipe.milestones, recipe.weight_decay)
    assert solver == (100, 512, 0.2, (30, 60, 90), 1e-4)


def settings(method, pair, dataset="cifar100"):
    return settings_for(method, dataset, *pair.split("-"))


def test_normkd_settings():
    for pair in CIFAR_PAIRS.split()[:-1]:
        s = settings("normkd", pair)
        assert (s.loss, s.ce_weight, s.kd_weight, s.published) == ({"t_norm": 2.0}, 0.1, 0.9, True)
    s = settings("normkd", "resnet34-resnet18", "imagenet")
    assert (s.loss, s.ce_weight, s.kd_weight) == ({"t_norm": 1.0}, 0.5, 0.5)
    assert not settings("normkd", "resnet110-resnet20").published


def test_kd_settings():
    s = settings("kd", "vgg13-vgg8")
    assert (s.loss, s.ce_weight, s.kd_weight) == ({"temperature": 4.0}, 0.1, 0.9)
    s = settings("kd", "resnet50-mobilenetv1", "imagenet")
    assert (s.loss, s.ce_weight, s.kd_weight) == ({"temperature": 1.0}, 0.5, 0.5)


@pytest.mark.parametrize(
    "pair, beta",
    list(zip(CIFAR_PAIRS.split()[:-1], (2.0, 2.0, 8.0, 6.0, 6.0, 6.0, 8.0, 8.0, 8.0, 6.0, 8.0), strict=True)),
)
def test_dkd_betas(pair, beta):
    s = settings("dkd", pair)
    assert s.loss == {"alpha": 1.0, "beta": beta, "temperature": 4.0}
    assert (s.ce_weight, s.kd_weight, s.warmup_epochs) == (1.0, 1.0, 20)


def test_dkd_on_imagenet():
    assert settings("dkd", "resnet34-resnet18", "imagenet").loss == {"alpha": 1.0, "beta": 0.5, "temperature": 1.0}
    assert settings("dkd", "resnet50-mobilenetv1", "imagenet").loss["beta"] == 2.0
    assert settings("dkd", "resnet34-resnet18", "imagenet").warmup_epochs == 1


@pytest.mark.parametrize(
    "pair, alpha, beta",
    [
        ("resnet56-resnet20", 7.0, 2.0),
        ("resnet110-resnet32", 5.0, 4.0),
        ("resnet32x4-resnet8x4", 4.0, 5.0),
        ("wrn_40_2-wrn_16_2", 4.0, 5.0),
        ("wrn_40_2-wrn_40_1", 3.0, 6.0),
        ("vgg13-vgg8", 2.0, 7.0),
        ("resnet32x4-ShuffleV1", 0.5, 8.5),
        ("resnet32x4-ShuffleV2", 4.0, 5.0),
        ("wrn_40_2-ShuffleV1", 4.0, 5.0),
        ("vgg13-MobileNetV2", 3.0, 6.0),
        ("ResNet50-MobileNetV2", 2.0, 7.0),
    ],
)
def test_normdkd_alphas_and_betas(pair, alpha, beta):
    s = settings("normdkd", pair)
    assert s.loss == {"alpha": alpha, "beta": beta, "t_norm": 2.0} and s.warmup_epochs == 20


def test_normdkd_on_imagenet():
    first = settings("normdkd", "resnet34-resnet18", "imagenet")
    second = settings("normdkd", "resnet50-mobilenetv1", "imagenet")
    assert first.loss == {"alpha": 1.0, "beta": 1.0, "t_norm": 0.5}
    assert second.loss == {"alpha": 1.0, "beta": 1.0, "t_norm": 0.75}


@pytest.mark.parametrize(
    "pair, tau, weight, published",
    [
        ("resnet56-resnet20", 2.0, 9.0, True),
        ("ResNet50-MobileNetV2", 3.0, 1.0, True),
        ("resnet110-resnet20", 4.0, 12.0, True),
        ("vgg13-MobileNetV2", 3.0, 9.0, True),
        ("vgg13-vgg8", 3.0, 9.0, True),
        ("resnet32x4-ShuffleV1", 2.0, 9.0, False),
    ],
)
def test_lskd_settings(pair, tau, weight, published):
    s = settings("lskd", pair)
    assert (s.loss, s.kd_weight, s.ce_weight, s.published) == ({"temperature": tau}, weight, 0.1, published)


def test_defaults_of_the_named_losses_are_the_cifar_ones():
    for method, loss in {"kd": KD, "normkd": NormKD, "dkd": DKD, "normdkd": NormDKD, "lskd": LSKD}.items():
        assert repr(loss()) == repr(loss(**METHODS[method].cifar100.loss))


def test_unknown_names_teach():
    with pytest.raises(ValueError, match=r"resnet32x4-resnet8x4"):
        get_preset("cifar10O/resnet32x4-resnet8x4")
    with pytest.raises(ValueError, match=r"Close to it: .*resnet20"):
        get_preset("glyphs/resnet21-resnet8")
    with pytest.raises(ValueError, match=r"Close to it: normkd, .*\."):
        get_preset("glyphs/resnet20-resnet8", "normk")


def test_bad_recipe_values_are_named():
    with pytest.raises(ValueError, match="epochs: found 0, wanted"):
        get_preset("glyphs/resnet20-resnet8").with_epochs(0)
    with pytest.raises(ValueError, match=r"config\.yaml: colour is unknown, known are batch_size"):
        Recipe.from_yaml("colour: red\n")


def test_a_users_own_pair_takes_any_two_models():
    recipe = get_preset("folder/wrn_40_2-MobileNetV2", "dkd")
    assert (recipe.dataset, recipe.teacher, recipe.student) == ("imagefolder", "wrn_40_2", "MobileNetV2")
    assert not recipe.settings.published
