"""`normkd stats` as a user types it: on files of logits, a run folder and a preset's teacher."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from normkd_explore.analysis import model_logits, pictures
from normkd_explore.analysis.examine import examine
from normkd_explore.cli.stats import stats
from normkd_explore.data import load_dataset
from normkd_explore.models import create_model, save_weights
from normkd_explore.training import RunFolder, get_preset, open_dataset

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(stats)


def run(*arguments: object) -> str:
    """What the command prints."""
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def numbers(*arguments: object) -> dict:
    """What the command says as JSON about its only source."""
    (found,) = json.loads(run(*arguments, "--json")).values()
    return found


@pytest.fixture
def logits(tmp_path) -> Path:
    """A file of 50 x 12 logits with labels, half of which are right."""
    logits_NC = np.random.default_rng(0).normal(0, 3, (50, 12))
    labels_N = (logits_NC.argmax(axis=1) + (np.arange(50) % 2)) % 12
    np.savez(tmp_path / "teacher.npz", logits=logits_NC, labels=labels_N)
    np.save(tmp_path / "plain.npy", logits_NC)
    np.save(tmp_path / "labels.npy", labels_N)
    return tmp_path / "teacher.npz"


@pytest.fixture(scope="module")
def model_and_run(tmp_path_factory) -> tuple[torch.nn.Module, Path]:
    """A finished run's folder, as `normkd train` leaves it, with untrained weights."""
    folder = tmp_path_factory.mktemp("runs") / "a run"
    options = {"train_size": 200, "val_size": 100, "test_size": 100}
    RunFolder(folder).start(replace(get_preset("glyphs/resnet20-resnet8", "ce"), data_options=options), resume=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = create_model("resnet8", num_classes=100)
    save_weights(model, folder / "student.safetensors")
    return model, folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("NORMKD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_a_file_is_described_with_its_labels(logits):
    text = run(logits)
    assert re.match(r"\S+teacher\.npz: 50 samples, 12 classes, top-1 50\.00 %, calibration error \d", text)
    assert re.search(r"^std +\d\.\d{3}", text, re.MULTILINE)
    assert re.search(r"^NormKD T_norm=2: T +\d", text, re.MULTILINE)
    assert re.search(r"T = 4 is more than 1\.5 times", text)
    assert "--kd-weight" in text


def test_settings_and_labels_are_options(logits):
    found = numbers(
        logits.parent / "plain.npy", "--labels", logits.parent / "labels.npy", "--t-norm", 1, "--temperature", 3
    )
    values = np.load(logits.parent / "plain.npy")
    T = values.std(axis=1, ddof=1)
    assert found["top1"] == 0.5
    assert found["normkd"]["temperature"]["50%"] == pytest.approx(np.median(T))
    assert found["normkd"]["off_share"] == pytest.approx(np.mean((3 / T > 1.5) | (T / 3 > 1.5)))


def test_several_sources_follow_each_other(logits):
    plain = logits.parent / "plain.npy"
    assert run(logits, plain) == run(logits) + "\n" + run(plain)
    assert list(json.loads(run(logits, plain, "--json"))) == [str(logits), str(plain)]


def test_warnings_are_printed(logits):
    values = np.load(logits.parent / "plain.npy")
    values[3] = np.nan
    values[4:6] = 1.0
    np.save(logits.parent / "bad.npy", values)
    text = run(logits.parent / "bad.npy")
    assert "49 samples" in text
    assert "warning: not finite" in text and "left out: 1." in text and "warning: constant rows: 2." in text


def test_a_run_is_described_by_its_students_logits(model_and_run):
    model, folder = model_and_run
    found = numbers(folder, "--samples", 100, "--split", "val")
    data = open_dataset(RunFolder(folder).recipe(), None)
    expected = model_logits(model, data, pictures(data.val, torch.arange(100)))
    right = (expected.argmax(dim=1) == data.val.labels_N).double().mean().item()
    assert found["n"] == 100 and found["classes"] == 100 and found["top1"] == pytest.approx(right)
    assert found["measures"]["std"]["50%"] == pytest.approx(float(np.median(expected.std(dim=1))))


def test_a_preset_is_described_by_its_teachers_logits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("blue", "green", "red"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for i in range(10):
                pixels = rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{i}.png")
    model = create_model("resnet14", num_classes=3)
    save_weights(model, tmp_path / "teacher.safetensors")
    options = ("--data-root", tmp_path / "images", "--samples", 9)
    found = numbers("folder/resnet14-resnet8", *options, "--teacher-weights", tmp_path / "teacher.safetensors")
    data = load_dataset("imagefolder", root=tmp_path / "images")
    index = torch.from_numpy(np.linspace(0, len(data.test) - 1, 9).astype(np.int64))
    expected = model_logits(model, data, pictures(data.test, index))
    assert found["n"] == 9 and found["classes"] == 3
    assert found["measures"]["max"]["average"] == pytest.approx(expected.amax(dim=1).mean().item())


@pytest.mark.parametrize(
    "arguments, text",
    [
        (("nothing",), "found no such file or folder, wanted a file of logits, a run folder, or a preset"),
        (("nothing.npz",), "no file nothing.npz"),
        (("glyfs/resnet20-resnet8",), "preset: found 'glyfs/resnet20-resnet8'"),
        (("{run}", "--split", "best"), 'split must be "train", "val" or "test"'),
        (("{run}", "--device", "abacus"), "device: found 'abacus'"),
        (("{run}", "--labels", "{labels}"), "--labels: goes with a file of logits"),
        (("{logits}", "--labels", "nothing.npy"), "no file nothing.npy"),
        (("{logits}", "--t-norm", "0"), "t_norm is 0.0, wanted a number above 0"),
        (("{folder}",), "no config.yaml"),
    ],
)
def test_mistakes_are_explained(logits, model_and_run, arguments, text):
    places = {
        "logits": logits,
        "run": model_and_run[1],
        "labels": logits.parent / "labels.npy",
        "folder": logits.parent,
    }
    with pytest.raises((ValueError, OSError), match=re.escape(text)):
        run(*(word.format(**places) for word in arguments))


def test_a_bad_file_is_named(tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros((4, 1)))
    with pytest.raises(ValueError, match=r"flat\.npy: .*single class"):
        run(tmp_path / "flat.npy")


MEASURE = """
import contextlib, os, sys
from normkd_explore.cli.stats import stats

def kilobytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

with contextlib.redirect_stdout(open(os.devnull, "w")):
    stats([sys.argv[1]])  # imports and the like are not the file's
    before = kilobytes("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # the highest so far is counted from here
    stats([sys.argv[2]])
print(1024 * (kilobytes("VmHWM") - before))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured by Linux's means")
def test_a_large_file_takes_at_most_three_times_its_size(tmp_path):
    """It is read once as it is stored, and looked at in float64 for some rows at a time."""
    large, small = tmp_path / "large.npy", tmp_path / "small.npy"
    logits_NC = np.random.default_rng(0).normal(0, 3, (100_000, 250)).astype(np.float32)
    np.save(large, logits_NC)
    np.save(small, logits_NC[:200])
    command = [sys.executable, "-c", MEASURE, str(small), str(large)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 3 * large.stat().st_size


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", "int8", "int64"])
def test_blocks_of_rows_change_no_number(tmp_path, monkeypatch, dtype):
    """As stored and in blocks of a few rows, or in float64 and at once: the same to the last digits."""
    logits_NC = (10 * np.random.default_rng(0).normal(0, 1, (120, 12))).astype(dtype)
    logits_NC[7] = 1
    labels_N = np.arange(120) % 12
    np.savez(tmp_path / "x.npz", logits=logits_NC, labels=labels_N)
    monkeypatch.setattr("normkd_explore.analysis.row_blocks.BLOCK_VALUES", 1 << 30)
    whole = examine(logits_NC.astype(np.float64), labels_N)
    for values in (1, 100, 1439):
        monkeypatch.setattr("normkd_explore.analysis.row_blocks.BLOCK_VALUES", values)
        assert leaves(numbers(tmp_path / "x.npz")) == pytest.approx(leaves(whole), rel=1e-12)


def leaves(found: dict, path: str = "") -> dict[str, float]:
    """The numbers of an examination by their places, one flat dict."""
    flat = {}
    for name, value in found.items():
        flat |= leaves(value, f"{path}/{name}") if isinstance(value, dict) else {}
        flat |= {f"{path}/{name}": value} if isinstance(value, int | float) else {}
    return flat


def test_help_names_the_options():
    text = run("--help")
    assert all(option in text for option in ("--labels", "--t-norm", "--temperature", "--split", "--json"))
