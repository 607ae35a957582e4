"""How a machine is divided between processes that train at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from normkd_explore.training.machine.fabric import device_kind
from normkd_explore.training.machine.free_memory import available_bytes
from normkd_explore.training.machine.threads import usable_cores

JOB_BYTES = 1_500_000_000
"""Memory that "auto" counts for a process on a CPU: torch, a small data set and a small network."""
Jobs = int | Literal["auto"]


@dataclass(frozen=True)
class Division:
    """So many processes, each with so many threads and one of the devices."""

    jobs: int
    threads: int | None
    """None: as many as PyTorch takes by itself."""
    devices: tuple[str, ...]

    def device(self, number: int) -> str:
        """The device of the process with a number, from 0."""
        return self.devices[number % len(self.devices)]

    def __str__(self) -> str:
        each = f"{self.threads} thread{'s' * (self.threads != 1)} each"
        if self.devices[0].startswith("cuda"):
            return f"{self.jobs} jobs on {', '.join(self.devices)}, {each}"
        return f"{self.jobs} jobs of {usable_cores()} cores, {each}: the bits of --jobs 1 --threads {self.threads}"


def divide(turns: int, jobs: Jobs, threads: int | None, device: str) -> Division:
    """The division for a number of turns.

    "auto" takes a process a GPU, and on a CPU a process a core, or a process for each `threads` cores, as far as there
    are turns and free memory. Cores that are left are shared evenly as threads, unless `threads` says how many.

    Raises:
        ValueError: `jobs` or `threads` is below 1.
    """
    for name, value in (("jobs", jobs), ("threads", threads)):
        if isinstance(value, int) and value < 1:
            raise ValueError(f"{name}: found {value}, wanted a whole number of at least 1.")
    devices = _devices(device)
    count = _fitting(devices, threads) if jobs == "auto" else jobs
    count = max(1, min(turns, count))
    if threads is None and count > 1:
        threads = max(1, usable_cores() // count)
    return Division(count, threads, devices)


def _devices(device: str) -> tuple[str, ...]:
    """Those that may be used: all GPUs, where none is named."""
    if device_kind(device) != "cuda" or ":" in device:
        return (device,)
    return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count())) or (device,)


def _fitting(devices: tuple[str, ...], threads: int | None) -> int:
    """How many processes this machine has room for."""
    if device_kind(devices[0]) != "cpu":
        return len(devices)
    free = available_bytes(torch.device("cpu"))
    room = usable_cores() if free is None else free // JOB_BYTES
    return min(usable_cores() // (threads or 1), room)
