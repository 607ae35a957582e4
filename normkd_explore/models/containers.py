"""Reading tensors out of the weight files that people have, without ever running code from a file.

Understood: safetensors; torch.save files of a plain state dict or of a dict that holds one under model,
state_dict, net or model_state_dict; the files of RepDistiller and mdistiller, including whole distillers with
student and teacher; those of Lightning, of torch's AveragedModel, and of timm with moving averages. A pickle is a
program. torch.load(weights_only=True) executes only what builds tensors and plain containers; nothing here falls
back to more.
"""

import argparse
import pickle
import re
import tarfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from normkd_explore.files.regular import (
    InflatedError,
    NotRegularError,
    require_modest,
    require_modest_zip,
    require_regular,
)
from normkd_explore.files.tensors import ChecksumError, read_tensors

from .averages import AVERAGES, Average
from .errors import CheckpointError

Part = Literal["student", "teacher"]

WRAPPERS = ("model", "state_dict", "net", "model_state_dict")
PREFIXES = ("module.", "_forward_module.", "model.", "net.", "network.")
BESIDE = re.compile(r"n_averaged|(criterion|loss|loss_fn|loss_func|loss_function|\w*metrics?|\w*acc(uracy)?)\..+")
"""Tensors that frameworks save beside a network's: a counter of AveragedModel, weights of a loss, metrics."""
# RepDistiller stores its command line in an argparse.Namespace. Rebuilding one sets attributes on a class
# without hooks, hence runs no code; it is thrown away unread.
PLAIN_CLASSES: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [argparse.Namespace]
# First bytes of what people pass by mistake.
NO_WEIGHTS = {
    b"<": "a web page: the download gave HTML instead of the file. Open the address in a browser, save again",
    b"version https://git-lfs": "a Git LFS pointer, not the weights: run `git lfs pull` where it came from",
    b"\x1f\x8b": "a gzip archive: unpack it first (tar -xzf FILE, or gunzip FILE)",
}


def read_state_dict(path: str | Path, part: Part = "student", ema: bool | None = None) -> dict[str, Tensor]:
    """Names and tensors of one network in a file, on the CPU, with the prefixes of wrappers taken off.

    Args:
        path: safetensors or torch.save file.
        part: which network to take from a file of a whole distiller; without meaning for a file of one
            network.
        ema: whether to take the moving average of the weights. None takes the weights themselves where a file has both,
            the average where it has no other, and a warning says so.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        CheckpointError: empty, truncated or corrupt file, a file that needs other classes than tensors and
            plain containers, no tensors inside, or none of the kind that `ema` asks for.
    """
    if part not in ("student", "teacher"):
        raise ValueError(f"part must be 'student' or 'teacher', not {part!r}")
    path = Path(path)
    head = _head_of_existing(path)
    # A safetensors file is an eight-byte length and then JSON.
    stored = _load_safetensors(path) if head[8:9] == b"{" else _load_pickled(path, head)
    choice = Average(ema, path)
    tensors = _without_prefixes(_plain_tensors(_unwrap(stored, part, choice, path), path))
    tensors = _without_prefixes(_one_network(_without_prefixes(choice.among(tensors)), part, path))
    choice.settle()
    return tensors


def _head_of_existing(path: Path) -> bytes:
    if path.is_dir():
        inside = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
        raise IsADirectoryError(f"{path} is a folder, wanted a weight file. It contains: {inside}")
    if not path.exists():
        raise FileNotFoundError(_not_found(path))
    try:
        require_regular(path)
        require_modest_zip(path)
    except (NotRegularError, InflatedError) as error:
        raise CheckpointError(str(error)) from error
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise CheckpointError(f"{path} is empty (0 bytes): an interrupted copy or download. Fetch it again.")
    for start, meaning in NO_WEIGHTS.items():
        if head.startswith(start):
            raise CheckpointError(f"{path} is {meaning}.")
    if path.suffix == ".safetensors" and head[8:9] != b"{":
        raise CheckpointError(
            f"{path} has no safetensors header: it is corrupt, or a torch.save file (.pth) under a wrong name. "
            "Fetch or write it again, or give it its true suffix."
        )
    return head


def _not_found(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"no weight file {path}: the folder {folder} does not exist either. Check the path."
    others = ", ".join(sorted(entry.name for entry in folder.iterdir() if entry.is_file())[:8]) or "no files"
    return f"no weight file {path}. In that folder: {others}."


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return read_tensors(path)[0]
    except ChecksumError as error:
        raise CheckpointError(
            f"{path} is damaged: {error}. Take it from a copy; --resume of its run writes it again."
        ) from error
    except Exception as error:
        raise CheckpointError(
            f"{path} is a truncated or corrupt safetensors file ({error}). Fetch it or write it again."
        ) from error


def _load_pickled(path: Path, head: bytes) -> Any:
    if not head.startswith(b"PK") and tarfile.is_tarfile(path):
        raise CheckpointError(_archive(path))
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(PLAIN_CLASSES):
            # What torch remarks about unusual pickles and sparse tensors is decided here, by result or refusal.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    # A damaged pickle can fail with nearly any exception.
    except Exception as error:
        refused = _refused_global(error)
        raise CheckpointError(_would_run_code(path, refused) if refused else _corrupt(path, error)) from error


def _archive(path: Path) -> str:
    try:
        with tarfile.open(path) as archive:
            names = ", ".join(member.name for member in archive if member.isfile())[:400]
    except tarfile.TarError as error:
        return f"{path} is a damaged tar archive ({error}). Fetch it again."
    return f"{path} is a tar archive: unpack it (tar -xf {path.name}) and pass one of its files: {names}"


def _refused_global(error: Exception) -> str | None:
    """Class or function that the restricted unpickler would not touch; None for any other failure."""
    if not isinstance(error, pickle.UnpicklingError):
        return None
    found = re.search(
        r"GLOBAL (\S+)|unrecognized function (.+?)(?: which|\n|$)|for (?:allowlisted )?class (\S+)",
        str(error),
    )
    return next((name for name in found.groups() if name), None) if found else None


def _would_run_code(path: Path, refused: str) -> str:
    return (
        f"{path} is refused: rebuilding it needs {refused}, which is neither a tensor nor a plain container, "
        "and a pickle with such names can run any program. Nothing of it was executed. If you trust where the "
        "file comes from, convert it once on a machine without secrets: "
        "torch.save(torch.load(FILE, map_location='cpu', weights_only=False)['model'], NEW_FILE) - without "
        "['model'] for a plain state dict, with .state_dict() for a whole pickled network - and pass NEW_FILE."
    )


def _corrupt(path: Path, error: Exception) -> str:
    reason = _reason(error)
    size = path.stat().st_size
    return (
        f"{path} ({size:,} bytes) is no readable weight file: truncated, corrupt or of another format "
        f"({reason}). Compare its size with the source and fetch it again; wanted is a torch.save or safetensors file."
    )


def _reason(error: Exception) -> str:
    """First informative line: the restricted unpickler puts a long recommendation to unpickle anyway before it."""
    text = str(error).partition("WeightsUnpickler error:")[2].strip() or str(error)
    return text.splitlines()[0][:200] if text else type(error).__name__


def _unwrap(stored: Any, part: Part, choice: Average, path: Path) -> Mapping[str, Any]:
    """Follows model/state_dict/net/student/teacher keys, or those of an average, down to the dict of tensors."""
    while isinstance(stored, Mapping):
        inside = [key for key, value in stored.items() if isinstance(value, Mapping)]
        raw, average = (next((key for key in keys if key in inside), None) for keys in ((*WRAPPERS, part), AVERAGES))
        inner = choice.choose(raw, average)
        if inner is None:
            return stored
        stored = stored[inner]
    raise CheckpointError(f"{path} holds a {type(stored).__name__}, wanted a dict of named tensors (a state dict).")


def _plain_tensors(stored: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    others = {
        key: type(value).__name__
        for key, value in stored.items()
        if not (isinstance(key, str) and isinstance(value, Tensor) and _is_plain(value))
    }
    if others or not stored:
        listed = ", ".join(f"{key!r} ({kind})" for key, kind in list(others.items())[:8]) or "nothing at all"
        raise CheckpointError(
            f"{path} holds no state dict under {', '.join(WRAPPERS)} or at the top; besides tensors there is: "
            f"{listed}. Save model.state_dict() and pass that file."
        )
    try:
        require_modest(sum(value.numel() * value.element_size() for value in stored.values()), path)
    except InflatedError as error:
        raise CheckpointError(str(error)) from error
    return {key: value.detach() for key, value in stored.items()}


def _is_plain(value: Tensor) -> bool:
    """Whether these are real numbers in memory that `load_state_dict` would take as they are."""
    return value.layout is torch.strided and not (value.is_meta or value.is_quantized or value.is_complex())


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Takes off what torch.compile, data parallelism and training frameworks put before every name."""
    tensors = {key.replace("_orig_mod.", ""): value for key, value in tensors.items()}
    while True:
        network = {key: value for key, value in tensors.items() if not BESIDE.fullmatch(key)} or tensors
        prefix = next((start for start in PREFIXES if all(key.startswith(start) for key in network)), None)
        if prefix is None:
            return network
        tensors = {key.removeprefix(prefix): value for key, value in network.items()}


def _one_network(tensors: dict[str, Tensor], part: Part, path: Path) -> dict[str, Tensor]:
    """The tensors of student or teacher of a whole distiller; all tensors of any other file."""
    found = [name for name in ("student", "teacher") if any(key.startswith(f"{name}.") for key in tensors)]
    if not found:
        return tensors
    if part not in found:
        raise CheckpointError(f"{path} is a distiller's file with a {found[0]} only, wanted part={part!r}.")
    return {key.removeprefix(f"{part}."): value for key, value in tensors.items() if key.startswith(f"{part}.")}
