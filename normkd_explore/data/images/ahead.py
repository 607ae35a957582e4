"""Work on the next batch while the networks are busy with this one: a thread, and on a GPU a stream of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")


def worked_ahead(work: Callable[[Item], Tensor], items: Iterable[Item], device: torch.device) -> Iterator[Tensor]:
    """Give ``work(item)`` of each item in order, the next one under way in a thread while one is used.

    Items are fetched by the caller's thread and so may draw random numbers; `work` may not. An error, of `work` or of
    `items`, is raised at its turn, after all results before it. Closing the generator waits for the work under way.
    On a GPU, `work` has a stream of its own, for which the caller's current stream waits, and the host does not.
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def job(item: Item | Exception) -> tuple[Tensor, torch.cuda.Event | None]:
        if isinstance(item, Exception):
            raise item
        with torch.cuda.stream(stream) if stream else nullcontext():
            return work(item), stream.record_event() if stream else None

    waiting: Future | None = None
    # A thread begins on the first GPU, and leaving the stream would open that one: in each process of several.
    start = partial(torch.cuda.set_device, stream.device) if stream else None
    with ThreadPoolExecutor(1, "ahead", start) as pool:
        for item in _errors_last(items):
            coming = pool.submit(job, item)
            if waiting:
                yield _received(waiting.result(), device)
            waiting = coming
        if waiting:
            yield _received(waiting.result(), device)


def _errors_last(items: Iterable[Item]) -> Iterator[Item | Exception]:
    """The items, and an error of the iteration itself as the last one."""
    try:
        yield from items
    except Exception as error:
        yield error


def _received(finished: tuple[Tensor, torch.cuda.Event | None], device: torch.device) -> Tensor:
    result, done = finished
    if done is not None:
        current = torch.cuda.current_stream(device)
        current.wait_event(done)
        result.record_stream(current)  # else its memory could be given away while it is still being read
    return result
