"""How many threads share an operation: it decides how fast a CPU is, and how its sums are rounded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def usable_cores() -> int:
    """Cores that this process may use; in a container or a job of a cluster fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def thread_count(wanted: int | None) -> Iterator[None]:
    """Compute with as many threads, and as before afterwards; None changes nothing."""
    if wanted is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)
