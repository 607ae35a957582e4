"""Versions, hardware and command of a run, kept for every part of it: what one needs to say where a number is from."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch

import normkd_explore
from normkd_explore.files.records import RecordError, read_json
from normkd_explore.files.writing import write_json
from normkd_explore.training.machine import processes
from normkd_explore.training.machine.determinism import is_deterministic

PACKAGES = ("torch", "torchvision", "lightning-fabric", "numpy", "safetensors", "timm")
Environment = dict[str, Any]


class EnvironmentRecord(TypedDict):
    """What is asked of an environment.json of before."""

    packages: NotRequired[dict[str, Any] | None]
    cpu: NotRequired[dict[str, Any] | None]
    resumed: NotRequired[list[EnvironmentRecord]]


def describe_environment(device: str | None = None) -> Environment:
    """Versions, command and hardware here and now; `device` is the one that trains (None: not said)."""
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["normkd", *sys.argv[1:]]) if sys.argv[0].endswith(("normkd", "__main__.py")) else None,
        "python": platform.python_version(),
        "normkd_explore": normkd_explore.__version__,
        "packages": {name: _version(name) for name in PACKAGES},
        "processes": processes.size(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": device,
        "deterministic": is_deterministic(),
        "cpu": {"name": cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "cuda": torch.version.cuda if accelerator else None,
        "accelerator": accelerator,
    }


def record_environment(path: Path, now: Environment, resume: bool) -> str | None:
    """Write `now` to `path`; on `resume` as one more entry of "resumed", so that the first part's stays.

    Returns a sentence about what differs from the part before and may change the last bits, or None.
    """
    before = _read(path) if resume else None
    if before is None:
        write_json(path, now)
        return None
    parts = before.setdefault("resumed", [])
    last = parts[-1] if parts else before
    parts.append(now)
    write_json(path, before)
    return _difference(last, now)


def _read(path: Path) -> Environment | None:
    """The recorded environment; None where there is none, or none that can be read (it decides nothing)."""
    with suppress(RecordError):
        return read_json(path, EnvironmentRecord, "")
    return None


def _difference(before: Environment, now: Environment) -> str | None:
    old, new = _conditions(before), _conditions(now)
    changed = [f"{name}: {old[name]} before, {new[name]} now" for name in new if old[name] not in (None, new[name])]
    if not changed:
        return None
    return f"{'; '.join(changed)}: numbers may differ in the last bits from an uninterrupted run."


def _conditions(environment: Environment) -> dict[str, Any]:
    """What decides how sums are rounded."""
    packages, cpu = environment.get("packages") or {}, environment.get("cpu") or {}
    return {
        "processes": environment.get("processes"),
        "threads": cpu.get("threads"),
        "device": environment.get("device"),
        "deterministic": environment.get("deterministic"),
        "processor": cpu.get("name"),
        "accelerator": environment.get("accelerator"),
        "torch": packages.get("torch"),
    }


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
