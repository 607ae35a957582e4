"""The features of every family: their shapes, and that asking for them changes nothing."""

import pytest
import torch

from normkd_explore.models import create_model, describe_model
from tests.helpers.networks import SMALL, fill, images

RECTIFIED = tuple(name for name in SMALL if name not in ("wrn_16_1", "MobileNetV2"))


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
