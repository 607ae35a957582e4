"""A process that ends ends all, with a message and a run to continue."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from normkd_explore.training import RunFolder
from normkd_explore.training.runs.checkpoint import latest_checkpoint
from tests.helpers.process_scenes import ROOT, environment, launch, torchrun
from tests.helpers.shared_runs import assert_close


def test_a_process_that_ends_ends_all_with_a_message_and_a_run_to_continue(place, alone):
    """kill -9 of one, os._exit of the other, then Ctrl-C on torchrun; each run is continued by the next launch."""
    killed = launch("killed", place / "killed")
    assert killed.returncode != 0
    assert "process 0 of 2 lost another one" in killed.stderr and "--resume" in killed.stderr
    assert not RunFolder(place / "killed" / "run").finished
    left = launch("left", place / "left")
    assert left.returncode != 0 and "process 1 of 2 lost another one" in left.stderr
    (place / "long").mkdir()
    long = subprocess.Popen(
        torchrun("long", place / "long"), cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True
    )
    wait_for(long, place / "long" / "ready0", place / "long" / "ready1")
    long.send_signal(signal.SIGINT)
    _, text = long.communicate(timeout=60)
    assert long.returncode != 0
    stopped = [(place / "long" / f"stopped{rank}").read_text() for rank in range(2)]
    assert stopped[0] == stopped[1], text
    point = latest_checkpoint(place / "long" / "run" / "checkpoints")
    assert f"{point.epoch} {point.step}" == stopped[0]
    for name in ("killed", "left"):
        assert_close(place / name / "run" / "student.safetensors", alone / "ctkd" / "student.safetensors")


def wait_for(process: subprocess.Popen, *paths: Path) -> None:
    """Wait until all `paths` exist, as long as the process lives."""
    until = time.monotonic() + 60
    while not all(path.exists() for path in paths):
        assert process.poll() is None and time.monotonic() < until, process.communicate()[1]
        time.sleep(0.05)
