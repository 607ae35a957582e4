"""Writing files so that a reader never sees half of one, whatever happens to the writer."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
LEFTOVER = re.compile(r".*\.tmp-\d+|\.tmp\w{6}")  # the second is what versions that let safetensors write left


class WriteError(OSError):
    """A file or folder could not be written; the text names it, the reason and what to do."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system says about a failed write to `path` into a WriteError."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        number = error.errno
        reason = os.strerror(number) if number else (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WriteError(f"{path} could not be written: {reason}. {_remedy(number)}") from error


def _remedy(number: int | None) -> str:
    if number in FULL:
        return "Free space there, then go on with --resume: what was complete before is untouched."
    if number in CLOSED:
        return "Choose another folder with --out, or make this one writable."
    return "See to that, then go on with --resume; or choose another folder with --out."


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that writers killed by force left in `folder`; nobody may be writing there."""
    for path in folder.glob("*.tmp*"):
        if LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success its content takes the final name in one step.

    The order write, fsync, rename, fsync of the folder means that after a crash at any instant `path` holds either
    the old content or the new one, never a mixture. On an exception the old file stays and the temporary one goes; a
    failed write is a WriteError that names `path`.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with explained(path):
            yield temporary
            with open(temporary, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # The rename itself lives in the folder; without this a power cut may undo it. Windows cannot open folders.
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically (see `replacing`)."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` atomically; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
