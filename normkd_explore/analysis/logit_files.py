"""Logits from files that people have saved, without ever running code from a file.

    .npy                 an array (N, C)
    .npz, .safetensors   arrays by name: "logits" (N, C) and perhaps "labels" (N,)
    .pt, .pth            a tensor (N, C), or a dict of tensors with those names
    .csv                 one row a sample, one column a class; a first line of names is allowed, and a column called
                         "label" holds the true class

Legend: N samples, C classes.
"""

from __future__ import annotations

import csv
import pickle
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

SUFFIXES = (".npy", ".npz", ".safetensors", ".pt", ".pth", ".csv")
LOGITS = ("logits", "logits_t", "logits_teacher", "outputs")
LABELS = ("labels", "label", "targets", "target", "y")


class SavedLogits(NamedTuple):
    """What a file holds; values are as stored, NaN included."""

    logits_NC: Tensor
    """float64, or the file's own dtype where that was asked for."""
    labels_N: Tensor | None
    """int64 class positions, where the file has them."""


def load_logits(path: str | Path, labels: str | Path | None = None, *, as_stored: bool = False) -> SavedLogits:
    """Read logits (N, C), and labels (N,) from the same file or from a second one.

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
    if logits_NC.ndim != 2:
        raise ValueError(
            f"{path} holds an array of shape {tuple(logits_NC.shape)}, wanted (N, C): one row a sample, one column a "
            f"class.{' Labels belong in --labels or under the name labels.' if logits_NC.ndim == 1 else ''}"
        )
    if labels is not None:
        labels_N = _pick(_read(Path(labels)), LABELS, Path(labels))
    else:
        labels_N = next((found[name] for name in LABELS if name in found), None)
    if labels_N is not None:
        labels_N = _class_positions(labels_N, len(logits_NC))
    return SavedLogits(logits_NC if as_stored else logits_NC.double(), labels_N)


def _read(path: Path) -> dict[str, Tensor]:
    """Arrays by name; "" is the name of a file's only array."""
    if not path.is_file():
        inside = (
            sorted(p.name for p in path.parent.glob("*") if p.suffix in SUFFIXES)[:8] if path.parent.is_dir() else []
        )
        raise FileNotFoundError(f"no file {path}. Files of logits there: {', '.join(inside) or 'none'}.")
    readers = {".npy": _numpy, ".npz": _numpy, ".safetensors": load_file, ".csv": _csv, ".pt": _torch, ".pth": _torch}
    if path.suffix not in readers:
        raise ValueError(f"{path} ends in {path.suffix!r}, wanted a file of logits: {', '.join(SUFFIXES)}.")
    try:
        found = readers[path.suffix](path)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: it holds more than tensors, and rebuilding other objects can run any program. Save "
            "the logits alone, torch.save(logits, FILE) or numpy.save(FILE, logits)."
        ) from error
    except (OSError, EOFError, RuntimeError, SafetensorError) as error:
        raise ValueError(
            f"{path} is truncated or corrupt ({str(error).splitlines()[0][:120]}). Save it again."
        ) from error
    return {name: _tensor(value, path) for name, value in found.items()}


def _numpy(path: Path) -> Mapping[str, Any]:
    try:
        loaded = np.load(path, allow_pickle=False)
        return {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except ValueError as error:
        raise ValueError(
            f"{path} is no plain numeric array ({str(error).splitlines()[0][:80]}); arrays of objects are pickles, "
            "which can run any program, and are refused. Save numpy.asarray(logits, dtype='float32')."
        ) from error


def _torch(path: Path) -> Mapping[str, Any]:
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(loaded, Tensor):
        return {"": loaded}
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path} holds a {type(loaded).__name__}, wanted a tensor, or a dict with logits and labels.")
    return {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}


def _csv(path: Path) -> Mapping[str, Any]:
    table = _CsvTable()
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in filter(None, csv.reader(file)):
            table.add(row)
    if len(table.widths) != 1 or not table.rows:
        found = f"rows of {sorted(table.widths)} values" if table.rows else "no rows of numbers"
        raise ValueError(f"{path} has {found}, wanted the same number of comma-separated values in every row.")
    if table.bad:
        raise ValueError(f"{path} has {table.bad}, wanted numbers, separated by commas.")
    values = np.frombuffer(table.values, dtype=np.float64).reshape(table.rows, -1)
    label = next((i for i, name in enumerate(table.header) if name.strip().lower() in LABELS), None)
    if label is None:
        return {"": values if values.shape[1] > 1 else values[:, 0]}
    return {"logits": np.delete(values, label, axis=1), "labels": values[:, label]}


class _CsvTable:
    """A table that grows by a row at a time: eight bytes a value, where lists of their texts take many times that."""

    def __init__(self) -> None:
        self.header: list[str] = []
        self.values, self.rows = array("d"), 0
        self.widths: set[int] = set()
        self.bad = ""

    def add(self, row: list[str]) -> None:
        """Append a row of numbers; the first row may be one of names."""
        first = not self.widths
        self.widths.add(len(row))
        if first and not all(map(_is_number, row)):
            self.header = row
            return
        self.rows += 1
        try:
            self.values.extend(map(float, row))
        except ValueError:
            cell = next(cell for cell in row if not _is_number(cell))
            self.bad = self.bad or f"{cell!r} in data row {self.rows}"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _tensor(value: Any, path: Path) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
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
