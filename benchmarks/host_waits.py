"""Where the host waits for the device, by torch's profiler: every such moment is one in which a GPU may run dry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch

WAITS = ("aten::_local_scalar_dense", "cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
"""Reading a tensor's value (`item`, `int`, `bool`, `tolist`), and explicit synchronisation."""


def new_profiler() -> torch.profiler.profile:
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    return torch.profiler.profile(activities=activities, acc_events=True)


def waits_between(run: Callable[[Callable[[], None], Callable[[], None]], None]) -> Counter[str]:
    """The waits between the calls of `start` and `stop` that `run(start, stop)` makes, profiling's own left out."""
    found = []
    for job in (lambda start, stop: (start(), stop()), run):
        profiler = new_profiler()
        job(profiler.start, profiler.stop)
        found.append(Counter({event.key: event.count for event in profiler.key_averages() if event.key in WAITS}))
    return found[1] - found[0]
