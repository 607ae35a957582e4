"""What stops a run from outside: a signal to all its processes, a closed terminal. The state is saved each time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from normkd_explore.training.machine import interrupt
from normkd_explore.training.machine.interrupt import StopRequest
from normkd_explore.training.progress import ProgressBar
from normkd_explore.training.run import Moment
from normkd_explore.training.runs.checkpoint import latest_checkpoint
from tests.helpers.process_scenes import ROOT, environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs process groups and terminals")


def begin(folder, *arguments: object, **streams) -> subprocess.Popen:
    """Start the scene and wait until it trains."""
    command = [sys.executable, "-m", "tests.helpers.signal_scene", str(folder), *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), **streams)
    until = time.monotonic() + 100
    while not (folder / "ready").exists():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            pytest.fail(f"it ended before it trained: {process.communicate()}")
        time.sleep(0.05)
    return process


def assert_saved(process: subprocess.Popen, folder) -> None:
    assert process.wait(60) == 0
    point = latest_checkpoint(folder / "run" / "checkpoints")
    assert f"{point.epoch} {point.step}" == (folder / "stopped").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_signal_to_all_processes_leaves_the_reading_workers_until_the_state_is_saved(tmp_path):
    """As torchrun and SLURM send SIGTERM, and a terminal Ctrl-C and its own end; those two the workers get alone."""
    process = begin(tmp_path, 2, start_new_session=True, stderr=subprocess.PIPE)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(workers) >= 2
    for number in (signal.SIGINT, signal.SIGHUP):
        for worker in workers:
            os.kill(int(worker), number)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert b"Traceback" not in errors, errors
    assert_saved(process, tmp_path)
    with pytest.raises(ProcessLookupError):  # nobody of the group is left
        until = time.monotonic() + 20
        while time.monotonic() < until:
            os.killpg(process.pid, 0)
            time.sleep(0.1)


def test_a_closed_terminal_saves_the_run(tmp_path):
    """An ssh connection that ends: SIGHUP, and every write to the terminal fails from then on."""
    ours, theirs = os.openpty()
    process = begin(tmp_path, 0, "own", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.close(ours)
    assert_saved(process, tmp_path)


def test_nohup_goes_on():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
            signal.raise_signal(signal.SIGTERM)
            assert stop.requested
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_hangup_with_the_terminal_still_there_keeps_the_output(monkeypatch):
    closed, real_forget = [], interrupt._forget_closed
    monkeypatch.setattr(interrupt, "_forget_closed", closed.append)
    monkeypatch.setattr(os, "isatty", lambda output: output == 2)
    before = signal.getsignal(signal.SIGHUP)
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGHUP)
    assert stop.requested and closed == [[2]] and signal.getsignal(signal.SIGHUP) == before
    monkeypatch.setattr(os, "isatty", lambda output: True)
    with monkeypatch.context() as patch:
        patch.setattr(os, "dup2", lambda *_: pytest.fail("the output was closed"))
        real_forget([1, 2])


def test_progress_that_nobody_can_see_any_more_stops_nothing():
    class Closed:
        def show(self, state):
            raise BrokenPipeError

        finish_epoch = close = show

    bar = ProgressBar(display=Closed())
    bar.runs = []
    run = type("Run", (), {"name": "a", "learner": type("Learner", (), {"history": []})})
    bar._state = lambda *_: None
    bar(Moment(0, 1, 1, 2, 8), [run])
    assert bar.display is None
    bar(Moment(0, 1, 2, 2, 8), [run])
    bar.close()
