"""Weights of another network: recognised by their tensors, and the differences listed."""

import pytest
import torch

from normkd_explore.models import CheckpointError, create_model, guess_model, list_models, load_checkpoint, save_weights
from tests.helpers.weights import assert_same


def test_the_number_of_classes_comes_from_the_file(tmp_path):
    for name in ("vgg8", "MobileNetV2", "resnet8"):
        save_weights(create_model(name, 13), tmp_path / "f.safetensors")
        weight = list(load_checkpoint(name, tmp_path / "f.safetensors").parameters())[-2]
        assert len(weight) == 13
        with pytest.raises(CheckpointError, match=r"looks like a 13-class classifier.*num_classes=13"):
            load_checkpoint(name, tmp_path / "f.safetensors", num_classes=10)
    with pytest.raises(ValueError, match="num_classes goes with a model name"):
        load_checkpoint(create_model("resnet8", 13), tmp_path / "f.safetensors", num_classes=13)


def test_a_file_of_another_network_is_recognised(tmp_path, model):
    save_weights(model, tmp_path / "f.safetensors")
    target = create_model("wrn_16_1", 7)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(target, tmp_path / "f.safetensors")
    assert error.match("do not fit WideResNet")
    missing = [key for key in before.keys() - model.state_dict().keys() if "num_batches" not in key]
    unknown = model.state_dict().keys() - before.keys()
    assert error.match(
        rf"{len(missing)} missing from the file: block1\.layer\.0\.bn1\.weight, .* and {len(missing) - 5}"
    )
    assert error.match(rf"{len(unknown)} unknown to the network: layer1\.0\..* and {len(unknown) - 5} more")
    assert error.match("These tensors are those of 'resnet8' with num_classes=7")
    assert_same(target.state_dict(), before)


def test_single_differences_are_listed(tmp_path, model):
    state = model.state_dict()
    state["extra"] = torch.zeros(1)
    state["layer1.0.conv1.weight"] = torch.zeros(16, 16, 5, 5)
    del state["bn1.weight"]
    torch.save(state, tmp_path / "f")
    with pytest.raises(CheckpointError) as error:
        load_checkpoint("resnet8", tmp_path / "f")
    assert error.match(r"1 of another shape: layer1.0.conv1.weight \(16, 16, 5, 5\) in the file, \(16, 16, 3, 3\)")
    assert error.match("1 missing from the file: bn1.weight")
    assert error.match("1 unknown to the network: extra")
    assert error.match("closest network of the zoo is 'resnet8'")


def test_an_architecture_outside_the_zoo_is_called_so(tmp_path):
    torch.save({"encoder.weight": torch.zeros(4, 4)}, tmp_path / "f")
    with pytest.raises(CheckpointError, match="belongs to another architecture"):
        load_checkpoint("resnet8", tmp_path / "f")


def test_every_network_of_the_zoo_is_recognised_by_its_tensors():
    with torch.device("meta"):
        for name in list_models():
            state = create_model(name, 17).state_dict()
            assert guess_model(state) == (name, 17)
            state.popitem()
            assert guess_model(state) is None
