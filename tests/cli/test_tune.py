"""`normkd tune` and `normkd train --settings` as a user types them, on image files that the test makes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from normkd_explore.cli import main
from normkd_explore.cli import tune as tune_command
from tests.helpers.terminal import on_terminal

PAIR = "folder/resnet8-resnet8"
SMALL = ("--trials", 3, "--together", 3, "--images", 24, "--seeds", 2, "--epochs", 1, "--batch-size", 8)
HERE = ("--device", "cpu", "--teacher-cache", "off")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with images/train and images/test: three classes of noisy PNG files."""
    folder = tmp_path_factory.mktemp("tune")
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 6)):
        for name, colour in {"blue": (40, 60, 200), "green": (40, 190, 60), "red": (200, 50, 40)}.items():
            images = folder / "images" / split / name
            images.mkdir(parents=True)
            for i in range(count):
                pixels = np.array(colour) + rng.normal(0, 30, (16, 16, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(images / f"{i}.png")
    return folder


@pytest.fixture
def normkd(place, monkeypatch, capsys):
    """The command inside this process: returns exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(place)
        monkeypatch.setattr(sys, "argv", ["normkd", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def teacher(place):
    """A trained teacher's folder, which says that it has not seen the held-out images."""
    return place / "runs" / "folder-images" / "teacher-resnet8"


def test_tune_then_train_with_what_it_found(place, teacher, normkd):
    code, _, errors = normkd("teacher", PAIR, "--data-root", "images", "--epochs", 1, "--batch-size", 8)
    assert code == 0 and teacher.is_dir(), errors
    code, told, errors = normkd("tune", PAIR, "--data-root", "images", *SMALL, *HERE)
    assert code == 0, errors
    file = Path("runs/folder-images/resnet8-resnet8/tune-normkd/settings.yaml")
    assert f"normkd train {PAIR} --settings {file}" in errors and "Cost: " in told and "uncertain by" in told
    assert "without these images" in told  # what is known of the teacher
    command = ("train", PAIR, "--data-root", "images", "--epochs", 1, "--batch-size", 8, "--out", "best")
    code, _, errors = normkd(*command, "--settings", file, "--device", "cpu")
    assert code == 0, errors
    kept, found = (yaml.safe_load((place / name).read_text()) for name in ("best/config.yaml", file))
    assert kept["method"] == "normkd" and kept["settings"]["loss"] == found["loss"]
    assert kept["settings"]["kd_weight"] == found["kd_weight"]
    code, _, errors = normkd(*command, "--settings", file, "--method", "kd")
    assert code == 2 and "--method: found kd" in errors and "is for normkd. Leave --method out." in errors
    code, _, errors = normkd(*command, "--settings", "best/config.yaml")
    assert code == 2 and "best/config.yaml: found no" in errors


def test_the_answer_fits_a_terminal_and_is_json_too(place, normkd):
    """Resumed, so nothing is trained: the same answer again."""
    again = [str(word) for word in ("tune", PAIR, "--data-root", "images", *SMALL, *HERE, "--resume")]
    code, told, _ = normkd(*again, "--json")
    found = json.loads(told)
    assert code == 0 and len(found["tried"]) == 3 and found["chosen"] in [each["name"] for each in found["finals"]]
    (answer,) = on_terminal([again], place)
    assert answer.code == 0 and all(len(line) <= 80 for line in answer.lines)
    seen = " ".join(answer.lines)
    assert "* default" in seen or "* found" in seen


def test_settings_of_another_pair_are_announced(normkd, place):
    file = "runs/folder-images/resnet8-resnet8/tune-normkd/settings.yaml"
    code, _, errors = normkd("estimate", "glyphs/resnet20-resnet8", "--settings", file, "--lr", "0")
    assert code == 2 and f"these settings were found for {PAIR}, and are taken for glyphs/resnet20-resnet8" in errors


def test_without_optuna_it_says_what_to_install(normkd, monkeypatch):
    monkeypatch.setattr(tune_command, "find_spec", lambda name: None)
    code, _, errors = normkd("tune", PAIR)
    assert code == 2 and 'pip install "normkd-explore[tune]"' in errors
