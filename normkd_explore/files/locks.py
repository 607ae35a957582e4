"""Locks between processes: files that the system itself unlocks, however the process that held them ends.

They are POSIX record locks (fcntl): processes forked from the owner do not inherit them, and after kill -9 no file
must be removed by hand. Where the system has none (Windows, some network disks) everything goes on without.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import IO

from normkd_explore.notices import notice

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_BUSY = (errno.EACCES, errno.EAGAIN)
_threads = threading.Lock()  # the system's locks do not keep two threads of one process apart


class Busy(RuntimeError):
    """Another process holds the lock; `owner` says which."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


def acquire(path: Path, wait: bool = False) -> IO[str] | None:
    """Hold the lock `path` until the file that is returned goes to `release`; None where the disk has no locks.

    Where another process has it: Busy, or with `wait` its end.
    """
    if fcntl is None:
        return None
    while True:
        handle = open(path, "a+", encoding="utf-8")  # noqa: SIM115  the caller holds it
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            handle.seek(0)
            owner = handle.read().strip() or "another process"
            handle.close()
            if error.errno in _BUSY:
                raise Busy(owner) from None
            _say_once(f"{path.parent}: this disk has no file locks ({error.strerror}), going on without.")
            return None
        if _is_there(handle, path):
            break
        handle.close()  # the owner before removed the file between our opening and locking it
    handle.truncate(0)
    handle.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    handle.flush()
    return handle


def release(handle: IO[str] | None, path: Path) -> None:
    """Give back what `acquire` gave."""
    if handle is not None:
        path.unlink(missing_ok=True)  # before it is unlocked, so never another process's lock
        handle.close()


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process and no other thread is inside the same section of `path`.

    Without locks on this disk, or without the file's folder, the section runs all the same: what it does must be
    checked afterwards.
    """
    with _threads:
        handle = None
        with suppress(OSError):
            handle = acquire(path, wait=True)
        try:
            yield
        finally:
            release(handle, path)


@cache
def _say_once(text: str) -> None:
    notice(text)


def _is_there(handle: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False
