"""`normkd doctor`: what is installed, what is found, and what would run here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

from normkd_explore.data import load_dataset
from normkd_explore.data.cifar import LAYOUTS
from normkd_explore.training.machine.compiling import missing
from normkd_explore.training.machine.environment import cpu_name, describe_environment
from normkd_explore.training.recipes.presets import DEFAULT_PRESET

LAB_PACKAGES = ("jupyterlab", "ipywidgets", "anywidget", "plotly", "nbval", "jupytext")


def diagnose(data_root: Path | None) -> str:
    """A report of a few lines: versions, device, memory and disk, data sets found, and the command to try."""
    environment = describe_environment()
    packages = "  ".join(f"{name} {number}" for name, number in environment["packages"].items() if number)
    lines = [
        f"normkd_explore {environment['normkd_explore']}, Python {environment['python']}, {environment['system']}",
        f"packages   {packages}",
        f"notebooks  {_notebooks()}",
        f"processor  {cpu_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        f"device     {_device()}",
        f"compile    {_compile()}",
        f"disk       {shutil.disk_usage('.').free / 2**30:,.0f} GiB free here",
        *_datasets(data_root),
        f"try        normkd train {DEFAULT_PRESET}",
    ]
    return "\n".join(lines)


def _notebooks() -> str:
    from importlib.util import find_spec

    missing = [name for name in LAB_PACKAGES if find_spec(name) is None]
    return f'missing {", ".join(missing)}: pip install -e ".[lab]"' if missing else "ready: make lab"


def _device() -> str:
    if torch.cuda.is_available():
        name, memory = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory
        return f"cuda: {torch.cuda.device_count()} x {name}, {memory / 2**30:.0f} GiB; --device auto takes the first"
    if torch.version.cuda is None:
        return "cpu: this PyTorch was built without CUDA"
    return f"cpu: PyTorch {torch.__version__} has CUDA {torch.version.cuda}, but no usable GPU or driver was found"


def _compile() -> str:
    lacks = missing("cuda" if torch.cuda.is_available() else "cpu")
    return f"not possible: {lacks}" if lacks else "possible: normkd train --compile"


def _datasets(root: Path | None) -> list[str]:
    """A line for each data set: what it holds, or what to do to have it."""
    found = ["glyphs: always there, drawn on first use", *(_cifar(name, root) for name in ("cifar100", "cifar10"))]
    found.append(_folder(root) if root else "imagenet, folder: name yours: --data-root DIR (DIR/train/CLASS/*.jpg)")
    label, indent = "data       ", " " * 11
    lines = "\n".join(found).replace("\n", f"\n{indent}").split("\n")
    return [label + lines[0], *lines[1:]]


def _cifar(name: str, root: Path | None) -> str:
    try:
        # Looking must not start a download of some hundred megabytes.
        return load_dataset(name, root=root, download=False).describe()
    except FileNotFoundError:
        if root is None:
            return f"{name}: missing; fetched on first use, or name it: --data-root DIR"
        return f"{name}: missing; {root} has no {LAYOUTS[name].published.base_folder}, nor its archive"
    except (OSError, ValueError, RuntimeError) as error:
        return f"{name}: damaged; {str(error).splitlines()[0]}"


def _folder(root: Path) -> str:
    try:
        return load_dataset("imagefolder", root=root).describe()
    except (OSError, ValueError, RuntimeError) as error:
        return f"imagefolder: missing; {str(error).splitlines()[0]}"
