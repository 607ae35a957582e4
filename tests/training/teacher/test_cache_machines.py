"""A cache folder on two machines: two processes that each are the only one of their machine, with a disk of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
from normkd_explore.training import TeacherCache, train
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where
where = replace(toy_where(Path(".")), teacher_cache=TeacherCache(sys.argv[1]))
train(toy_recipe("kd", epochs=1), Path("run"), where, watch=lambda moment, runs: None, dataset=toy_dataset())
"""


def start(rank: int, port: int, cwd: Path, cache: str) -> subprocess.Popen:
    cwd.mkdir(exist_ok=True)
    machine = {"RANK": rank, "LOCAL_RANK": 0, "GROUP_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 1}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": 1}
    added = {name: str(value) for name, value in (machine | meeting | {"PYTHONPATH": ROOT}).items()}
    command = [sys.executable, "-c", SCRIPT, cache]
    return subprocess.Popen(command, cwd=cwd, env={**os.environ, **added}, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("cache, shared", [("cache", False), ("../cache", True)])
def test_machines_with_and_without_a_shared_disk(tmp_path, cache, shared):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    machines = [start(rank, port, tmp_path / f"machine{rank}", cache) for rank in range(2)]
    for machine in machines:
        _, errors = machine.communicate(timeout=240)
        assert machine.returncode == 0, errors
    found = sorted(path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("cache.json"))
    assert found == (["cache"] if shared else ["machine0/cache", "machine1/cache"])
    assert (tmp_path / "machine0" / "run" / "summary.json").exists()
