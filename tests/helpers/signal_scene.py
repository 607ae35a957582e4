"""A training that goes on until a signal stops it: `python -m tests.helpers.signal_scene FOLDER WORKERS`.

It leaves `ready` in the folder after its third step, and `stopped` with the place where the signal met it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from normkd_explore.training import Interrupted, Where, train
from normkd_explore.training.progress import ProgressBar
from tests.helpers.shared_runs import streamed
from tests.helpers.toy import toy_dataset, toy_recipe


class Announcing(ProgressBar):
    """The usual progress, which also says when training is under way."""

    def __init__(self, ready: Path) -> None:
        super().__init__()
        self.ready = ready

    def __call__(self, moment, runs):
        super().__call__(moment, runs)
        if (moment.epoch, moment.step) >= (1, 1):
            self.ready.touch()
        self.refreshed = float("-inf")  # something is shown after every step


def main(folder: Path, workers: int) -> None:
    data = streamed(folder) if workers else toy_dataset()
    where = Where(device="cpu", workers=workers)
    with Announcing(folder / "ready") as watch:
        try:
            train(toy_recipe("ce", epochs=100_000), folder / "run", where, watch=watch, dataset=data)
        except Interrupted as stop:
            (folder / "stopped").write_text(f"{stop.epoch} {stop.step}")


if __name__ == "__main__":
    if "own" in sys.argv[3:]:  # the terminal at stdin becomes this process's own: its end is a SIGHUP
        import fcntl
        import termios

        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    main(Path(sys.argv[1]), int(sys.argv[2]))
