"""One trainer a run folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from normkd_explore.files.locks import Busy, acquire, release
from normkd_explore.files.writing import explained

NAME = "lock"
_held: set[Path] = set()  # the system's locks do not keep two trainings of one process apart


class FolderInUse(RuntimeError):
    """Another process trains into the folder; the text names the folder and the process."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process alone; it is created if need be. FolderInUse if another one has it.

    The lock is the file `lock` inside, which holds the owner's number and machine (see `files.locks`). Where the
    system has no such locks, keeping two runs out of one folder is left to the user.
    """
    place = folder.resolve()
    if place in _held:
        raise FolderInUse(_in_use(folder, f"this process ({os.getpid()})"))
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = acquire(folder / NAME)
        except Busy as busy:
            raise FolderInUse(_in_use(folder, busy.owner)) from None
    _held.add(place)
    try:
        yield
    finally:
        _held.discard(place)
        release(handle, folder / NAME)


def _in_use(folder: Path, owner: str) -> str:
    return (
        f"{folder} is in use: {owner} trains into it. Wait for its end or stop it, or choose another folder with --out."
    )
