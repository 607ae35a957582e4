"""Weights go in and come out: every container, prefix and precision that people have files of."""

import argparse
from collections import OrderedDict

import pytest
import torch

from normkd_explore.models import CheckpointError, create_model, load_checkpoint, save_weights
from tests.helpers.weights import assert_same, prefixed


def optimizer_state(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


CONTAINERS = {
    "plain state dict": lambda state, model: state,
    "state_dict": lambda state, model: {"state_dict": state, "epoch": 3},
    "net": lambda state, model: {"net": state, "acc": 71.0},
    "data parallel": lambda state, model: prefixed(state, "module."),
    "compiled": lambda state, model: prefixed(state, "_orig_mod."),
    "compiled data parallel": lambda state, model: prefixed(state, "module._orig_mod."),
    "data parallel of compiled": lambda state, model: {"model": prefixed(state, "_orig_mod.module.")},
    "framework": lambda state, model: {"state_dict": prefixed(state, "model.")},
    "RepDistiller epoch, mdistiller teacher": lambda state, model: {
        "epoch": 240,
        "model": state,
        "accuracy": torch.tensor(72.0),
        "optimizer": optimizer_state(model),
    },
    "RepDistiller best": lambda state, model: {"epoch": 9, "model": state, "best_acc": 72.0},
    "RepDistiller last": lambda state, model: {
        "opt": argparse.Namespace(lr=0.05, betas=[0.1, 0.2], trial="0", nested=argparse.Namespace(gamma=1)),
        "model": state,
        "optimizer": optimizer_state(model),
    },
    "mdistiller student_best": lambda state, model: {"model": state},
    "mdistiller best": lambda state, model: {
        "model": prefixed(state, "module.student.") | prefixed(create_model("vgg8", 7).state_dict(), "module.teacher."),
        "optimizer": optimizer_state(model),
        "epoch": 240,
        "best_acc": torch.tensor(72.0),
    },
    "two networks side by side": lambda state, model: {"teacher": prefixed(state, "x."), "student": state},
    "without batch counters": lambda state, model: {k: v for k, v in state.items() if "num_batches" not in k},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_container_loads(tmp_path, model, kind, zipped):
    state = OrderedDict((key, value.clone()) for key, value in model.state_dict().items())
    path = tmp_path / "student_best"
    torch.save(CONTAINERS[kind](state, model), path, _use_new_zipfile_serialization=zipped)
    loaded = load_checkpoint("resnet8", path)
    if kind == "without batch counters":
        assert loaded.state_dict()["bn1.num_batches_tracked"] == 0
        state = OrderedDict((key, value * 0 if "num_batches" in key else value) for key, value in state.items())
    assert_same(loaded.state_dict(), state)


def test_a_distillers_file_holds_both_networks(tmp_path, model):
    teacher = create_model("wrn_16_1", 7)
    other = {"module.connector.weight": torch.zeros(3, 3)}
    both = prefixed(model.state_dict(), "module.student.") | prefixed(teacher.state_dict(), "module.teacher.") | other
    torch.save({"model": both}, tmp_path / "best")
    assert_same(load_checkpoint("wrn_16_1", tmp_path / "best", part="teacher").state_dict(), teacher.state_dict())
    assert_same(load_checkpoint("resnet8", tmp_path / "best", part="student").state_dict(), model.state_dict())
    with pytest.raises(ValueError, match="part must be 'student' or 'teacher', not 'both'"):
        load_checkpoint("resnet8", tmp_path / "best", part="both")
    torch.save({"model": prefixed(model.state_dict(), "module.student.")}, tmp_path / "half")
    with pytest.raises(CheckpointError, match="with a student only, wanted part='teacher'"):
        load_checkpoint("resnet8", tmp_path / "half", part="teacher")


def test_part_is_without_meaning_for_one_network(tmp_path, model):
    torch.save({"model": model.state_dict()}, tmp_path / "ckpt_epoch_240.pth")
    assert_same(
        load_checkpoint("resnet8", tmp_path / "ckpt_epoch_240.pth", part="teacher").state_dict(), model.state_dict()
    )


@pytest.mark.parametrize("name", ["mobilenetv1", "ShuffleV2", "MobileNetV2", "vgg8", "ResNet18"])
def test_prefixes_are_told_from_names(tmp_path, name):
    model = create_model(name, 4)
    torch.save({"model": prefixed(model.state_dict(), "module.")}, tmp_path / "file")
    assert_same(load_checkpoint(name, tmp_path / "file").state_dict(), model.state_dict())


def test_half_precision_files_fill_float_networks(tmp_path, model):
    torch.save({key: value.half() for key, value in model.state_dict().items()}, tmp_path / "half.pth")
    loaded = load_checkpoint("resnet8", tmp_path / "half.pth")
    assert loaded.conv1.weight.dtype == torch.float32
    assert torch.equal(loaded.conv1.weight, model.conv1.weight.half().float())


def test_wrapped_networks_are_filled(tmp_path, model):
    save_weights(model, tmp_path / "weights.safetensors")
    bare = create_model("resnet8", 7)
    wrapped = torch.compile(torch.nn.DataParallel(bare))
    assert load_checkpoint(wrapped, tmp_path / "weights.safetensors") is wrapped
    assert_same(bare.state_dict(), model.state_dict())


def test_loading_draws_no_random_numbers(tmp_path, model):
    save_weights(model, tmp_path / "weights.safetensors")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_checkpoint("resnet8", tmp_path / "weights.safetensors")
    assert torch.equal(torch.rand(3), expected)
