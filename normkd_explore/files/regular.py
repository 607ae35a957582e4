"""What is looked at before a file is opened: whether it is one, and whether it could fill the memory.

A named pipe under any name would make its reader wait for ever; a few kilobytes can say that they are terabytes.
"""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

MODEST = 2**30  # bytes, which any machine has
MOST_INFLATION = 100  # bytes of values for each byte of the file
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegularError(ValueError):
    """Something that has a file's name and is none: reading it could wait for ever, or never end."""


class InflatedError(ValueError):
    """A file that says it holds far more than it can."""


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


def require_modest(claimed: int, path: str | Path) -> None:
    """Refuse a file whose values would take a gigabyte and a hundred times the file's own size.

    Raises:
        InflatedError: it says so; nothing has been allocated.
    """
    size = os.path.getsize(path)
    if claimed > max(MODEST, MOST_INFLATION * size):
        raise InflatedError(
            f"{path} has {size:,} bytes and says that it holds {claimed:,}, which real values never do: it is damaged, "
            "or made to fill the memory. Fetch it or write it again"
        )


def require_modest_zip(path: str | Path) -> None:
    """`require_modest` of all that is packed in a zip archive; any other file passes."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            require_modest(sum(member.file_size for member in archive.infolist()), path)
