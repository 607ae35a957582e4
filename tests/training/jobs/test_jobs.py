"""Seeds in several processes end as they do one after the other, whatever stops them in between."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from normkd_explore.training import RunFolder
from tests.helpers.command import normkd
from tests.helpers.tensors import assert_same_tensors

COMPARE = ("compare", "glyphs/resnet8-resnet8", "--methods", "ce,kd", "--seeds", "3", "--epochs", "2")
SMALL = ("--lesson", "--device", "cpu", "--batch-size", "64")


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """A file of one's own, as users write it: it makes the lesson small, and it is no importable module."""
    folder = tmp_path_factory.mktemp("program")
    weights = folder / "teacher.safetensors"
    (folder / "small.py").write_text(
        f"""
import torch
from normkd_explore.cli import main
from normkd_explore.models import create_model, save_weights
from normkd_explore.training.recipes import presets

presets.LESSON_DATA |= {{"train_size": 192, "val_size": 100, "test_size": 100}}
if __name__ == "__main__":
    torch.manual_seed(7)
    save_weights(create_model("resnet8", num_classes=100), {str(weights)!r}, metadata={{}})
main()
"""
    )
    return folder / "small.py"


def command(program: Path, out: Path, *words: str) -> list[str]:
    places = ("--teacher-weights", str(program.with_name("teacher.safetensors")), "--out", str(out))
    return [sys.executable, str(program), *COMPARE, *SMALL, *places, *words]


def run(*arguments, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=240)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def alone(program, tmp_path_factory):
    """The runs one after the other, and the table that was printed."""
    out = tmp_path_factory.mktemp("alone") / "runs"
    return out, run(program, out, "--threads", "1").stdout


def assert_same_end(out: Path, alone: Path) -> None:
    folders = sorted(path.name for path in alone.iterdir())
    assert sorted(path.name for path in out.iterdir()) == folders and len(folders) == 6  # and no table is left
    for name in folders:
        assert_same_tensors(*(load_file(place / name / "student.safetensors") for place in (out, alone)))
        mine, theirs = (RunFolder(place / name).metrics() for place in (out, alone))
        assert [(m["train"], m["val"]) for m in mine] == [(m["train"], m["val"]) for m in theirs]


def test_two_processes_end_as_one_and_print_the_same_table(program, tmp_path, alone):
    folder, table = alone
    done = run(program, tmp_path / "runs", "--jobs", "2", "--threads", "1")
    assert_same_end(tmp_path / "runs", folder)
    accuracies = [re.sub(r"[\d,.]+ (s|images/s)|\d+$", "", text, flags=re.M) for text in (done.stdout, table)]
    assert accuracies[0] == accuracies[1] and "ce" in table
    assert "2 jobs" in done.stderr and "the bits of --jobs 1 --threads 1" in done.stderr
    said = [line for line in done.stderr.splitlines() if "teacher cache in" in line]
    assert len(said) == 1 and "teacher-table." in said[0]  # one table, and one line about it
    assert len(re.findall(r"resnet8 seed [012] epoch \d/2", done.stderr)) == 6
    environment = json.loads((tmp_path / "runs" / "kd-seed1" / "environment.json").read_text())
    assert environment["cpu"]["threads"] == 1


def wait_until(true, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def stop_midway(program: Path, out: Path, number: int) -> tuple[int, str]:
    """Exit status and stderr of a comparison of two processes that got a signal; none of them is left behind."""
    words = command(program, out, "--jobs", "2", "--threads", "1")
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(lambda: list(out.glob("*/metrics.jsonl")))
    workers = _children(process.pid)
    process.send_signal(number)
    errors = process.communicate(timeout=120)[1]
    wait_until(lambda: not any(map(_alive, workers)))
    assert len(workers) >= 2 and len(list(out.glob("*/summary.json"))) < 6
    return process.returncode, errors


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes by Linux's means")
def test_ctrl_c_stops_all_and_the_same_command_goes_on(program, tmp_path, alone):
    out = tmp_path / "runs"
    status, errors = stop_midway(program, out, signal.SIGINT)
    assert status == 130
    assert re.search(r"Stopped with \d of 3 seeds done; nothing is lost.*\n +python .* --resume", errors)
    assert not list(out.glob("teacher-table.*"))
    run(program, out, "--jobs", "2", "--threads", "1", "--resume")
    assert_same_end(out, alone[0])


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes by Linux's means")
def test_where_the_parent_is_killed_its_processes_save_and_stop(program, tmp_path):
    out = tmp_path / "runs"
    stop_midway(program, out, signal.SIGKILL)
    assert list(out.glob("*/checkpoints/*.safetensors"))


def test_a_failure_of_one_is_said_with_its_seed_and_stops_the_others(program, tmp_path):
    out = tmp_path / "runs"
    (out / "ce-seed1").mkdir(parents=True)
    (out / "ce-seed1" / "config.yaml").write_text("something: else\n")
    done = run(program, out, "--jobs", "2", check=False)
    assert done.returncode == 2
    assert re.search(r"^normkd: seed 1: .*ce-seed1", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr and not list(out.glob("teacher-table.*"))


def test_jobs_must_be_a_number_or_auto():
    with pytest.raises(ValueError, match="--jobs: found 'many', wanted a whole number of at least 1, or auto"):
        normkd("compare", "glyphs/resnet8-resnet8", "--jobs", "many")


def _children(pid: int) -> list[int]:
    """The processes that a process has started (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
