"""What weights belong to travels in their file: read back as written, compared with other classes, put in order."""

import itertools
import json
import os

import pytest
import torch

from normkd_explore.models import CheckpointError, create_model, list_models, load_checkpoint, save_weights
from normkd_explore.models.errors import ClassCountError
from normkd_explore.models.origin import UNKNOWN, Origin, class_order, origin_of, read_origin, reorder_classes
from tests.helpers.image_files import within

KNOWN = Origin(("Zoë", "ant", 'a "b", c'), (0.5, 0.25, 0.1), (0.2, 0.3, 0.4), 32, "0123456789abcdef")


def test_an_origin_comes_back_as_it_was_written(tmp_path):
    save_weights(create_model("resnet8", 3), tmp_path / "f.safetensors", {"model": "resnet8", **KNOWN.texts()})
    assert read_origin(tmp_path / "f.safetensors") == KNOWN
    assert origin_of(load_checkpoint("resnet8", tmp_path / "f.safetensors")) == KNOWN
    model = create_model("resnet8", 3)
    load_checkpoint(torch.compile(model), tmp_path / "f.safetensors")
    assert origin_of(model) == KNOWN


def test_files_from_elsewhere_say_nothing_and_that_replaces_what_was_known(tmp_path):
    model = create_model("resnet8", 3)
    assert origin_of(model) == UNKNOWN
    save_weights(model, tmp_path / "ours.safetensors", KNOWN.texts())
    save_weights(model, tmp_path / "theirs.safetensors", {"format": "pt"})
    torch.save(model.state_dict(), tmp_path / "theirs.pth")
    for name in ("theirs.safetensors", "theirs.pth"):
        load_checkpoint(model, tmp_path / "ours.safetensors")
        assert origin_of(load_checkpoint(model, tmp_path / name)) == UNKNOWN == read_origin(tmp_path / name)


@pytest.mark.parametrize(
    "texts",
    [
        {"class_names": "ant, bee"},
        {"class_names": '"ant"'},
        {"class_names": '["ant", 3]'},
        {"class_names": '["ant", "ant"]'},
        {"class_names": "[" * 100_000},
        {"mean": "[1, 2, 3]"},
        {"mean": "[1, 2]", "std": "[1, 2]"},
        {"mean": "[0, 0, 0]", "std": "[1, 0, 1]"},
        {"mean": "[NaN, 0, 0]", "std": "[1, 1, 1]"},
        {"mean": "7", "std": "[1, 1, 1]"},
        {"image_size": "32.5"},
        {"image_size": "-1"},
    ],
)
def test_a_header_that_makes_no_sense_is_named(tmp_path, texts):
    save_weights(create_model("resnet8", 3), tmp_path / "f.safetensors", texts)
    with pytest.raises(CheckpointError, match=r"f.safetensors has a header that makes no sense"):
        read_origin(tmp_path / "f.safetensors")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "f.safetensors")
    with within(5), pytest.raises(CheckpointError, match="is a named pipe"):
        read_origin(tmp_path / "f.safetensors")


def test_the_order_of_classes_is_found_or_refused():
    origin = Origin(("ant", "bee", "cat"))
    assert class_order(origin, ("ant", "bee", "cat"), "x") is None
    assert class_order(UNKNOWN, ("ant", "bee"), "x") is None
    for names in itertools.permutations(origin.class_names):
        order = class_order(origin, names, "x") or [0, 1, 2]
        assert tuple(origin.class_names[place] for place in order) == names
    with pytest.raises(ValueError) as caught:
        class_order(origin, ("ant", "bee", "dog", "eel"), "teacher: F", "Do this.")
    assert str(caught.value) == (
        "teacher: F was trained on other classes: only the data has dog, eel; only the weights know cat. Do this."
    )


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in list_models() if name not in ("resnet110", "vgg19", "ResNet50")])
def test_every_network_of_the_zoo_can_be_put_in_order(name):
    """64 classes: as many as several hidden layers have channels."""
    torch.manual_seed(0)
    model = create_model(name, 64).train()
    images, order = torch.randn(2, 3, 32, 32), torch.randperm(64).tolist()
    expected = model.eval()(images)[:, order]
    reorder_classes(model.train(), order, 32)
    assert model.training
    torch.testing.assert_close(model.eval()(images), expected)


@torch.no_grad()
def test_a_network_whose_outputs_are_no_layers_rows_is_left_as_it_was():
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(3, 4)

        def forward(self, images):
            return self.fc(images.mean(dim=(2, 3))).cumsum(dim=1)

    model = Odd()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="Odd: found no last layer whose rows are the classes"):
        reorder_classes(model, [2, 0, 1, 3], 8)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_another_number_of_classes_is_an_error_of_its_own(tmp_path):
    save_weights(create_model("vgg8", 13), tmp_path / "f.safetensors", {"class_names": json.dumps(["a", "b"])})
    with pytest.raises(ClassCountError) as caught:
        load_checkpoint("vgg8", tmp_path / "f.safetensors", num_classes=10)
    assert caught.value.classes == 13
