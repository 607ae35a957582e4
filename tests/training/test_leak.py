"""A teacher that has learned the validation images is found, said, recorded and shown; a clean one is not accused."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from normkd_explore.data import ArraySplit, Dataset
from normkd_explore.training import Where, compare
from normkd_explore.training.runs.folder import RunFolder
from normkd_explore.training.runs.inputs import describe_inputs
from normkd_explore.training.runs.leak import validation_trust, warning
from normkd_explore.training.runs.report import format_report
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where

CLASSES = 10
FOREIGN = "somewhere/foreign.pth"


def dataset_of(counts: dict[str, int]) -> Dataset:
    """Images whose three colours hold the label, a number of their own and the split: all that Reader needs."""
    splits = {}
    for place, (name, count) in enumerate(counts.items()):
        labels_N = torch.arange(count) % CLASSES
        colours = torch.stack([labels_N, torch.arange(count) // CLASSES % 100, torch.full((count,), place)], dim=1)
        splits[name] = ArraySplit(
            colours[:, None, None, :].expand(count, 2, 2, 3).to(torch.uint8).contiguous(), labels_N
        )
    names = tuple(map(str, range(CLASSES)))
    return Dataset("toy", splits["train"], splits["val"], splits["test"], names, (0.0,) * 3, (1 / 255,) * 3)


class Reader:
    """A teacher that reads a given percentage of each split."""

    def __init__(self, train: int, val: int, test: int) -> None:
        self.shares, self.fabric = torch.tensor([train, val, test]), SimpleNamespace(device=torch.device("cpu"))

    def evaluate(self, images_BCHW):
        label, number, place = images_BCHW[:, :, 0, 0].round().long().T
        wrong = number >= self.shares[place]
        return torch.nn.functional.one_hot((label + wrong) % CLASSES, CLASSES).float()


@pytest.fixture
def dataset():
    return dataset_of({"train": 4000, "val": 1000, "test": 2000})


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [((84, 84, 68), "suspect"), ((84, 70, 68), "unknown"), ((70, 70, 68), "unknown"), ((68, 68, 84), "unknown")],
    ids=["learned val", "overfits, val is new", "no gap to see", "an easy test split"],
)
def test_weights_of_others_are_measured(dataset, shares, verdict):
    trust = validation_trust(dataset, Reader(*shares), FOREIGN, {"data": None, "teacher": None})
    assert trust["verdict"] == verdict
    for split, share in zip(("train", "val", "test"), shares, strict=True):
        assert trust["top1"][split] == pytest.approx(share / 100, abs=0.02)
    assert (warning(trust) is None) == (verdict == "unknown")


def test_the_warning_gives_the_three_numbers_and_a_way_out(dataset):
    text = warning(validation_trust(dataset, Reader(84, 84, 68), FOREIGN, {"data": None, "teacher": None}))
    assert "84.0 % of the validation images, 84.0 % of the training images and 68.0 % of the test split" in text
    assert "normkd teacher" in text


def test_few_images_accuse_nobody():
    small = dataset_of({"train": 400, "val": 100, "test": 100})
    assert validation_trust(small, Reader(99, 99, 10), FOREIGN, {})["verdict"] == "unknown"


def test_what_is_known_is_not_measured(dataset, tmp_path):
    teacher, inputs = Reader(84, 84, 68), {"data": "one", "teacher": "x"}
    for protocol, data, verdict in [("holdout", "one", "clean"), ("paper", "another", "learned")]:
        folder = RunFolder(tmp_path / protocol)
        folder.start(replace(toy_recipe("ce"), protocol=protocol), resume=False, inputs={"data": data, "teacher": None})
        for place in (folder.path, folder.student):
            trust = validation_trust(dataset, teacher, place, inputs)
            assert trust["verdict"] == verdict and "top1" not in trust
    assert validation_trust(dataset, teacher, "package", inputs)["verdict"] == "clean"
    held = replace(dataset, notes=("val is held out of the training images",))
    assert validation_trust(held, teacher, "torchvision", inputs)["verdict"] == "learned"


def test_without_validation_images_or_teacher_there_is_nothing_to_say(dataset):
    assert validation_trust(replace(dataset, val=None), Reader(84, 84, 68), FOREIGN, {}) is None
    assert validation_trust(dataset, None, FOREIGN, {}) is None and warning(None) is None


def test_it_is_announced_recorded_and_shown(tmp_path, monkeypatch, capsys):
    suspect = {"verdict": "suspect", "why": "the teacher has most likely learned them."}
    monkeypatch.setattr("normkd_explore.training.material.validation_trust", lambda *_: suspect)
    recipes = [toy_recipe(method, epochs=1) for method in ("ce", "kd")]
    where = toy_where(tmp_path)
    outs = [tmp_path / recipe.method for recipe in recipes]
    ce, kd = compare(recipes, outs, where, watch=lambda *_: None, dataset=toy_dataset())
    assert "most likely learned them" in capsys.readouterr().err
    assert kd["validation"] == suspect == RunFolder(outs[1]).summary()["validation"]
    assert "validation" not in ce
    assert "val is not to be trusted" in format_report([ce, kd])
    assert "val is not to be trusted" not in format_report([ce])


def test_a_training_here_asks_once_and_goes_on(tmp_path):
    summary = compare([toy_recipe("kd", epochs=1)], [tmp_path / "run"], toy_where(tmp_path), dataset=toy_dataset())[0]
    assert summary["validation"]["verdict"] == "unknown"
    assert describe_inputs(toy_dataset(), None)["data"] == summary["inputs"]["data"]
    assert isinstance(toy_where(tmp_path), Where)
