"""A process that trains what it is told, and tells its parent how that goes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

from normkd_explore.training.jobs.turn import Turn
from normkd_explore.training.machine.interrupt import Interrupted
from normkd_explore.training.progress import ProgressBar
from normkd_explore.training.progress.view import State
from normkd_explore.training.session import compare
from normkd_explore.training.where import Where

READY, SAID, SHOWN, EPOCH, DONE, STOPPED, FAILED = "ready", "said", "shown", "epoch", "done", "stopped", "failed"
"""What a message is about; what belongs to it stands behind."""


def work(connection: Connection, where: Where, resume: bool) -> None:
    """Train the turns that arrive until None does; the entry point of a process of its own.

    A Ctrl-C on the terminal is for the parent, which passes it on as SIGTERM; where the parent is gone, so is its
    terminal, and this process stops as well. Either way a training stops between two steps, with everything saved.
    """
    if hasattr(os, "setsid"):
        os.setsid()  # the terminal's signals do not reach another session
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_stop_without_parent, daemon=True).start()
    tell = _teller(connection)
    sys.stdout = sys.stderr = _Speaker(tell)
    tell(READY)
    while (turn := connection.recv()) is not None:
        if not _train(turn, where, resume, tell):
            return
    connection.close()


def _train(turn: Turn, where: Where, resume: bool, tell: Callable[..., None]) -> bool:
    """Train one turn; whether there may be another."""
    try:
        with ProgressBar(display=_Remote(tell)) as bar:
            summaries = compare(turn.recipes, turn.outs, where, resume, watch=bar)
        tell(DONE, summaries)  # after the bar has shown how the last epoch ended
        return True
    except Interrupted:
        tell(STOPPED)
    except (ValueError, OSError, RuntimeError) as error:
        tell(FAILED, str(error), os.environ.get("NORMKD_DEBUG") and traceback.format_exc())
    except Exception as error:  # nobody expected it: the parent shows where it arose
        tell(FAILED, f"{type(error).__name__}: {error}", traceback.format_exc())
    return False


def _stop_without_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _teller(connection: Connection) -> Callable[..., None]:
    lock = threading.Lock()

    def tell(*message: Any) -> None:
        with lock:
            try:
                connection.send(message)
            except OSError:  # nobody listens any more: the parent is gone, and so will this process be
                return

    return tell


class _Speaker:
    """Stands for a stream; every whole line goes to the parent."""

    encoding = "utf-8"

    def __init__(self, tell: Callable[..., None]) -> None:
        self.tell, self.open = tell, ""

    def write(self, text: str) -> int:
        """Take text; lines go on as they end."""
        *lines, self.open = (self.open + text).split("\n")
        for line in lines:
            self.tell(SAID, line)
        return len(text)

    def flush(self) -> None:
        """Nothing waits but a line without an end."""

    def isatty(self) -> bool:
        """No."""
        return False


class _Remote:
    """A display in another process."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self.tell = tell

    def show(self, state: State) -> None:
        """Send where training is now."""
        self.tell(SHOWN, state)

    def finish_epoch(self, state: State) -> None:
        """Send how an epoch ended."""
        self.tell(EPOCH, state)

    def close(self) -> None:
        """Nothing is open here."""


def on_device(where: Where, device: str, threads: int | None) -> Where:
    """The same places for a process with a device and threads of its own."""
    return replace(where, device=device, threads=threads)
