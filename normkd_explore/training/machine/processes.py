"""One run in many processes (`torchrun`): who does what, and what they tell each other.

Every process holds a copy of the student, sees its share of each global batch, and averages gradients with the others,
so all copies stay equal to the last bit. The first process (rank 0) alone writes files. In a single process every
function here does nothing and costs nothing.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from inspect import signature
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from normkd_explore.notices import notice

T = TypeVar("T")
STEP_TIMEOUT = timedelta(minutes=10)  # a process that keeps the others waiting longer for its gradient is lost
TALK_TIMEOUT = timedelta(hours=2)  # the first process of a machine may download and prepare data for that long
BATCH_COUPLED = frozenset({"dist", "mlkd", "normdist", "normmlkd", "rkd", "sp", "pkt"})
"""Methods that compare the samples of a batch with each other: they see the pairs inside each process's share."""


class ProcessLost(RuntimeError):
    """Another process of the run ended or does not answer any more."""


def launched() -> bool:
    """Whether `torchrun` started this process as one of several."""
    return dist.is_available() and dist.is_torchelastic_launched() and int(os.environ["WORLD_SIZE"]) > 1


def size() -> int:
    """Processes of this run, over all machines."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def size_here() -> int:
    """Processes of this run on this machine: as many as share its memory."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", size())) if size() > 1 else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if size() > 1 else 0


def first() -> bool:
    """Whether this process is the one that writes files and shows progress."""
    return rank() == 0


def leave_at_exit() -> None:
    """End the connection to the others before Python ends.

    Fabric does so for NCCL alone. gloo's threads, left to the end of the program, now and then abort it after all its
    work is done, and torchrun then calls the run failed.
    """
    if size() > 1:
        atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def fabric_options(kind: str, index: str) -> dict[str, Any]:
    """Lightning Fabric's devices, machines and strategy for device `kind` (cpu, cuda, mps) and its number, or ""."""
    if not launched():
        return {"devices": [int(index)] if index else 1}
    total, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if index or kind == "mps":
        raise ValueError(
            f"device: found '{kind}{index and ':'}{index}' under torchrun, wanted auto, cpu or cuda: each process "
            "takes the GPU of its own number. Choose GPUs with CUDA_VISIBLE_DEVICES."
        )
    if kind == "cuda" and torch.cuda.device_count() < here:
        raise ValueError(
            f"torchrun: found {here} processes and {torch.cuda.device_count()} GPUs on this machine, wanted a GPU for "
            "each. Lower --nproc-per-node, or train with --device cpu."
        )
    if total % here:
        raise ValueError(
            f"torchrun: found {total} processes in all and {here} on this machine, wanted as many on every machine."
        )
    from normkd_explore.training.machine.strategy import InThisStream

    # BatchNorm's buffers are averaged by `average_batch_norm`; DDP would copy the first process's over the others',
    # in evaluation too, where processes may have different numbers of steps. PyTorch 2.15 has a new name for that.
    known = signature(nn.parallel.DistributedDataParallel).parameters
    copying = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {copying: False}
    strategy = InThisStream(timeout=STEP_TIMEOUT, **options)
    return {"devices": here, "num_nodes": total // here, "strategy": strategy}


@cache
def _talk() -> dist.ProcessGroup:
    """A group for plain objects: on the CPU, so that a GPU never waits for it, and patient."""
    return cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=TALK_TIMEOUT))


def agree(wish: int) -> int:
    """The largest wish of all processes: what they do next must be the same for all (stop, save, go on)."""
    if size() == 1:
        return wish
    wishes = torch.tensor(wish)
    dist.all_reduce(wishes, dist.ReduceOp.MAX, group=_talk())
    return int(wishes)


def share(work: Callable[[], T]) -> T:
    """Do `work` on the first process and give its result to all; if it raises there, no process goes on."""
    if size() == 1:
        return work()
    result, error = _attempt(work, first())
    answer: list[Any] = [result, error and _short(error)]
    dist.broadcast_object_list(answer, src=0, group=_talk())
    if error:
        raise error
    if answer[1]:
        raise ProcessLost(f"{_me()} ends because the first one did: {answer[1]}")
    return answer[0]


def one_by_machine(work: Callable[[], T]) -> T:
    """Do `work` first on one process of each machine, so that what it leaves on the disk is there for the others."""
    if size() == 1:
        return work()
    leads = os.environ["LOCAL_RANK"] == "0"
    result, error = _attempt(work, leads)
    errors = gather(error and _short(error))
    if error:
        raise error
    if any(errors):
        raise ProcessLost(f"{_me()} ends because another one did: {next(filter(None, errors))}")
    return cast(T, result) if leads else work()


def gather(value: T) -> list[T]:
    """The values of all processes, in the order of their numbers."""
    if size() == 1:
        return [value]
    values: list[Any] = [None] * size()
    dist.all_gather_object(values, value, group=_talk())
    return values


def total(values: Tensor) -> Tensor:
    """Sum over all processes, as a new tensor."""
    if size() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def stack(values: Tensor) -> Tensor:
    """The values (K,) of all P processes as (P, K)."""
    if size() == 1:
        return values[None]
    parts = [torch.empty_like(values) for _ in range(size())]
    dist.all_gather(parts, values)
    return torch.stack(parts)


def own_part(values_PK: Tensor) -> Tensor:
    """What this process gave to `stack`; where P is another now, the first takes the sum and the others zeros."""
    if len(values_PK) == size():
        return values_PK[rank()]
    return values_PK.sum(0) if first() else torch.zeros_like(values_PK[0])


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over all processes, where DDP does not do so (the loss's own parameters)."""
    if size() > 1:
        # A parameter without gradient takes part with zeros, since all processes must send equally much.
        _average([torch.zeros_like(p) if p.grad is None else p.grad for p in parameters])


@torch.no_grad()
def average_batch_norm(*modules: nn.Module) -> None:
    """Replace BatchNorm's running mean and variance by their mean over all processes.

    Each process normalises with the statistics of its own share, as in PyTorch's DistributedDataParallel; the running
    ones then describe all shares and not the first process's alone.
    """
    if size() > 1:
        layers = [layer for module in modules for layer in module.modules()]
        norms = [layer for layer in layers if isinstance(layer, nn.modules.batchnorm._NormBase)]
        _average([b for norm in norms for b in (norm.running_mean, norm.running_var) if b is not None])


@torch.no_grad()
def _average(tensors: list[Tensor]) -> None:
    if size() == 1 or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    parts = (flat / size()).split([tensor.numel() for tensor in tensors])
    torch._foreach_copy_(tensors, [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)])


@contextmanager
def lost_process_explained() -> Iterator[None]:
    """Turn the network's error about a process that went away into a ProcessLost that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, ProcessLost) or not _is_about_network(error):
            raise
        raise ProcessLost(
            f"{_me()} lost another one ({_short(error)}). Why that one ended stands in its own messages, or in "
            "torchrun's. Everything up to the last checkpoint is kept: start the same command again with --resume."
        ) from error


def _is_about_network(error: RuntimeError) -> bool:
    return size() > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error).lower())


def _attempt(work: Callable[[], T], mine: bool) -> tuple[T | None, Exception | None]:
    try:
        return (work() if mine else None), None
    except Exception as error:
        return None, error


def _short(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _me() -> str:
    return f"process {rank()} of {size()}"


def announce(methods: Iterable[str], batch_size: int) -> None:
    """Say once, in the log of the first process, what training in many processes means for these methods."""
    if size() > 1:
        for line in announcement(methods, batch_size):
            say_once(line)


@cache
def say_once(line: str) -> None:
    """Say something on stderr that a user should know: the first process does, and never twice."""
    if first():
        notice(line)


def announcement(methods: Iterable[str], batch_size: int) -> list[str]:
    """What a reader of the log should know about a run in many processes, in one line or two."""
    share_size = batch_size // size()
    lines = [
        f"{size()} processes: {share_size} of each batch's {batch_size} images a process, gradients averaged over all; "
        f"BatchNorm normalises each share of {share_size} by itself, its running statistics are averaged."
    ]
    if coupled := sorted(BATCH_COUPLED.intersection(methods)):
        lines.append(
            f"{', '.join(coupled)}: this loss compares the samples of a batch with each other and sees those of one "
            "share at a time, so it is not the loss that one process would compute."
        )
    return lines
