"""Rows of logits in a file that several processes fill and read at once, each with a checksum.

A row is known where its checksum is there and matches: whatever kills a process in the middle of a write, and whatever
two processes write at the same moment, no half of anything is ever taken for a whole.

Letters: R rows of the table (images x views), B rows at hand, C classes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from normkd_explore.files.locks import one_at_a_time


class KeptRows:
    """The memory-mapped rows (R, C) float32, their checksums (R,) int32 (0 where a row is empty), and their lock."""

    def __init__(self, rows_RC: Tensor, checks_R: Tensor, lock: Path) -> None:
        self.rows_RC, self.checks_R, self.lock = rows_RC, checks_R, lock

    def known(self, rows_B: Tensor) -> Tensor:
        """Which of the rows (int64, on the host) are whole now: bool (B,)."""
        known_B = self.checks_R[rows_B] != 0
        there_B = rows_B[known_B]
        known_B[known_B.clone()] = row_checks(there_B, self.rows_RC[there_B]) == self.checks_R[there_B]
        return known_B

    def keep(self, rows_B: Tensor, logits_BC: Tensor) -> None:
        """Write the rows that are not known, each one's checksum after it.

        Those that another process wrote stay as they are: on a GPU its last bits may be others, and someone may be
        training with them.
        """
        with one_at_a_time(self.lock):
            new_B = ~self.known(rows_B)
            rows_B, logits_BC = rows_B[new_B], logits_BC[new_B]
            self.rows_RC.index_copy_(0, rows_B, logits_BC)
            self.checks_R[rows_B] = row_checks(rows_B, logits_BC)

    def first_damaged(self, rows_B: Tensor) -> int | None:
        """The first of the rows that has a checksum and does not match it; None if there is none."""
        with one_at_a_time(self.lock):  # not between the parts of another process's row
            damaged_B = (self.checks_R[rows_B] != 0) & ~self.known(rows_B)
            return int(rows_B[damaged_B][0]) if damaged_B.any() else None


def row_checks(rows_B: Tensor, logits_BC: Tensor) -> Tensor:
    """A checksum of each row's bits and place, int32 (B,), never 0.

    sum_c (2 c + 1) bits_c + (2 C + 1) row, modulo 2^32: odd factors let no flipped bit cancel itself.
    """
    bits_BC = logits_BC.contiguous().view(torch.int32).long()
    factors_C = 2 * torch.arange(bits_BC.shape[1]) + 1
    sums_B = (bits_BC * factors_C).sum(1) + (2 * bits_BC.shape[1] + 1) * rows_B
    sums_B = (sums_B & 0xFFFFFFFF) - (1 << 31)
    return torch.where(sums_B == 0, 1, sums_B).to(torch.int32)
