"""`normkd federate` as a user types it, on image files that the test makes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from normkd_explore.cli import main

PAIR = "folder/resnet8-resnet8"
SMALL = ("--clients", 4, "--public", 16, "--batch-size", 8, "--first-epochs", 1, "--device", "cpu")
LIES = ("--malicious", 1, "--attack", "pcfdla", "--aggregate", "median")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """train/ and test/ with three classes of noisy PNG files."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 6)):
        for name, colour in {"blue": (40, 60, 200), "green": (40, 190, 60), "red": (200, 50, 40)}.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = np.array(colour) + rng.normal(0, 30, (16, 16, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return root


@pytest.fixture
def normkd(images, tmp_path, monkeypatch, capsys):
    """The command inside this process: returns exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["normkd", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code or 0, *capsys.readouterr()

    return run


def test_an_attacked_federation_and_its_twin_are_trained_shown_and_reported(images, tmp_path, normkd):
    place = ("federate", PAIR, "--data-root", images, *SMALL, "--rounds", 2)
    code, told, errors = normkd(*place, *LIES, "--strength", 20)
    assert code == 0, errors
    (out,) = (tmp_path / "runs" / f"folder-{images.name}" / "resnet8-resnet8").iterdir()
    assert out.name == "federated-normkd-median-pcfdla20-1of4-seed0"
    summary = json.loads((out / "summary.json").read_text())
    test, lost = summary["test"], summary["drop"]
    assert f"test top-1 {100 * test['all']:.2f} % of all 4 clients (n = 18)" in told
    assert (
        f"victims: {100 * test['victims']:.2f} % of 3, {100 * lost['victims']:.2f} points below the clean run" in told
    )
    assert "outlier rank of the attackers in the last round: 1 of 4" in told
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 2
    assert re.search(r"median, clean round 2/2 .*\n.*median, pcfdla round 1/2", errors)
    # the twin serves another attack of the same seed, and the report has a line for each
    code, _, errors = normkd(
        *place, "--malicious", 2, "--attack", "fdla", "--aggregate", "median", "--clean", out / "clean"
    )
    assert code == 0 and "clean" not in errors
    table = normkd("report", "runs")[1]
    assert re.search(r"median\s+pcfdla 20\s+1 of 4\s+2\s+1\s+\d", table) and re.search(r"median\s+fdla\s+2 of 4", table)
    assert re.search(r"median\s+none\s+0 of 4\s+2\s+1\s+\d+\.\d\d\s+-", table)


def test_ctrl_c_in_mid_round_says_how_to_go_on_and_the_result_is_the_same(images, tmp_path, normkd):
    options = ["--data-root", images, *SMALL, *LIES, "--rounds", 6]
    command = [sys.executable, "-m", "normkd_explore", "federate", PAIR, *map(str, options), "--out", "stopped"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment)
    wait_for(tmp_path / "stopped" / "metrics.jsonl", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert re.search(r"Stopped (in|after) round \d+", errors) and "--resume" in errors
    torch.set_num_threads(1)  # as in the other process
    for again in (["stopped", "--resume"], ["whole"]):
        assert normkd("federate", PAIR, *options, "--out", *again)[0] == 0
    for k in range(4):
        stopped, whole = (load_file(tmp_path / name / "clients" / f"{k}.safetensors") for name in ("stopped", "whole"))
        assert all(torch.equal(tensor, stopped[name]) for name, tensor in whole.items())


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline and process.poll() is None, f"{path} never appeared"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--malicious", 2), "malicious: found 2 with attack 'none'"),
        (("--attack", "bite", "--malicious", 1), "attack: found 'bite'"),
        (("--attack", "fdla", "--malicious", 1, "--strength", 3), "strength: found 3.0, wanted None"),
        (("--aggregate", "mode"), "aggregate: found 'mode'"),
        (("--method", "fitnet"), "clients share predictions alone"),
        (("--ce-weight", 0.5), "ce_weight: found 0.5, wanted 0: public images have no labels"),
        (("--public", 70), "public: found 70 of"),
        (("--classes", 5), "classes: found 5, wanted 2 to 3"),
        (("--clean", "somewhere"), "clean: found somewhere for a federation without an attack"),
    ],
)
def test_mistakes_get_one_clear_line(images, normkd, options, text):
    code, _, errors = normkd("federate", PAIR, "--data-root", images, *SMALL, *options)
    assert code == 2 and text in errors
    assert any(line.startswith("normkd: ") for line in errors.splitlines())
