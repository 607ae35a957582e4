"""A table of logits, one row for every (image, view): in memory, or with a file behind it that outlives the run.

Letters: R rows of the table (images x views), B rows at hand, C classes.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from normkd_explore.training.teacher.kept_rows import KeptRows


class CacheError(ValueError):
    """A teacher cache cannot be used; the text says why and what to do."""


class LogitTable:
    """Rows of float32 logits that are written once and read often.

    `values_RC` is what training reads, on its device; `known_R` says which rows are there, for this process: it lives
    on the host, so that asking never makes a GPU wait. `kept` is the file behind the table, on a CPU the same memory
    as `values_RC`; what other processes leave there is checked and taken over when this one misses it. From a GPU,
    rows arrive in the file some time after they were written, without the host waiting for them; `finish` waits.
    """

    def __init__(self, values_RC: Tensor, known_R: Tensor, kept: KeptRows | None = None) -> None:
        self.values_RC, self.known_R, self.kept = values_RC, known_R, kept
        self._on_the_way: deque[tuple[Tensor, Tensor, torch.cuda.Event | None]] = deque()

    @property
    def filled(self) -> int:
        """How many rows are known."""
        return int(torch.count_nonzero(self.known_R))

    def missing(self, rows_B: Tensor) -> Tensor:
        """Which of the rows (int64, on the host) are not known yet: bool (B,)."""
        unknown_B = rows_B[~self.known_R[rows_B]]
        if self.kept is not None and len(unknown_B):
            self._take_over(self.kept, unknown_B[self.kept.known(unknown_B)])
        return ~self.known_R[rows_B]

    def _take_over(self, kept: KeptRows, rows_B: Tensor) -> None:
        """Read rows that another process has left in the file since this one last looked."""
        if not self._shares_memory:
            self._set(rows_B, kept.rows_RC[rows_B])
        self.known_R[rows_B] = True

    def write(self, rows_B: Tensor, logits_BC: Tensor) -> None:
        """Keep logits; `rows_B` is on the host."""
        if not self._shares_memory:
            self._set(rows_B, logits_BC)
        if self.kept is not None:
            self._on_the_way.append((rows_B, *sent_to_host(logits_BC)))
            self._keep_arrived()
        self.known_R[rows_B] = True

    def read(self, rows_B: Tensor) -> Tensor:
        """Logits (B, C) of rows that are known; `rows_B` is on the table's device."""
        self._keep_arrived()
        return self.values_RC.index_select(0, rows_B)

    def finish(self) -> None:
        """Wait until every row that was written is in the file."""
        for _, _, arrived in self._on_the_way:
            if arrived:
                arrived.synchronize()
        self._keep_arrived()

    @property
    def _shares_memory(self) -> bool:
        return self.kept is not None and self.kept.rows_RC is self.values_RC

    def _set(self, rows_B: Tensor, logits_BC: Tensor) -> None:
        device = self.values_RC.device
        self.values_RC.index_copy_(0, rows_B.to(device, non_blocking=True), logits_BC.to(device, non_blocking=True))

    def _keep_arrived(self) -> None:
        """Write the rows that have come from the device to the file."""
        while self.kept is not None and self._on_the_way:
            arrived = self._on_the_way[0][2]
            if arrived is not None and not arrived.query():
                break
            rows_B, logits_BC, _ = self._on_the_way.popleft()
            self.kept.keep(rows_B, logits_BC)


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
    return LogitTable(empty_rows(rows, classes, device), torch.zeros(rows, dtype=torch.bool))


def empty_rows(rows: int, classes: int, device: torch.device) -> Tensor:
    """Memory for rows that are not known yet (R, C)."""
    values_RC = torch.empty(rows, classes, device=device)
    if device.type != "cpu":
        values_RC.fill_(torch.nan)  # a row read too early would be noticed by the guard against NaN
    return values_RC


def gigabytes(size: int) -> str:
    """A size for people: "2.9 GB", "13 MB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
