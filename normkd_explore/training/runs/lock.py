"""One trainer a run folder: a lock that the system itself takes back, however the process ends."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from normkd_explore.training.machine.files import explained

try:
    import fcntl
except ImportError:  # Windows: no lock there, see `locked`
    fcntl = None

NAME = "lock"
_BUSY = (errno.EACCES, errno.EAGAIN)
_held: set[Path] = set()  # the system's locks do not keep two trainings of one process apart


class FolderInUse(RuntimeError):
    """Another process trains into the folder; the text names the folder and the process."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process alone; it is created if need be. FolderInUse if another one has it.

    The lock is a POSIX record lock (fcntl) on the file `lock` inside, which holds the owner's number and machine. It
    ends with the process, kill -9 included, and processes forked from it do not inherit it, so that no file must be
    removed by hand. Where the system has no such locks (Windows, some network disks) training goes on without one, and
    keeping two runs out of one folder is left to the user.
    """
    place = folder.resolve()
    if place in _held:
        raise FolderInUse(_in_use(folder, f"this process ({os.getpid()})"))
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = _acquire(folder)
    _held.add(place)
    try:
        yield
    finally:
        _held.discard(place)
        if handle is not None:
            (folder / NAME).unlink(missing_ok=True)  # before it is unlocked, so never another process's lock
            handle.close()


def _acquire(folder: Path) -> IO[str] | None:
    if fcntl is None:
        return None
    while True:
        handle = open(folder / NAME, "a+", encoding="utf-8")  # noqa: SIM115  held until the training ends
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            owner = handle.read().strip() or "another process"
            handle.close()
            if error.errno in _BUSY:
                raise FolderInUse(_in_use(folder, owner)) from None
            print(f"{folder}: this disk has no file locks ({error.strerror}), going on without.", file=sys.stderr)
            return None
        if _is_there(handle, folder / NAME):
            break
        handle.close()  # the owner before removed the file between our opening and locking it
    handle.truncate(0)
    handle.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    handle.flush()
    return handle


def _is_there(handle: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _in_use(folder: Path, owner: str) -> str:
    return (
        f"{folder} is in use: {owner} trains into it. Wait for its end or stop it, or choose another folder with --out."
    )
