"""The folder of a table of logits: made once, by one process, and refused where it belongs to other logits.

It holds `logits.f32` (the rows), `checks.i32` (a checksum for each row, 0 where it is empty), `cache.json` (whose
logits these are) and `lock`. The JSON is written last: a folder without it is no table yet.

Letters: R rows of the table (images x views), B rows at hand, C classes.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from normkd_explore.files.locks import one_at_a_time
from normkd_explore.files.records import RecordError, read_json
from normkd_explore.files.regular import NotRegularError, require_regular
from normkd_explore.files.writing import remove_leftovers, replacing, write_json
from normkd_explore.training.teacher.kept_rows import KeptRows
from normkd_explore.training.teacher.logit_table import CacheError, LogitTable, empty_rows, gigabytes, table_bytes

FORMAT = 1
HEADER, LOGITS, CHECKS, LOCK = "cache.json", "logits.f32", "checks.i32", "lock"
VERIFY_ROWS = 1 << 16  # rows checked at a time: 26 MB for 100 classes


class Header(TypedDict):
    """What is asked of cache.json."""

    format: int
    identity: dict[str, Any]


def create_folder(folder: Path, rows: int, classes: int, identity: dict[str, Any]) -> None:
    """Make the files of an empty table, with all their disk space; nothing happens where the folder has a table.

    Of several processes that come at the same moment one makes them, and the others wait. CacheError where the folder
    holds other things, where there is no room, or where it cannot be written.
    """
    try:
        _refuse_foreign(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(folder / LOCK):
            remove_leftovers(folder)
            if not (folder / HEADER).exists():
                _make_files(folder, rows, classes, identity)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CacheError(f"teacher cache: {folder} cannot be written ({reason}); name another folder.") from error


def disk_room(folder: Path) -> int:
    """Bytes that are free on the disk where `folder` is, or will be."""
    return shutil.disk_usage(next(place for place in (folder, *folder.resolve().parents) if place.exists())).free


def _refuse_foreign(folder: Path) -> None:
    """CacheError where the folder holds something that is no part of a table."""
    if (folder / HEADER).exists() or not folder.exists():
        return
    foreign = [path.name for path in folder.iterdir() if not path.name.startswith((LOGITS, CHECKS, HEADER, LOCK))]
    if foreign:
        raise CacheError(
            f"teacher cache: {folder} is not empty and holds no {HEADER} (found {min(foreign)}); name a new or empty "
            "folder."
        )


def _make_files(folder: Path, rows: int, classes: int, identity: dict[str, Any]) -> None:
    free, wanted = shutil.disk_usage(folder).free, table_bytes(rows, classes)
    if wanted > free:
        raise CacheError(
            f"teacher cache: {gigabytes(wanted)} wanted, but there is {gigabytes(free)} of disk space free in "
            f"{folder}. Use --teacher-cache off, a smaller data set, or another folder."
        )
    for name, size in ((LOGITS, 4 * rows * classes), (CHECKS, 4 * rows)):
        _reserve(folder / name, size)
    write_json(folder / HEADER, {"format": FORMAT, "rows": rows, "classes": classes, "identity": identity})


def _reserve(path: Path, size: int) -> None:
    """A file of zeros with all its disk blocks: a full disk must be met here, not by a write to mapped memory."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def open_folder(folder: Path, rows: int, classes: int, identity: dict[str, Any], device: torch.device) -> LogitTable:
    """The table in `folder`, every row of it checked; CacheError says why where it may not be used."""
    _check_header(folder, identity)
    shapes = {LOGITS: (torch.float32, rows * classes), CHECKS: (torch.int32, rows)}
    mapped = {name: _map_file(folder / name, *shape) for name, shape in shapes.items()}
    # Again: on a disk without locks another process may have made its own table here in the meantime.
    _check_header(folder, identity)
    kept = KeptRows(mapped[LOGITS].view(rows, classes), mapped[CHECKS], folder / LOCK)
    known_R = _verified(folder, kept)
    if device.type == "cpu":
        return LogitTable(kept.rows_RC, known_R, kept)
    values_RC = empty_rows(rows, classes, device)
    for rows_B in torch.nonzero(known_R).flatten().split(VERIFY_ROWS):
        values_RC[rows_B.to(device)] = kept.rows_RC[rows_B].to(device)
    return LogitTable(values_RC, known_R, kept)


def _check_header(folder: Path, identity: dict[str, Any]) -> None:
    try:
        header = read_json(folder / HEADER, Header, _remedy(folder))
    except RecordError as error:
        raise CacheError(f"teacher cache: {error}") from error
    if header["format"] != FORMAT:
        raise CacheError(f"teacher cache: {folder} has format {header['format']}, wanted {FORMAT}. {_remedy(folder)}")
    found = header["identity"]
    differing = [name for name in identity if found.get(name) != identity[name]]
    if differing:
        pairs = "; ".join(
            f"{name}: found {_short(found.get(name))}, wanted {_short(identity[name])}" for name in differing
        )
        raise CacheError(f"teacher cache: {folder} belongs to another run ({pairs}). {_remedy(folder)}")


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text


def _remedy(folder: Path) -> str:
    return f"Name another folder, or delete {folder} to compute the logits again."


def _map_file(path: Path, dtype: torch.dtype, count: int) -> Tensor:
    try:
        size = require_regular(path)
        if size != 4 * count:
            raise CacheError(
                f"teacher cache: {path} is damaged: it has {size:,} bytes, wanted {4 * count:,}. {_remedy(path.parent)}"
            )
        with open(path, "rb+"):
            return torch.from_file(str(path), shared=True, size=count, dtype=dtype)
    except (OSError, NotRegularError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CacheError(
            f"teacher cache: {path} cannot be opened for writing ({reason}). {_remedy(path.parent)}"
        ) from error


def _verified(folder: Path, kept: KeptRows) -> Tensor:
    """Which rows are known, each compared with its checksum: bool (R,)."""
    known_R = kept.checks_R != 0
    for rows_B in torch.nonzero(known_R).flatten().split(VERIFY_ROWS):
        damaged = None if kept.known(rows_B).all() else kept.first_damaged(rows_B)
        if damaged is not None:
            raise CacheError(
                f"teacher cache: {folder} is damaged: row {damaged} does not match its checksum. {_remedy(folder)}"
            )
    return known_R
