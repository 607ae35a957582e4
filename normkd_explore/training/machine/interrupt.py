"""Ctrl-C and SIGTERM end a run between two steps, so that what is saved is whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Interrupted(Exception):
    """A run was stopped on request; `epoch` and `step` say where, and the run folder holds the state.

    `unit` is what the run counts in place of epochs.
    """

    def __init__(self, epoch: int, step: int, folder: object, unit: str = "epoch"):
        super().__init__(f"stopped in {unit} {epoch + 1} after step {step}")
        self.epoch, self.step, self.folder, self.unit = epoch, step, folder, unit


class StopRequest:
    """Context manager: the first signal only sets `requested`; a second Ctrl-C stops at once.

    Signal handlers can be set in the main thread alone; elsewhere (a server's worker, say) this does nothing.
    """

    signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in self.signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
