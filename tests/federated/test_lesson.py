"""The lesson's recipe and network, and that the script which measures it goes on where it was."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from normkd_explore.federated import PocketNet, federated_lesson, federated_preset
from normkd_explore.models import create_model
from normkd_explore.models.own import OWN
from scripts import measure_federated
from tests.helpers.toy import toy_dataset

PRESET = "glyphs/resnet20-resnet8"


@pytest.fixture(autouse=True)
def names_as_before():
    before = dict(OWN)
    yield
    OWN.clear()
    OWN.update(before)


def test_the_lesson_is_short_and_of_glyphs_alone():
    attack = {"malicious": 2, "attack": "pcfdla", "strength": 20.0}
    lesson = federated_lesson(federated_preset(PRESET, **attack))
    assert lesson.rounds < 10 and lesson.attack == "pcfdla" and lesson.classes == 10
    assert isinstance(create_model(lesson.student, 10), PocketNet)
    other = federated_preset("cifar100/resnet32x4-resnet8x4")
    assert federated_lesson(other) is other


@pytest.mark.parametrize("size", [32, 40, 64])
def test_the_pocket_network_has_the_size_it_says(size):
    model = PocketNet(10)
    assert model(torch.zeros(2, 3, size, size)).shape == (2, 10)
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert weights == 3 * 16 * 9 + 16 * 32 * 9 + 32 * 64 * 9 + 2 * (16 + 32 + 64) + 256 * 10 + 10
    assert f"{weights:,} weights" in PocketNet.__doc__


def small(recipe):
    """The lesson on 40 private and 16 public images of five colours."""
    sizes = {"student": "resnet8", "classes": None, "public": 16, "rounds": 1, "first_epochs": 1, "distil_epochs": 1}
    return replace(federated_preset(PRESET, seed=recipe.seed), **sizes, clients=4, batch_size=8)


def test_what_is_measured_is_not_measured_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure_federated, "federated_lesson", small)
    monkeypatch.setattr(measure_federated, "prepare", lambda recipe: toy_dataset())
    table = tmp_path / "measured_federated.csv"

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["measure_federated.py", "--into", str(table), *options])
        measure_federated.main()
        with table.open(newline="") as file:
            return list(csv.DictReader(file)), capsys.readouterr().out

    first, told = run("--attacks", "none", "--rules", "mean", "--seeds", "1")
    assert len(first) == 1 and told.startswith("1/1 none mean 0: victims")
    rows, told = run("--attacks", "none,pcfdla", "--rules", "mean,expguard", "--seeds", "1")
    assert rows[0] == first[0] and told.startswith("1/3 none expguard 0")
    assert [(row["attack"], row["aggregate"], row["malicious"]) for row in rows] == [
        ("none", "mean", "0"),
        ("none", "expguard", "0"),
        ("pcfdla", "mean", "2"),
        ("pcfdla", "expguard", "2"),
    ]
    assert len({row["alone"] for row in rows}) == 1 and rows[2]["strength"] == "20.0" and len(rows[2]["ranks"]) == 3
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    assert commit.stdout.startswith(rows[0]["commit"]) or rows[0]["commit"] == "not a repository"
    monkeypatch.setattr(measure_federated, "federated_lesson", lambda recipe: replace(small(recipe), rounds=2))
    with pytest.raises(SystemExit, match="federations of another recipe"):
        run("--seeds", "1")
