"""The run folder: everything about one run, readable without this package.

config.yaml        the recipe            environment.json   versions, hardware, command
metrics.jsonl      one object an epoch   student.safetensors  weights after the last epoch
checkpoints/       complete training states              summary.json   last and best epoch, seconds, images/s
"""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import normkd_explore
from normkd_explore.training import processes
from normkd_explore.training.checkpoint import list_checkpoints
from normkd_explore.training.files import write_json, write_text
from normkd_explore.training.recipe import Recipe

PACKAGES = ("torch", "torchvision", "lightning-fabric", "numpy", "safetensors", "timm")


class RunFolder:
    """One folder a run. Opening it for a new run refuses to overwrite; opening it to resume checks the recipe."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.student = self.path / "student.safetensors"

    @property
    def finished(self) -> bool:
        """Whether the run reached its last epoch and wrote its results."""
        return (self.path / "summary.json").exists()

    def start(self, recipe: Recipe, resume: bool) -> None:
        """Create the folder for `recipe`, or check that it holds the same recipe when resuming."""
        config = self.path / "config.yaml"
        if config.exists() and not resume:
            state = "a finished run" if self.finished else "an unfinished run"
            raise FileExistsError(
                f"{self.path} holds {state}: continue it with --resume, or choose another folder with --out."
            )
        if resume and config.exists():
            self.check_same(recipe)
        elif resume and list_checkpoints(self.checkpoints):
            raise FileNotFoundError(f"{config} is missing, so nobody can say what its checkpoints belong to.")
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(config, recipe.to_yaml())
        write_json(self.path / "environment.json", describe_environment())

    def check_same(self, recipe: Recipe) -> None:
        """ValueError, naming what differs, unless this folder was started with `recipe`."""
        before = self.recipe()
        changed = [name for name in vars(recipe) if getattr(before, name) != getattr(recipe, name)]
        if changed:
            details = "; ".join(f"{n}: {getattr(before, n)!r} before, {getattr(recipe, n)!r} now" for n in changed)
            raise ValueError(
                f"{self.path} was started with another recipe ({details}). Resume with the same options, "
                "or start a new run with --out."
            )

    def recipe(self) -> Recipe:
        """The recipe that this folder was started with."""
        path = self.path / "config.yaml"
        if not path.exists():
            raise FileNotFoundError(f"{self.path} is no run folder: it has no config.yaml.")
        return Recipe.from_yaml(path.read_text(encoding="utf-8"))

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Write metrics.jsonl: one line an epoch. Rewritten whole, so that a resumed run never repeats an epoch."""
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in history))

    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl."""
        path = self.path / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def summary(self) -> dict[str, Any]:
        """summary.json; a FileNotFoundError says how to finish an unfinished run."""
        path = self.path / "summary.json"
        if not path.exists():
            raise FileNotFoundError(
                f"{self.path} has no summary.json: the run is not finished. Continue it with --resume."
            )
        return json.loads(path.read_text(encoding="utf-8"))


def describe_environment() -> dict[str, Any]:
    """Versions, device and command: what one needs to say where a number comes from."""
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["normkd", *sys.argv[1:]]) if sys.argv[0].endswith(("normkd", "__main__.py")) else None,
        "python": platform.python_version(),
        "normkd_explore": normkd_explore.__version__,
        "packages": {name: _version(name) for name in PACKAGES},
        "processes": processes.size(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": {"name": cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "cuda": torch.version.cuda if accelerator else None,
        "accelerator": accelerator,
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
