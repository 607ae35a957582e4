"""One training a folder: a second one is refused while the first lives, and never after."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from normkd_explore.files import locks
from normkd_explore.training import train
from normkd_explore.training.runs.lock import FolderInUse, locked
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import quiet

pytestmark = pytest.mark.skipif(locks.fcntl is None, reason="this system has no file locks")

HOLDER = """
import os, sys, time
from pathlib import Path
from normkd_explore.training.runs.lock import locked

with locked(Path(sys.argv[1])):
    child = os.fork() if sys.argv[2] == "fork" else None
    if child == 0:  # a worker that outlives its killed parent for a while
        time.sleep(60)
        os._exit(0)
    print(child or 0, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Starts a process that holds tmp_path/run; all that it started is gone at the end."""
    started = []

    def start(*how: str) -> subprocess.Popen:
        command = [sys.executable, "-W", "ignore", "-c", HOLDER, str(tmp_path / "run"), *how]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append((process, int(process.stdout.readline())))
        return process

    yield start
    for process, child in started:
        process.kill()
        process.wait()
        process.stdout.close()
        if child:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_training_is_refused_and_names_folder_and_process(holder, tmp_path, resume):
    process = holder("alone")
    with pytest.raises(FolderInUse, match=rf"run is in use: process {process.pid} on .*--out"):
        train(toy_recipe("ce"), tmp_path / "run", toy_where(tmp_path), resume, quiet, toy_dataset())
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["lock"]


@pytest.mark.parametrize("how", ["alone", "fork"])
def test_a_killed_owner_leaves_no_lock_behind(holder, tmp_path, how):
    """kill -9 frees the folder at once, even while a process forked from the owner lives."""
    process = holder(how)
    process.kill()
    process.wait()
    assert (tmp_path / "run" / "lock").exists()
    with locked(tmp_path / "run"):
        assert str(os.getpid()) in (tmp_path / "run" / "lock").read_text()
    assert not (tmp_path / "run" / "lock").exists()


def test_two_trainings_of_one_process_are_kept_apart_and_an_error_frees_the_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        with pytest.raises(FolderInUse, match=f"this process .{os.getpid()}"), locked(tmp_path / "." / ""):
            raise AssertionError("never here")
        assert 1 / 0
    with locked(tmp_path):
        pass


def test_a_lock_file_that_the_owner_takes_away_meanwhile_is_no_lock(tmp_path, monkeypatch):
    """Opened, then removed by the owner that ends, then locked: the file on the disk must be the locked one."""
    real, removed = locks.fcntl.lockf, []

    def lockf(handle, how):
        real(handle, how)
        if not removed:
            removed.append((tmp_path / "lock").unlink())

    monkeypatch.setattr(locks.fcntl, "lockf", lockf)
    with locked(tmp_path):
        assert (tmp_path / "lock").exists() and removed == [None]


def test_a_disk_without_locks_is_said_and_training_goes_on(tmp_path, monkeypatch, capsys):
    def lockf(handle, how):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locks.fcntl, "lockf", lockf)
    with locked(tmp_path):
        assert "no file locks" in capsys.readouterr().err
