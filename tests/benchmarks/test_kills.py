"""Killed trainings end as if nobody had killed them, and the benchmark would notice one that does not."""

import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.kills import EPOCHS, KINDS, problems

ROOT = Path(__file__).parents[2]


def test_a_few_kills_change_nothing():
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", "3", "--only", "compare, with a folder"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    kills, runs, places, bad = done.stdout.splitlines()[1].split()[-4:]
    assert kills == "3" and int(runs) >= 1 and int(places) >= 1 and bad == "0"


def write_run(folder: Path, weight: float) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    save_file({"w": torch.tensor([weight])}, folder / "student.safetensors")
    (folder / "metrics.jsonl").write_text("".join(f'{{"epoch": {epoch + 1}}}\n' for epoch in range(EPOCHS)))


def test_every_difference_is_noticed(tmp_path):
    train = KINDS[0]
    for name in ("whole", "killed"):
        write_run(tmp_path / name, 1.0)
    assert list(problems(train, tmp_path)) == []
    save_file({"w": torch.tensor([1.0 + 2**-23])}, tmp_path / "killed" / "student.safetensors")
    (tmp_path / "killed" / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 1}\n')
    for name in ("killed/lock", "killed/checkpoints/epoch0001.json", "cache/checks.i32.tmp-7", "kept/a.tmp-3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = " ".join(problems(train, tmp_path))
    for part in ("other weights", "epochs [1, 1]", "['lock']", "half checkpoints ['epoch0001']", "checks.i32.tmp-7"):
        assert part in found, part
    assert "kept: left behind: ['a.tmp-3']" in found
