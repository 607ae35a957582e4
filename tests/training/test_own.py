"""Networks and data of one's own in a training: what is handed over wins, resumes exactly, and is left as it was."""

from __future__ import annotations

import signal
from collections import namedtuple

import pytest
import torch
from torch import nn

from normkd_explore.data import Dataset
from normkd_explore.models import adapt, create_model, load_checkpoint, register_model
from normkd_explore.models.own import OWN
from normkd_explore.training import Interrupted, compare, get_preset, train
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where

Answer = namedtuple("Answer", ["features", "logits"])
SHAPES = {
    "tensor": lambda logits, maps: logits,
    "tuple": lambda logits, maps: (logits, maps),
    "maps first": lambda logits, maps: (maps, logits),
    "mapping": lambda logits, maps: {"logits": logits, "hidden": maps},
    "object": lambda logits, maps: Answer(maps, logits),
}


class Small(nn.Module):
    """A network whose forward returns what `shape` makes of its logits and last map."""

    def __init__(self, num_classes: int, shape: str = "tensor", width: int = 6) -> None:
        super().__init__()
        self.shape = shape
        self.first = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width), nn.ReLU())
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, images):
        maps = self.second(self.first(images))
        return SHAPES[self.shape](self.head(maps.mean((2, 3))), maps)


@pytest.fixture
def registered():
    """Networks registered in a test are forgotten after it."""
    before = dict(OWN)
    yield
    OWN.clear()
    OWN.update(before)


def seeded(shape: str, seed: int) -> Small:
    torch.manual_seed(seed)
    return Small(5, shape)


def trained(folder) -> Small:
    return load_checkpoint(seeded("tensor", 9), folder / "student.safetensors")


@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_a_forward_returns_the_training_is_that_of_plain_logits(shape, tmp_path):
    results = []
    for kind in ("tensor", shape):
        teacher, student = seeded(kind, 1), seeded(kind, 2)
        start = {name: value.clone() for name, value in student.state_dict().items()}
        out = tmp_path / f"{kind}{len(results)}"
        train(toy_recipe("normkd"), out, watch=lambda *_: None, dataset=toy_dataset(), teacher=teacher, student=student)
        assert all(torch.equal(value, start[name]) for name, value in student.state_dict().items())
        assert type(student) is Small and type(teacher) is Small
        results.append(load_checkpoint(seeded(kind, 3), out / "student.safetensors").state_dict())
    assert results[0].keys() == results[1].keys() == start.keys()
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())
    assert not torch.equal(results[0]["head.weight"], start["head.weight"])


def test_a_teacher_handed_over_is_the_one_that_teaches(tmp_path):
    """Its logits decide: another teacher, other weights; the digest in the folder is its own."""
    ends = {}
    for seed in (1, 4):
        own = {"teacher": seeded("tensor", seed), "student": seeded("tensor", 2)}
        summary = train(toy_recipe("kd"), tmp_path / str(seed), dataset=toy_dataset(), watch=lambda *_: None, **own)
        ends[seed] = summary["inputs"]["teacher"], summary["last"]["loss"]
    assert ends[1][0] != ends[4][0] and ends[1][1] != ends[4][1]


def test_a_run_with_own_networks_resumes_exactly(tmp_path):
    def own():
        return {"teacher": seeded("tuple", 1), "student": seeded("mapping", 2), "dataset": toy_dataset()}

    def stop(moment, runs):
        if (moment.epoch, moment.step) == (1, 2):
            signal.raise_signal(signal.SIGINT)

    train(toy_recipe("normkd"), tmp_path / "whole", watch=lambda *_: None, **own())
    with pytest.raises(Interrupted):
        train(toy_recipe("normkd"), tmp_path / "parts", watch=stop, **own())
    train(toy_recipe("normkd"), tmp_path / "parts", resume=True, watch=lambda *_: None, **own())
    whole, parts = (trained(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_registered_names_go_where_names_go(registered, tmp_path):
    register_model("mynet", lambda num_classes: Small(num_classes, "mapping"), stages=("first", "second"))
    recipe = get_preset("folder/mynet-mynet", "normkd")
    assert (recipe.teacher, recipe.student) == ("mynet", "mynet")
    torch.manual_seed(0)
    logits, features = create_model("mynet", 5)(torch.randn(2, 3, 12, 12), return_features=True)
    assert logits.shape == (2, 5) and [stage.shape[1] for stage in features.stages] == [6, 12]
    torch.testing.assert_close(features.pooled, features.stages[-1].mean((2, 3)))
    with pytest.raises(ValueError, match="Similar names: mynet"):
        create_model("MyNet", 5)


@pytest.mark.parametrize("method", ["at", "sp", "rkd", "fitnet"])
def test_feature_methods_look_through_the_named_layers(registered, method, tmp_path):
    register_model("mynet", lambda num_classes: Small(num_classes, "tuple"), stages=("first", "first", "second"))
    teacher = adapt(seeded("object", 1), stages=("first", "first", "second"))
    student = adapt(seeded("tuple", 2), stages=("first", "first", "second"))
    out = tmp_path / method
    own = {"teacher": teacher, "student": student, "dataset": toy_dataset()}
    summary = train(toy_recipe(method, epochs=1), out, watch=lambda *_: None, **own)
    assert summary["epochs"] == 1 and (out / "student.safetensors").exists()


def test_several_runs_start_from_copies_of_one_student(tmp_path):
    recipes = [toy_recipe(method, epochs=1) for method in ("ce", "kd")]
    own = {"teacher": seeded("tensor", 1), "student": seeded("tensor", 2), "dataset": toy_dataset()}
    compare(recipes, [tmp_path / "ce", tmp_path / "kd"], watch=lambda *_: None, **own)
    train(recipes[1], tmp_path / "alone", watch=lambda *_: None, **own)
    together, alone = trained(tmp_path / "kd"), trained(tmp_path / "alone")
    assert torch.equal(together.head.weight, alone.head.weight)


def test_what_cannot_be_used_is_said(registered, tmp_path):
    with pytest.raises(ValueError, match=r"layer 'thrid': Small has none of that name; it has first, "):
        adapt(Small(5), stages=("thrid",))
    with pytest.raises(TypeError, match=r"returned dict with hidden, wanted logits"):
        adapt(Strange())(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="is a network of this package"):
        register_model("resnet8", Small)
    with pytest.raises(ValueError, match="presets join names with -"):
        register_model("my-net", Small)
    with pytest.raises(TypeError, match=r"wanted a function that is given the number of classes"):
        register_model("mynet", Small(5))
    register_model("mynet", lambda num_classes: num_classes)
    with pytest.raises(TypeError, match=r"the builder of 'mynet' returned int"):
        create_model("mynet")


class Strange(Small):
    def __init__(self) -> None:
        super().__init__(5)

    def forward(self, images):
        return {"hidden": images}


def test_own_data_train_like_any_other(tmp_path):
    toy = toy_dataset()
    dataset = Dataset.from_arrays(
        toy.train.images_NHWC, toy.train.labels_N, tuple("abcde"), (toy.test.images_NHWC, toy.test.labels_N)
    )
    summary = train(toy_recipe("kd", epochs=1), tmp_path / "own", toy_where(tmp_path), dataset=dataset)
    assert summary["chosen_on"] == "val" and summary["test"]["n"] == 30
