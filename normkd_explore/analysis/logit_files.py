"""Logits from files that people have saved, without ever running code from a file.

    .npy                 an array (N, C)
    .npz, .safetensors   arrays by name: "logits" (N, C) and perhaps "labels" (N,)
    .pt, .pth            a tensor (N, C), or a dict of tensors with those names
    .csv                 one row a sample, one column a class; a first line of names and a first column of indices are
                         allowed, and a column called "label" holds the true class

Legend: N samples, C classes.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from normkd_explore.analysis.logit_csv import LABELS, read_csv
from normkd_explore.files.regular import InflatedError, require_modest, require_modest_zip, require_regular

SUFFIXES = (".npy", ".npz", ".safetensors", ".pt", ".pth", ".csv")
LOGITS = ("logits", "logits_t", "logits_teacher", "outputs")


class SavedLogits(NamedTuple):
    """What a file holds; values are as stored, NaN included."""

    logits_NC: Tensor
    """float64, or the file's own dtype where that was asked for."""
    labels_N: Tensor | None
    """int64 class positions, where the file has them."""


def load_logits(path: str | Path, labels: str | Path | None = None, *, as_stored: bool = False) -> SavedLogits:
    """Read logits (N, C), and labels (N,) from the same file or from a second one.

    A warning says what of a CSV file was not taken for logits, such as an index column.

    Args:
        path: a file of one of `SUFFIXES`, as this module's first lines describe.
        labels: a file with one whole number a sample, in any of the same formats.
        as_stored: keep the file's dtype; float64 takes twice the memory of a file in float32.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another format, a damaged file, one that would need to run code, or shapes that do not fit.
    """
    found = _read(Path(path))
    logits_NC = _pick(found, LOGITS, Path(path))
    if logits_NC.ndim != 2 or min(logits_NC.shape) < 1:
        raise ValueError(
            f"{path} holds an array of shape {tuple(logits_NC.shape)}, wanted (N, C): one row a sample, one column a "
            f"class.{' Labels belong in --labels or under the name labels.' if logits_NC.ndim == 1 else ''}"
        )
    labels_N: Tensor | None
    if labels is not None:
        labels_N = _pick(_read(Path(labels)), LABELS, Path(labels))
    else:
        labels_N = next((found[name] for name in LABELS if name in found), None)
    if labels_N is not None:
        labels_N = _class_positions(labels_N, len(logits_NC))
    return SavedLogits(logits_NC if as_stored else logits_NC.double(), labels_N)


def _read(path: Path) -> dict[str, Tensor]:
    """Arrays by name; "" is the name of a file's only array."""
    if not path.exists():
        inside = (
            sorted(p.name for p in path.parent.glob("*") if p.suffix in SUFFIXES)[:8] if path.parent.is_dir() else []
        )
        raise FileNotFoundError(f"no file {path}. Files of logits there: {', '.join(inside) or 'none'}.")
    require_regular(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} ends in {path.suffix!r}, wanted a file of logits: {', '.join(SUFFIXES)}.")
    if path.suffix == ".csv":
        return {name: torch.from_numpy(values) for name, values in read_csv(path).items()}
    readers: dict[str, Callable[[Path], Any]] = {".safetensors": load_file, ".npy": _numpy, ".npz": _numpy}
    found = _explained(readers.get(path.suffix, _torch), path)
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} holds a {type(found).__name__}, wanted a tensor, or a dict with logits and labels.")
    return {str(name): _tensor(value, path) for name, value in found.items()}


def _explained(reader: Callable[[Path], Any], path: Path) -> Any:
    """What the reader gives; whatever it raises becomes one error that names the file."""
    try:
        require_modest_zip(path)
        return reader(path)
    except InflatedError:
        raise
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: it holds more than tensors, and rebuilding other objects can run any program. Save "
            "the logits alone, torch.save(logits, FILE) or numpy.save(FILE, logits)."
        ) from error
    # A damaged file can fail with nearly any exception, a shape that claims too much with a MemoryError.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        if "allow_pickle" in reason:
            raise ValueError(
                f"{path} is no plain numeric array ({reason[:80]}); arrays of objects are pickles, which can run any "
                "program, and are refused. Save numpy.asarray(logits, dtype='float32')."
            ) from error
        raise ValueError(f"{path} is truncated or corrupt ({reason}). Save it again.") from error


def _numpy(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        # Only what is wanted is unpacked, if that is there.
        names = [name for name in loaded.files if name in (*LOGITS, *LABELS)]
        return {name: loaded[name] for name in (names if set(names) & set(LOGITS) else loaded.files)}


def _torch(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what torch remarks about unusual tensors, `_tensor` refuses
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(loaded, Mapping):
        return {name: value for name, value in loaded.items() if isinstance(value, Tensor)}
    return {"": loaded} if isinstance(loaded, Tensor) else loaded


def _tensor(value: Any, path: Path) -> Tensor:
    """A plain tensor of real numbers on the CPU."""
    if isinstance(value, Tensor):
        if value.layout is not torch.strided or value.is_quantized or value.is_meta or value.is_complex():
            kind = "quantized" if value.is_quantized else "meta" if value.is_meta else f"{value.layout} {value.dtype}"
            raise ValueError(f"{path} holds a tensor of kind {kind}, wanted plain real numbers (strided, on the CPU).")
        require_modest(value.numel() * value.element_size(), path)
        return value.detach()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise ValueError(f"{path} holds values of dtype {array.dtype}, wanted plain numbers.")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def _pick(found: Mapping[str, Tensor], names: tuple[str, ...], path: Path) -> Tensor:
    for name in ("", *names):
        if name in found:
            return found[name]
    if len(found) == 1:
        return next(iter(found.values()))
    listed = ", ".join(f"{name} {tuple(value.shape)}" for name, value in list(found.items())[:6]) or "nothing"
    raise ValueError(f"{path} holds {listed}, wanted an array called {names[0]!r} (or {', '.join(names[1:])}).")


def _class_positions(labels: Tensor, samples: int) -> Tensor:
    labels_N = labels.squeeze(1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels_N.shape != (samples,):
        raise ValueError(
            f"labels have shape {tuple(labels.shape)}, wanted ({samples},): one class a row of the logits."
        )
    if labels_N.is_floating_point() and not torch.equal(labels_N, labels_N.round()):
        raise ValueError("labels hold fractions or NaN, wanted whole numbers from 0 to C - 1.")
    return labels_N.long()
