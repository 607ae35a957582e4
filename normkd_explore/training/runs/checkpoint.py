"""Complete training states on disk: atomic, checked by a hash, and free of code.

A checkpoint is two files. `NAME.safetensors` holds every tensor; `NAME.json` holds everything else, the size and
SHA-256 of the tensor file, a format number, the recipe's digest and a SHA-256 of the header itself. The JSON is written
last, so a checkpoint without it never existed.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from normkd_explore.files.records import CHECKSUM, RecordError, json_checksum, read_json, sealed
from normkd_explore.files.regular import NotRegularError, require_regular
from normkd_explore.files.tensors import tensor_bytes
from normkd_explore.files.writing import WriteError, explained, remove_leftovers, replacing, write_json

FORMAT = 2  # 1 had no checksum of the header
KEEP = 2  # the newest and, should its disk block rot, the one before
_NAME = re.compile(r"epoch(\d+)-step(\d+)\.json")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used; the text names the file and what is wrong with it."""


class Header(TypedDict):
    """What is asked of a header before its checksum says that it is one of ours."""

    format: int


@dataclass(frozen=True)
class Checkpoint:
    """One training state: `epoch` epochs are complete, and `step` steps of the next one."""

    epoch: int
    step: int
    state: dict[str, Any]
    path: Path
    recipe: str = ""
    """Digest of the recipe that it belongs to."""


def save_checkpoint(folder: Path, epoch: int, step: int, state: dict[str, Any], recipe: str = "") -> Path:
    """Write `state` (nested dicts and lists of tensors and plain values) as the newest checkpoint of `folder`.

    Older checkpoints beyond the newest two are deleted, but only after the new one is complete. A full disk or a
    folder that may not be written is a CheckpointError, and leaves those before as they were.
    """
    path = folder / f"epoch{epoch:04d}-step{step:07d}.safetensors"
    try:
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        _write(path, epoch, step, state, recipe)
        with explained(folder):
            for old in list_checkpoints(folder)[:-KEEP]:
                remove_checkpoint(old)
    except WriteError as error:
        raise CheckpointError(f"checkpoint {error}") from error
    return path


def _write(path: Path, epoch: int, step: int, state: dict[str, Any], recipe: str) -> None:
    tensors: dict[str, Tensor] = {}
    tree = _detach_tensors(state, tensors, "")
    content = tensor_bytes(tensors)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    header = {"format": FORMAT, "recipe": recipe, "epoch": epoch, "step": step}
    header |= {"bytes": len(content), "sha256": digest, "state": tree}
    write_json(path.with_suffix(".json"), sealed(header))


def remove_checkpoint(header: Path) -> None:
    """Delete a checkpoint; its header goes first, since without it the rest is no longer a checkpoint."""
    for path in (header, header.with_suffix(".safetensors")):
        with explained(path):
            path.unlink(missing_ok=True)


def remove_incomplete(folder: Path) -> None:
    """Delete what a writer killed by force left: temporary files, and tensors without a header."""
    remove_leftovers(folder)
    for path in folder.glob("epoch*.safetensors"):
        if _NAME.fullmatch(path.with_suffix(".json").name) and not path.with_suffix(".json").exists():
            path.unlink(missing_ok=True)


def place(epoch: int, step: int, unit: str = "epoch") -> str:
    """A position in words."""
    if step:
        return f"in {unit} {epoch + 1} after step {step}"
    return f"after {unit} {epoch}" if epoch else "at the first step"


def position_of(header: Path) -> tuple[int, int]:
    """Epoch and step in the name of a checkpoint's header."""
    found = _NAME.fullmatch(header.name)
    if found is None:
        raise ValueError(f"checkpoint: found the file name {header.name}, wanted one such as epoch002-step00010.json.")
    return int(found[1]), int(found[2])


def list_checkpoints(folder: Path) -> list[Path]:
    """The headers (`*.json`) of all checkpoints in `folder`, oldest first."""
    found = [path for path in folder.glob("epoch*.json") if _NAME.fullmatch(path.name)]
    return sorted(found, key=position_of)


def latest_checkpoint(folder: Path, recipe: str | None = None) -> Checkpoint | None:
    """The newest usable checkpoint of `folder`, or None where none was ever written (see `load_checkpoint`).

    A damaged one is passed over with a warning that names it. If checkpoints exist and all are damaged, a
    CheckpointError says so: training must never start again from scratch without a word.
    """
    problems = []
    for header in reversed(list_checkpoints(folder)):
        try:
            return load_checkpoint(header, recipe)
        except CheckpointError as error:
            problems.append(str(error))
            warnings.warn(f"{error} Trying the checkpoint before it.", RuntimeWarning, stacklevel=2)
    if problems:
        raise CheckpointError(
            f"no usable checkpoint in {folder}: all {len(problems)} are damaged. {problems[0]} Delete the folder's "
            "checkpoints to train from the start, or restore them from a copy."
        )
    return None


def load_checkpoint(header_path: Path, recipe: str | None = None) -> Checkpoint:
    """Read one checkpoint, checking its format, size and hashes before any tensor is used.

    Where `recipe` is given, a checkpoint of a recipe with another digest is a CheckpointError too.
    """
    header = _read_header(header_path)
    if recipe is not None and header["recipe"] != recipe:
        raise CheckpointError(
            f"checkpoint {header_path} belongs to another run (recipe {header['recipe'] or 'unknown'}, wanted "
            f"{recipe}): it was copied here, or config.yaml was changed. Move it away, or bring its config.yaml back."
        )
    path = header_path.with_suffix(".safetensors")
    try:
        require_regular(path)
        payload = path.read_bytes()
    except NotRegularError as error:
        raise CheckpointError(f"checkpoint {error}.") from error
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror}.") from error
    if len(payload) != header["bytes"]:
        raise CheckpointError(
            f"checkpoint {path} is damaged: it has {len(payload):,} bytes and {header['bytes']:,} were written."
        )
    if hashlib.sha256(payload).hexdigest() != header["sha256"]:
        raise CheckpointError(f"checkpoint {path} is damaged: its SHA-256 is not the one that was written.")
    try:
        state = _attach_tensors(header["state"], load_tensors(payload))
    except (KeyError, ValueError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path} holds something else than a training state ({error!r}).") from error
    return Checkpoint(header["epoch"], header["step"], state, path, header["recipe"])


def _read_header(path: Path) -> dict[str, Any]:
    try:
        header = read_json(path, Header, "")
    except RecordError as error:
        raise CheckpointError(f"checkpoint header {str(error).strip()}") from error
    found, checksum = header["format"], header.pop(CHECKSUM, None)
    if found != FORMAT:
        raise CheckpointError(
            f"checkpoint {path} has format {found}; this version reads format {FORMAT}. Continue with the version of "
            "normkd_explore that wrote it (see environment.json of the run), or start a new run with --out."
        )
    if checksum != json_checksum(header):
        raise CheckpointError(f"checkpoint header {path} is damaged: its checksum is not the one that was written.")
    if (header["epoch"], header["step"]) != position_of(path):
        raise CheckpointError(
            f"checkpoint header {path} says epoch {header['epoch']}, step {header['step']}: the file was renamed. Give "
            "it its own name back."
        )
    return header


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
