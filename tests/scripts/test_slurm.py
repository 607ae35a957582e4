"""The SLURM scripts: their syntax, and the commands that they would start, with stand-ins for SLURM's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from normkd_explore.cli import app

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SAY = '#!/bin/sh\nprintf "%s\\n" "$@"\n'


@pytest.fixture
def dry_run(tmp_path):
    """Start a script where `srun` prints its arguments; gives the process."""
    (tmp_path / "bin").mkdir()
    for name, text in (("srun", SAY), ("scontrol", "#!/bin/sh\necho head-node\n")):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "bin" / "activate").write_text("")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"

    def run(script: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        env = {**clean, "PATH": path, "VENV": str(tmp_path), **environment}
        return subprocess.run(["bash", SCRIPTS / script, *words], env=env, capture_output=True, text=True)

    return run


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("slurm_*.sh")))
def test_bash_can_read_it(script):
    subprocess.run(["bash", "-n", SCRIPTS / script], check=True)


def test_a_task_of_the_array_trains_its_seed(dry_run, monkeypatch):
    words = ("glyphs/resnet8-resnet8", "--methods", "ce,kd", "--out", "runs/my seeds")
    done = dry_run("slurm_compare.sh", *words, SLURM_ARRAY_TASK_ID="7", SLURM_CPUS_PER_TASK="4")
    assert done.returncode == 0, done.stderr
    program, *command = done.stdout.splitlines()
    assert program == "normkd"
    asked = []
    monkeypatch.setattr("normkd_explore.cli.compare._one_after_the_other", lambda *call, **_: asked.append(call) or [])
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    (((turn,), where, resume),) = asked
    assert turn.name == "seed 7" and [recipe.method for recipe in turn.recipes] == ["ce", "kd"]
    assert [str(out) for out in turn.outs] == ["runs/my seeds/ce-seed7", "runs/my seeds/kd-seed7"]
    assert resume and where.threads == 4


def test_without_a_common_folder_nothing_is_started(dry_run):
    done = dry_run("slurm_compare.sh", "glyphs/resnet8-resnet8", SLURM_ARRAY_TASK_ID="0")
    assert done.returncode == 2 and "--out FOLDER" in done.stderr and done.stdout == ""
    assert dry_run("slurm_compare.sh", "--out=x", SLURM_ARRAY_TASK_ID="0").returncode == 0


def test_a_run_on_several_machines_starts_one_torchrun_each(dry_run):
    slurm = {"SLURM_GPUS_ON_NODE": "4", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_ID": "31", "SLURM_NNODES": "2"}
    done = dry_run("slurm_train.sh", "imagenet/resnet34-resnet18", "--method", "normkd", **slurm)
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()
    assert words[:2] == ["--kill-on-bad-exit=1", "torchrun"] and words[words.index("--nproc-per-node") + 1] == "4"
    assert words[-6:] == ["normkd_explore", "train", "imagenet/resnet34-resnet18", "--method", "normkd", "--resume"]
