"""Where the host waits for the device: every such moment is one in which a GPU may run dry.

torch's profiler counts reads of values. On a GPU, torch's own watch (`torch.cuda.set_sync_debug_mode`) also counts
copies for which the host waits, such as those from ordinary memory without `non_blocking`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable

import torch

WAITS = ("aten::_local_scalar_dense", "cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
"""Reading a tensor's value (`item`, `int`, `bool`, `tolist`), and explicit synchronisation."""
SYNC_WARNING = "called a synchronizing CUDA operation"
WARNED = "warned of by torch.cuda.set_sync_debug_mode"
Moment = Callable[[], None]


def new_profiler() -> torch.profiler.profile:
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    return torch.profiler.profile(activities=activities, acc_events=True)


def waits_between(run: Callable[[Moment, Moment], None]) -> Counter[str]:
    """The waits between the calls of `start` and `stop` that `run(start, stop)` makes, profiling's own left out."""
    found = []
    for job in (lambda start, stop: (start(), stop()), run):
        profiler = new_profiler()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            job(
                lambda p=profiler: (p.start(), watch_syncs("warn")),
                lambda p=profiler: (watch_syncs("default"), p.stop()),
            )
        waits = Counter({event.key: event.count for event in profiler.key_averages() if event.key in WAITS})
        waits[WARNED] = sum(SYNC_WARNING in str(warning.message) for warning in said)
        found.append(waits)
    return found[1] - found[0]


def watch_syncs(mode: str) -> None:
    """Let torch warn at each operation that makes the host wait for a GPU, or no longer."""
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode(mode)
