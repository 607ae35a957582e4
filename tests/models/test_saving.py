"""Saved weights come back, with their metadata, and an interrupted save leaves the old file."""

import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from normkd_explore.models import CheckpointError, create_model, load_checkpoint, read_state_dict, save_weights
from tests.helpers.weights import assert_same


def test_saved_weights_come_back_with_their_metadata(tmp_path, model):
    path = tmp_path / "new" / "folder" / "student.safetensors"
    wrapped = torch.nn.DataParallel(torch.compile(model.to(memory_format=torch.channels_last)))
    save_weights(wrapped, path, {"model": "resnet8", "num_classes": "7"})
    assert_same(load_checkpoint("resnet8", path).state_dict(), model.state_dict())
    assert set(load_file(path)) == set(model.state_dict())
    with safe_open(path, "pt") as file:
        assert file.metadata().items() >= {"model": "resnet8", "num_classes": "7"}.items()
    assert [entry.name for entry in path.parent.iterdir()] == ["student.safetensors"]


def test_tensors_that_share_memory_are_saved(tmp_path):
    tied = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3)})
    tied["b"].weight = tied["a"].weight
    save_weights(tied, tmp_path / "tied.safetensors")
    assert torch.equal(read_state_dict(tmp_path / "tied.safetensors")["b.weight"], tied["a"].weight)


def test_metadata_must_be_text(tmp_path, model):
    with pytest.raises(TypeError, match=r"metadata must map text to text.*\['epoch'\]"):
        save_weights(model, tmp_path / "f.safetensors", {"model": "resnet8", "epoch": 3})
    assert not (tmp_path / "f.safetensors").exists()


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_save_leaves_the_old_file(tmp_path, model, monkeypatch, step):
    path = tmp_path / "student.safetensors"
    save_weights(model, path)
    before = path.read_bytes()

    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_weights(create_model("resnet8", 7), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_torch_file_under_a_safetensors_name_is_explained(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "f.safetensors")
    with pytest.raises(CheckpointError, match=r"no safetensors header.*true suffix"):
        read_state_dict(tmp_path / "f.safetensors")
