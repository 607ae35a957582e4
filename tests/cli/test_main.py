"""The `normkd` command as a user types it, on a folder of real image files that the test makes."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from normkd_explore.cli import main
from normkd_explore.cli.main import _again
from normkd_explore.training.machine.threads import thread_count

COLOURS = {"blue": (40, 60, 200), "green": (40, 190, 60), "red": (200, 50, 40)}


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """train/ and test/ with three classes of noisy 20 x 20 PNG files; the path has a space in it."""
    root = tmp_path_factory.mktemp("my pictures")
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 8)):
        for name, colour in COLOURS.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = np.array(colour) + rng.normal(0, 30, (20, 20, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return root


def started(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "normkd_explore", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, env=environment(cwd))
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def normkd(*arguments: object, cwd: Path) -> str:
    """What the command prints, inside this process: that saves seconds of importing."""
    said, told = io.StringIO(), io.StringIO()
    one_thread = thread_count(1)  # as in `environment`
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(told), one_thread:
        patch.chdir(cwd)
        patch.setenv("NORMKD_CACHE", str(cwd / "cache"))
        patch.setattr(sys, "argv", ["normkd", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
    assert not stopped.value.code, said.getvalue() + told.getvalue()
    return said.getvalue()


def environment(cwd: Path) -> dict[str, str]:
    return {**os.environ, "NORMKD_CACHE": str(cwd / "cache"), "OMP_NUM_THREADS": "1"}


PAIR = "folder/resnet14-resnet8"
SMALL = ("--epochs", 2, "--batch-size", 8, "--device", "cpu")


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory) -> Path:
    """A working folder in which the teacher and a NormKD student were trained."""
    cwd = tmp_path_factory.mktemp("work")
    normkd("teacher", PAIR, "--data-root", images, *SMALL, cwd=cwd)
    done = started("train", PAIR, "--data-root", images, *SMALL, cwd=cwd)
    assert re.search(r"last epoch: test top-1 \d+\.\d\d % \(n = 24\)", done.stdout)
    assert "NOT published for this pair" in done.stderr and "images/s" in done.stderr
    return cwd


def test_train_finds_the_teacher_and_evaluate_agrees_with_the_summary(images, trained):
    run = trained / "runs" / f"folder-{images.name}" / "resnet14-resnet8" / "normkd-seed0"
    summary = json.loads((run / "summary.json").read_text())
    said = normkd("evaluate", run, "--data-root", images, cwd=trained)
    assert f"top-1 {100 * summary['test']['top1']:.2f} %" in said and "n = 24" in said
    file = run / "student.safetensors"
    options = ("--model", "resnet8", "--dataset", "imagefolder", "--data-root", images)
    assert normkd("evaluate", file, *options, cwd=trained) == said


def test_report_lists_the_runs(trained):
    said = normkd("report", trained / "runs", cwd=trained)
    assert re.search(r"folder/resnet14-resnet8\s+normkd\s+1\s+\d", said)


def test_compare_prints_paired_differences_and_saves_every_run(images, trained):
    options = ("--methods", "ce,kd,normkd", "--seeds", 2, "--epochs", 1, "--batch-size", 8, "--out", "race")
    said = normkd("compare", PAIR, "--data-root", images, *options, cwd=trained)
    assert re.search(r"normkd - ce\s+2\s+[+-]\d", said)
    assert len(list((trained / "race").glob("*/summary.json"))) == 6


def test_ctrl_c_says_how_to_resume_and_the_result_is_the_same(images, trained):
    options = ["--data-root", images, "--epochs", 15, "--batch-size", 4, "--device", "cpu", "--seed", 5]
    command = [sys.executable, "-m", "normkd_explore", "train", PAIR, *map(str, options), "--out", "stopped run"]
    process = subprocess.Popen(
        command, cwd=trained, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(trained)
    )
    wait_for(trained / "stopped run" / "metrics.jsonl")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "nothing is lost" in errors and "--resume" in errors and "'stopped run'" in errors
    normkd("train", PAIR, *options, "--out", "stopped run", "--resume", cwd=trained)
    normkd("train", PAIR, *options, "--out", "whole run", cwd=trained)
    stopped, whole = (load_file(trained / name / "student.safetensors") for name in ("stopped run", "whole run"))
    assert all(torch.equal(tensor, stopped[name]) for name, tensor in whole.items())


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never appeared"
        time.sleep(0.05)


@pytest.fixture
def normkd_here(tmp_path, monkeypatch, capsys):
    """The command inside this process, which saves seconds of importing: returns exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("NORMKD_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(sys, "argv", ["normkd", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code or 0, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    "arguments, text",
    [
        (("train", "glyfs/resnet20-resnet8"), "preset: found 'glyfs/resnet20-resnet8'"),
        (("train", PAIR, "--method", "normk"), "Close to it: normkd, "),
        (("train", PAIR, "--data-root", "nowhere"), "nowhere"),
        (("train", "folder/wrn_16_1-resnet8", "--data-root", "{images}"), "normkd teacher"),
        (("train", PAIR, "--data-root", "{images}", "--set", "temperature=3"), "wanted for normkd NAME=VALUE"),
        (("train", PAIR, "--data-root", "{images}", "--device", "tpu"), "device: found 'tpu'"),
        (("evaluate", "nothing.pth", "--model", "resnet8", "--dataset", "imagefolder"), "nothing.pth"),
        (("report", "."), "no finished run"),
    ],
)
def test_mistakes_get_one_clear_line(images, normkd_here, arguments, text):
    code, _, errors = normkd_here(*(str(a).format(images=images) for a in arguments))
    assert code == 2 and text in errors
    assert any(line.startswith("normkd: ") for line in errors.splitlines())


def test_presets_and_doctor_answer(images, normkd_here):
    _, presets, _ = normkd_here("presets", "--method", "normdkd")
    assert re.search(r"cifar100/resnet56-resnet20\s+alpha=7 beta=2 t_norm=2", presets)
    assert re.search(r"cifar100/resnet110-resnet20 .*no\s+default of normdkd", presets)
    _, doctor, _ = normkd_here("doctor", "--data-root", images)
    assert "torch" in doctor and "imagefolder: 3 classes" in doctor and "normkd train" in doctor
    assert "Usage" in normkd_here("--help")[1]


@pytest.mark.parametrize(
    "argv, again",
    [
        (["/bin/normkd", "train", "--out", "my run"], "normkd train --out 'my run' --resume"),
        (["/a/normkd_explore/__main__.py", "train", "--resume"], "normkd train --resume"),
        (["my ideas/mine.py", "train"], "python 'my ideas/mine.py' train --resume"),
    ],
)
def test_the_line_that_continues_a_run_is_the_users_own(monkeypatch, argv, again):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert shlex.join(_again()) == again
    monkeypatch.setenv("WORLD_SIZE", "2")
    _, _, words = again.partition(" train ")
    assert shlex.join(_again()).startswith("torchrun ... ") and shlex.join(_again()).endswith(words)
