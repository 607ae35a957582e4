"""Only regular files are opened: a named pipe of any name would make its reader wait for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegularError(ValueError):
    """Something that has a file's name and is none: reading it could wait for ever, or never end."""


def require_regular(path: str | Path) -> int:
    """Give the size in bytes of the regular file at `path`, following links; it is not opened.

    Raises:
        NotRegularError: a folder, named pipe, socket or device.
        OSError: there is nothing, or nothing that may be looked at.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        raise NotRegularError(f"{path} is {kind}, wanted a regular file; replace or remove it")
    return status.st_size
