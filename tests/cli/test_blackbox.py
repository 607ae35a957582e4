"""`normkd blackbox` as a user types it, on image files that the test makes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from normkd_explore.cli import main
from normkd_explore.models import create_model, save_weights

PAIR = "folder/resnet8-resnet8"
COLOURS = {"blue": (40, 60, 200), "green": (40, 190, 60), "red": (200, 50, 40)}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """pictures/ with three classes of noisy PNG files, and a teacher's weights."""
    root = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 6)):
        for name, colour in COLOURS.items():
            folder = root / "pictures" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = np.array(colour) + rng.normal(0, 30, (16, 16, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    torch.manual_seed(0)
    save_weights(create_model("resnet8", num_classes=3), root / "teacher.safetensors")
    return root


@pytest.fixture
def normkd(place, tmp_path, monkeypatch, capsys):
    """The command inside this process: returns exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["normkd", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code or 0, *capsys.readouterr()

    return run


def given(place: Path) -> list[object]:
    """Options of every run here."""
    small = ["--epochs", 1, "--batch-size", 8, "--generator-epochs", 1, "--channels", 4, "--device", "cpu"]
    return ["--data-root", place / "pictures", "--teacher-weights", place / "teacher.safetensors", *small]


def test_a_run_is_trained_shown_and_reported_with_its_baseline(place, tmp_path, normkd):
    base = ("blackbox", PAIR, *given(place), "--queries", 60)
    code, told, errors = normkd(*base, "--answers", "hard")
    assert code == 0, errors
    out = tmp_path / "runs" / "folder-pictures" / "resnet8-resnet8" / "blackbox-ce-generated-hard-60-seed0"
    summary = json.loads((out / "summary.json").read_text())
    assert f"ce on generated pictures: test top-1 {100 * summary['test']['top1']:.2f} %" in told
    assert "60 of 60 queries\n" in told and "classes were the answer to one picture" in told
    assert "generator generator epoch 1/1" in errors
    code, told, errors = normkd(*base, "--pictures", "local", "--method", "normkd", "--set", "t_norm=1", "--digits", 2)
    assert code == 0 and "normkd on local pictures" in told, errors
    table = normkd("report", "runs")[1]
    assert "ce on generated pictures" in table and "normkd on local pictures" in table
    code, told, errors = normkd("evaluate", out, "--data-root", place / "pictures", "--device", "cpu")
    assert code == 0 and f"top-1 {100 * summary['test']['top1']:.2f} %" in told, errors


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--answers", "loud"), "answers: found 'loud'"),
        (("--answers", "hard", "--digits", 2), "digits: found 2 with answers='hard'"),
        (("--method", "fitnet"), "a black box gives answers alone"),
        (("--pictures", "local", "--generator", "x"), "generator: found x for local pictures"),
        (("--generator", "nowhere"), "generator: found no nowhere"),
        (("--image-size", 18), "image_size: found 18, wanted a multiple of 4"),
    ],
)
def test_mistakes_get_one_clear_line(place, normkd, options, text):
    code, _, errors = normkd("blackbox", PAIR, *given(place), "--queries", 60, *options)
    assert code == 2 and text in errors
