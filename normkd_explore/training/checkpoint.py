"""Complete training states on disk: atomic, checked by a hash, and free of code.

A checkpoint is two files. `NAME.safetensors` holds every tensor; `NAME.json` holds everything else, the size and
SHA-256 of the tensor file and a format number. The JSON is written last, so a checkpoint without it never existed.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file
from torch import Tensor

from normkd_explore.training.files import replacing, write_json

FORMAT = 1
KEEP = 2  # the newest and, should its disk block rot, the one before
_NAME = re.compile(r"epoch(\d+)-step(\d+)\.json")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used; the text names the file and what is wrong with it."""


@dataclass(frozen=True)
class Checkpoint:
    """One training state: `epoch` epochs are complete, and `step` steps of the next one."""

    epoch: int
    step: int
    state: dict[str, Any]
    path: Path


def save_checkpoint(folder: Path, epoch: int, step: int, state: dict[str, Any]) -> Path:
    """Write `state` (nested dicts and lists of tensors and plain values) as the newest checkpoint of `folder`.

    Older checkpoints beyond the newest two are deleted, but only after the new one is complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    tree = _detach_tensors(state, tensors, "")
    path = folder / f"epoch{epoch:04d}-step{step:07d}.safetensors"
    with replacing(path) as temporary:
        save_file(tensors, temporary)
        digest, size = _digest(temporary), temporary.stat().st_size
    header = {"format": FORMAT, "epoch": epoch, "step": step, "bytes": size, "sha256": digest, "state": tree}
    write_json(path.with_suffix(".json"), header)
    for old in list_checkpoints(folder)[:-KEEP]:
        # The header goes first: without it the rest is no longer a checkpoint.
        old.unlink(missing_ok=True)
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The headers (`*.json`) of all checkpoints in `folder`, oldest first."""
    found = [path for path in folder.glob("epoch*.json") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: tuple(map(int, _NAME.fullmatch(path.name).groups())))


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest usable checkpoint of `folder`, or None where none was ever written.

    A damaged one is passed over with a warning that names it. If checkpoints exist and all are damaged, a
    CheckpointError says so: training must never start again from scratch without a word.
    """
    problems = []
    for header in reversed(list_checkpoints(folder)):
        try:
            return load_checkpoint(header)
        except CheckpointError as error:
            problems.append(str(error))
            warnings.warn(f"{error} Trying the checkpoint before it.", RuntimeWarning, stacklevel=2)
    if problems:
        raise CheckpointError(
            f"no usable checkpoint in {folder}: all {len(problems)} are damaged. {problems[0]} Delete the folder's "
            "checkpoints to train from the start, or restore them from a copy."
        )
    return None


def load_checkpoint(header_path: Path) -> Checkpoint:
    """Read one checkpoint, checking its format, size and hash before any tensor is used."""
    header = _read_header(header_path)
    path = header_path.with_suffix(".safetensors")
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror}.") from error
    if len(payload) != header["bytes"]:
        raise CheckpointError(
            f"checkpoint {path} is damaged: it has {len(payload):,} bytes and {header['bytes']:,} were written."
        )
    if hashlib.sha256(payload).hexdigest() != header["sha256"]:
        raise CheckpointError(f"checkpoint {path} is damaged: its SHA-256 is not the one that was written.")
    state = _attach_tensors(header["state"], load_tensors(payload))
    return Checkpoint(header["epoch"], header["step"], state, path)


def _read_header(path: Path) -> dict[str, Any]:
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        keys = {"format", "epoch", "step", "bytes", "sha256", "state"}
        missing = keys - set(header)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"checkpoint header {path} is damaged: {error}.") from error
    if missing:
        raise CheckpointError(f"checkpoint header {path} lacks {sorted(missing)}.")
    if header["format"] != FORMAT:
        raise CheckpointError(
            f"checkpoint {path} has format {header['format']}; this version reads format {FORMAT}. Continue with the "
            "version of normkd_explore that wrote it (see environment.json of the run)."
        )
    return header


def _digest(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _detach_tensors(value: Any, tensors: dict[str, Tensor], name: str) -> Any:
    """Replace each tensor in the tree by {"tensor": key} and collect it under that key."""
    if isinstance(value, Tensor):
        # A copy in plain layout on the CPU: safetensors stores neither shared nor channels_last memory.
        tensors[name] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _detach_tensors(item, tensors, f"{name}/{key}")] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_detach_tensors(item, tensors, f"{name}/{i}") for i, item in enumerate(value)]
    return value


def _attach_tensors(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, dict) and "tensor" in tree:
        return tensors[tree["tensor"]]
    if isinstance(tree, dict):
        return {key: _attach_tensors(item, tensors) for key, item in tree["dict"]}
    if isinstance(tree, list):
        return [_attach_tensors(item, tensors) for item in tree]
    return tree
