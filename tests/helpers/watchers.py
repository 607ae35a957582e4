"""Watchers of a training: one that shows nothing, and ones that act at a step."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from normkd_explore.training.run import Moment, Run, Watcher


def quiet(*_: object) -> None:
    """Shows nothing; as a listener, hears nothing."""


def at(epoch: int, step: int, act: Callable[[], object]) -> Watcher:
    """Calls `act` once `step` steps of `epoch` are done."""

    def watch(moment: Moment, runs: list[Run]) -> None:
        if (moment.epoch, moment.step) == (epoch, step):
            act()

    return watch


def stop_at(epoch: int, step: int, number: int = signal.SIGINT) -> Watcher:
    """Sends this process a signal, Ctrl-C's if no other is named, once `step` steps of `epoch` are done."""
    return at(epoch, step, lambda: os.kill(os.getpid(), number))
