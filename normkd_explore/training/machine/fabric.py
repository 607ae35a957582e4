"""Lightning Fabric: the device and the precision of a run, alone or as one of the processes of torchrun."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import torch

from normkd_explore.training.machine import processes
from normkd_explore.training.machine.allocator import keep_freed_memory

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def device_kind(device: str) -> str:
    """cpu, cuda or mps; "auto" is cuda where PyTorch sees a GPU, else cpu. ValueError for another name."""
    kind, _, index = device.partition(":")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise ValueError(f"device: found {device!r}, wanted auto, cpu, cuda, cuda:N or mps.")
    return kind


def make_fabric(device: str = "auto", precision: str = "32-true") -> Fabric:
    """Lightning Fabric for one device, or one process of many under torchrun."""
    kind, index = device_kind(device), device.partition(":")[2]
    if precision in ("16-mixed", "16"):
        # Its gradient scaler takes the guard's place: skipped steps, norms times the scale, a state nobody saves.
        raise ValueError(
            f"precision: found {precision!r}, which scales the gradients; the check for NaN and the checkpoints do not "
            "know of that scale. Take bf16-mixed: as small, with float32's range, and needing no scale."
        )
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device: found 'cuda', but this PyTorch sees no CUDA device. `normkd doctor` shows why; --device cpu works."
        )
    if kind == "cpu":
        keep_freed_memory()
    with _only_its_version("torchmetrics"):
        from lightning_fabric import Fabric  # takes a moment to import, and only training needs it

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it names the precision again, and less well
    known = cast(Any, precision)  # of the names there are; Fabric refuses others itself
    fabric = Fabric(accelerator=kind, precision=known, **processes.fabric_options(kind, index))
    fabric.launch()
    processes.leave_at_exit()
    return fabric


@contextmanager
def _only_its_version(package: str) -> Iterator[None]:
    """Answer for an installed package while its version is asked, without loading it.

    Where torchmetrics is installed, importing Fabric imports it, and with it torchvision and scipy, to compare one
    version number: three to four seconds at every start of a training.
    """
    stand_in = ModuleType(package)
    with suppress(PackageNotFoundError):
        stand_in.__dict__["__version__"] = version(package)
        sys.modules.setdefault(package, stand_in)
    try:
        yield
    finally:
        if sys.modules.get(package) is stand_in:
            del sys.modules[package]
