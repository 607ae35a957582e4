"""Tables of logits as people write them to CSV files: with a line of names or without, with an index or without.

Legend: N samples, C classes.
"""

from __future__ import annotations

import csv
import warnings
from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LABELS = ("labels", "label", "targets", "target", "y")
INDEX = ("", "unnamed: 0", "index", "id", "sample", "file", "filename", "path")
"""Names of a first column that says which sample a row is; pandas leaves it without one."""


def read_csv(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read {"logits": (N, C), "labels": (N,)}, or {"": values} without labels.

    A first line of names is no sample, also where the names are the numbers of the classes. A first column called as in
    `INDEX`, or counting the rows, is no class. A warning says where that was decided by what the numbers are.

    Raises:
        ValueError: rows of several lengths, or something that is no number; the message names the file.
    """
    table = CsvTable()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in filter(None, csv.reader(file)):
                table.add(row)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error.reason}): save it as CSV in UTF-8.") from error
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV file ({error}): save numbers, separated by commas.") from error
    if len(table.widths) != 1 or not table.rows:
        found = f"rows of {sorted(table.widths)} values" if table.rows else "no rows of numbers"
        raise ValueError(f"{path} has {found}, wanted the same number of comma-separated values in every row.")
    if table.bad:
        raise ValueError(f"{path} has {table.bad}, wanted numbers, separated by commas.")
    return table.columns(path)


class CsvTable:
    """A table that grows by a row at a time: eight bytes a value, where lists of their texts take many times that."""

    def __init__(self) -> None:
        self.header: list[str] = []
        self.values, self.rows = array("d"), 0
        self.widths: set[int] = set()
        self.bad = ""
        self.indexed = False  # whether the first column is known to be an index, and was not kept
        self.fractions = False

    def add(self, row: list[str]) -> None:
        """Append a row of numbers; the first row may be one of names."""
        first = not self.widths
        self.widths.add(len(row))
        if first and not all(map(_is_number, row)):
            self.header = row
            self.indexed = len(row) > 1 and row[0].strip().lower() in INDEX
            return
        self.rows += 1
        cells = row[1:] if self.indexed else row
        try:
            self.values.extend(map(float, cells))
        except ValueError:
            cell = next(cell for cell in cells if not _is_number(cell))
            self.bad = self.bad or f"{cell!r} in data row {self.rows}"
        self.fractions |= self.rows > 1 and not all(cell.strip().lstrip("-").isdigit() for cell in cells)

    def columns(self, path: Path) -> dict[str, NDArray[np.float64]]:
        """The table by parts; what is left out is told in a warning."""
        values = np.frombuffer(self.values, dtype=np.float64).reshape(self.rows, -1)
        names = self.header[self.indexed :]
        if not self.header and _counts(values[0], 3 - self.fractions) and self.rows > 1:
            _tell(f"{path}: the first line numbers the classes, so it is no sample")
            values = values[1:]
        if self.indexed:
            _tell(f"{path}: the first column ({self.header[0] or 'without a name'}) is an index, so it is no class")
        elif not names and values.shape[1] > 2 and _counts(values[:, 0], 3) and self.fractions:
            _tell(f"{path}: the first column counts the rows, so it is no class")
            values = values[:, 1:]
        label = next((i for i, name in enumerate(names) if name.strip().lower() in LABELS), None)
        if label is None:
            return {"": values if values.shape[1] > 1 else values[:, 0]}
        return {"logits": np.delete(values, label, axis=1), "labels": values[:, label]}


def _tell(text: str) -> None:
    warnings.warn(text, stacklevel=6)


def _counts(numbers: NDArray[np.float64], least: int) -> bool:
    """Whether these are 0, 1, 2, ... or 1, 2, 3, ..., and at least so many that no logits would be that by chance."""
    return len(numbers) >= least and any(np.array_equal(numbers, start + np.arange(len(numbers))) for start in (0, 1))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
