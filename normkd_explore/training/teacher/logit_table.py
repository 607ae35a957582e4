"""A table of logits, one row for every (image, view), in memory or in a memory-mapped folder that outlives the run.

The folder holds `logits.f32` (the rows), `checks.i32` (a checksum for each row, 0 where it is empty) and `cache.json`
(whose logits these are). The JSON is written last, and a row's checksum after the row: whatever kills the process, no
half of anything is ever taken for a whole.

Letters: R rows of the table (images x views), B rows at hand, C classes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import deque
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from normkd_explore.training.machine.files import replacing, write_json

FORMAT = 1
HEADER, LOGITS, CHECKS = "cache.json", "logits.f32", "checks.i32"
VERIFY_ROWS = 1 << 16  # rows checked at a time: 26 MB for 100 classes


class CacheError(ValueError):
    """A teacher cache cannot be used; the text says why and what to do."""


class LogitTable:
    """Rows of float32 logits that are written once and read often.

    `values_RC` is what training reads, on its device. `checks_R` lives on the host, so that asking which rows are
    there never makes a GPU wait. `kept_RC` is the file behind the table, the same memory as `values_RC` on a CPU.
    From a GPU, rows arrive in the file some time after they were written, without the host waiting for them; until
    then `missing` calls them missing. `finish` waits for all.
    """

    def __init__(self, values_RC: Tensor, checks_R: Tensor, kept_RC: Tensor | None = None) -> None:
        self.values_RC, self.checks_R, self.kept_RC = values_RC, checks_R, kept_RC
        self._on_the_way: deque[tuple[Tensor, Tensor, torch.cuda.Event | None]] = deque()

    @property
    def filled(self) -> int:
        """How many rows are known."""
        return int(torch.count_nonzero(self.checks_R))

    def missing(self, rows_B: Tensor) -> Tensor:
        """Which of the rows (int64, on the host) are not known yet: bool (B,)."""
        return self.checks_R[rows_B] == 0

    def write(self, rows_B: Tensor, logits_BC: Tensor) -> None:
        """Keep logits; `rows_B` is on the host."""
        self.values_RC.index_copy_(0, rows_B.to(self.values_RC.device, non_blocking=True), logits_BC)
        if self.kept_RC is None:
            self.checks_R[rows_B] = 1
            return
        self._on_the_way.append((rows_B, *sent_to_host(logits_BC)))
        self._keep_arrived()

    def read(self, rows_B: Tensor) -> Tensor:
        """Logits (B, C) of rows that were written; `rows_B` is on the table's device."""
        self._keep_arrived()
        return self.values_RC.index_select(0, rows_B)

    def finish(self) -> None:
        """Wait until every row that was written is in the file."""
        for _, _, arrived in self._on_the_way:
            if arrived:
                arrived.synchronize()
        self._keep_arrived()

    def _keep_arrived(self) -> None:
        """Write the rows that have come from the device to the file, each row's checksum after the row."""
        while self._on_the_way and ((arrived := self._on_the_way[0][2]) is None or arrived.query()):
            rows_B, logits_BC, _ = self._on_the_way.popleft()
            if self.kept_RC is not self.values_RC:
                self.kept_RC.index_copy_(0, rows_B, logits_BC)
            self.checks_R[rows_B] = row_checks(rows_B, logits_BC)


def sent_to_host(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """The values on the host, and the event after which they are there; None: at once."""
    if values.device.type != "cuda":
        return values.cpu(), None
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    return host, torch.cuda.current_stream(values.device).record_event()


def table_bytes(rows: int, classes: int) -> int:
    """Size of a table: four bytes a logit, and four bytes a row for its checksum."""
    return 4 * rows * (classes + 1)


def new_table(rows: int, classes: int, device: torch.device) -> LogitTable:
    """An empty table in memory. On a CPU the operating system hands out its pages as rows arrive."""
    values_RC = torch.empty(rows, classes, device=device)
    if device.type != "cpu":
        values_RC.fill_(torch.nan)  # a row read too early would be noticed by the guard against NaN
    return LogitTable(values_RC, torch.zeros(rows, dtype=torch.int32))


def create_folder(folder: Path, rows: int, classes: int, identity: dict[str, Any]) -> None:
    """Make the files of an empty table, with all their disk space; nothing happens where the folder has a table.

    CacheError where the folder holds other things, where there is no room, or where it cannot be written.
    """
    if (folder / HEADER).exists():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = [path.name for path in folder.iterdir() if not path.name.startswith((LOGITS, CHECKS, HEADER))]
        if foreign:
            raise CacheError(
                f"teacher cache: {folder} is not empty and holds no {HEADER} (found {min(foreign)}); name a new or "
                "empty folder."
            )
        _refuse_beyond(shutil.disk_usage(folder).free, table_bytes(rows, classes), f"disk space free in {folder}")
        for name, size in ((LOGITS, 4 * rows * classes), (CHECKS, 4 * rows)):
            _reserve(folder / name, size)
        write_json(folder / HEADER, {"format": FORMAT, "rows": rows, "classes": classes, "identity": identity})
    except OSError as error:
        raise CacheError(
            f"teacher cache: {folder} cannot be written ({error.strerror}); name another folder."
        ) from error


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
    kept_RC, checks_R = mapped[LOGITS].view(rows, classes), mapped[CHECKS]
    _verify(folder, kept_RC, checks_R)
    values_RC = kept_RC if device.type == "cpu" else kept_RC.to(device)
    return LogitTable(values_RC, checks_R, kept_RC)


def _check_header(folder: Path, identity: dict[str, Any]) -> None:
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        found, known = header["identity"], header["format"]
        differing = [name for name in identity if found.get(name) != identity[name]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CacheError(f"teacher cache: {folder / HEADER} is damaged ({error!r}). {_remedy(folder)}") from error
    if known != FORMAT:
        raise CacheError(f"teacher cache: {folder} has format {known}, wanted {FORMAT}. {_remedy(folder)}")
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
        size = path.stat().st_size
        if size != 4 * count:
            raise CacheError(
                f"teacher cache: {path} is damaged: it has {size:,} bytes, wanted {4 * count:,}. {_remedy(path.parent)}"
            )
        with open(path, "rb+"):
            return torch.from_file(str(path), shared=True, size=count, dtype=dtype)
    except OSError as error:
        raise CacheError(f"teacher cache: {path} cannot be opened for writing ({error.strerror}).") from error


def _verify(folder: Path, kept_RC: Tensor, checks_R: Tensor) -> None:
    """Compare every known row with its checksum."""
    for start in range(0, len(checks_R), VERIFY_ROWS):
        rows_B = start + torch.nonzero(checks_R[start : start + VERIFY_ROWS]).flatten()
        wrong_B = row_checks(rows_B, kept_RC[rows_B]) != checks_R[rows_B]
        if wrong_B.any():
            raise CacheError(
                f"teacher cache: {folder} is damaged: row {int(rows_B[wrong_B][0])} does not match its checksum. "
                f"{_remedy(folder)}"
            )


def row_checks(rows_B: Tensor, logits_BC: Tensor) -> Tensor:
    """A checksum of each row's bits and place, int32 (B,), never 0.

    sum_c (2 c + 1) bits_c + (2 C + 1) row, modulo 2^32: odd factors let no flipped bit cancel itself.
    """
    bits_BC = logits_BC.contiguous().view(torch.int32).long()
    factors_C = 2 * torch.arange(bits_BC.shape[1]) + 1
    sums_B = (bits_BC * factors_C).sum(1) + (2 * bits_BC.shape[1] + 1) * rows_B
    sums_B = (sums_B & 0xFFFFFFFF) - (1 << 31)
    return torch.where(sums_B == 0, 1, sums_B).to(torch.int32)


def _refuse_beyond(available: int, wanted: int, what: str) -> None:
    if wanted > available:
        raise CacheError(
            f"teacher cache: {gigabytes(wanted)} wanted, but there is {gigabytes(available)} of {what}. Use "
            "--teacher-cache off, a smaller data set, or another folder."
        )


def gigabytes(size: int) -> str:
    """A size for people: "2.9 GB", "13 MB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
