"""Ctrl-C, SIGTERM and a closed terminal end a run between two steps, so that what is saved is whole."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none
OUTPUTS = (1, 2)  # file descriptors of stdout and stderr


class Interrupted(Exception):
    """A run was stopped on request; `epoch` and `step` say where, and the run folder holds the state.

    `unit` is what the run counts in place of epochs.
    """

    def __init__(self, epoch: int, step: int, folder: object, unit: str = "epoch"):
        super().__init__(f"stopped in {unit} {epoch + 1} after step {step}")
        self.epoch, self.step, self.folder, self.unit = epoch, step, folder, unit
        self.words: str | None = None
        """Where that was, if epoch and step do not say it."""


class StopRequest:
    """Context manager: the first signal only sets `requested`; a second Ctrl-C stops at once.

    A program that was started with nohup goes on when its terminal closes. Signal handlers can be set in the main
    thread alone; elsewhere (a server's worker, say) this does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}
        self._terminals: list[int] = []

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._terminals = [output for output in OUTPUTS if os.isatty(output)]
            self._before = {number: signal.signal(number, self._handle) for number in self._signals()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @staticmethod
    def _signals() -> list[int]:
        heard: list[int] = [signal.SIGINT, signal.SIGTERM]
        if HANGUP is not None and signal.getsignal(HANGUP) != signal.SIG_IGN:
            heard.append(HANGUP)
        return heard

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        if number == HANGUP:
            _forget_closed(self._terminals)


def _forget_closed(terminals: list[int]) -> None:
    """Send what would go to a terminal that is gone nowhere: an error on the way to the save would lose the run."""
    for output in terminals:
        if not os.isatty(output):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, output)
            os.close(nowhere)
