"""Results as committed tables: what was measured with this package, and what others published.

    measured_NAME.csv    one finished run a line, with its command and hardware; written by scripts/collect_results.py
    history_NAME.csv     accuracy after every epoch of such runs
    published.csv        other authors' values, each with its source and how it was read
    ablation.csv         one published ablation in which pairs of columns are the same loss

Accuracies are top-1 in percent. Values that nobody could read at their source are in none of these files.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

FOLDER = Path(str(files("normkd_explore") / "results"))


@dataclass(frozen=True)
class MeasuredRun:
    """One finished training of one student."""

    preset: str
    """DATASET/TEACHER-STUDENT."""
    budget: str
    """Digest of everything that must be equal for a fair comparison; see `Recipe.budget`."""
    method: str
    """Name in `normkd_explore.methods.METHODS`."""
    settings: str
    """The loss's arguments and the weights of cross-entropy (CE) and distillation (KD)."""
    seed: int
    """Runs of one seed and budget start from the same weights and see the same batches: they are pairs."""
    last: float
    """Test top-1 after the last epoch: the number to report."""
    best: float
    """Top-1 of the best epoch on the split that `chosen_on` names."""
    chosen_on: str
    """"val", or "test" where the run looked at the test split after every epoch."""
    n_test: int
    """Test images."""
    epochs: int
    """Epochs trained."""
    command: str
    """What was run."""
    hardware: str
    """Processor or GPU, and threads."""
    torch: str
    """PyTorch's version."""


@dataclass(frozen=True)
class EpochRecord:
    """Accuracy after one epoch of one run."""

    preset: str
    method: str
    seed: int
    epoch: int
    """Counted from 1."""
    lr: float
    """Learning rate of the epoch's last step."""
    split: str
    """Where the accuracy was measured: "val" or "test"."""
    top1: float


@dataclass(frozen=True)
class PublishedResult:
    """One value from somebody else's table."""

    dataset: str
    teacher: str
    student: str
    method: str
    """The name in the source."""
    top1: float
    std: float | None
    """Standard deviation over the source's runs; None where it states none."""
    top5: float | None
    n: str
    """Runs averaged, or "not stated"."""
    epoch: str
    """Which epoch was reported: "best on the test set", or "not stated"."""
    source: str
    mark: str
    """How we read the value: "README", or "paper text" (the paper's tables in a text extraction)."""


@dataclass(frozen=True)
class AblationRow:
    """Top-1 of KD with four transforms of the logits before the division by T, at one weight of the KD term."""

    kd_weight: float
    raw: float
    minus_mean: float
    over_std: float
    z_score: float
    source: str
    mark: str


Row = TypeVar("Row")


def load_measured(name: str, folder: Path = FOLDER) -> list[MeasuredRun]:
    """The runs of measured_NAME.csv; a FileNotFoundError names what there is."""
    return read_rows(folder / f"measured_{name}.csv", MeasuredRun)


def load_history(name: str, folder: Path = FOLDER) -> list[EpochRecord]:
    """The epochs of history_NAME.csv; a FileNotFoundError names what there is."""
    return read_rows(folder / f"history_{name}.csv", EpochRecord)


def load_published(
    dataset: str | None = None, teacher: str | None = None, student: str | None = None
) -> list[PublishedResult]:
    """Published results, all or those of one data set, teacher or student; a ValueError names the known values."""
    rows = read_rows(FOLDER / "published.csv", PublishedResult)
    for field, wanted in {"dataset": dataset, "teacher": teacher, "student": student}.items():
        known = sorted({getattr(row, field) for row in rows})
        if wanted is not None and wanted not in known:
            raise ValueError(f"{field}: found {wanted!r}, wanted one of {', '.join(known)}.")
        rows = [row for row in rows if wanted in (None, getattr(row, field))]
    return rows


def load_ablation() -> list[AblationRow]:
    """The published ablation of LSKD's transform, by weight of the KD term."""
    return read_rows(FOLDER / "ablation.csv", AblationRow)


def by_method(runs: Iterable[MeasuredRun]) -> dict[str, dict[int, float]]:
    """Last-epoch test top-1 (%) by method and seed.

    Raises:
        ValueError: the runs differ in preset or budget, a method has two settings, or a seed is there twice: means and
            differences of such runs would compare what cannot be compared.
    """
    runs = list(runs)
    for field, why in {
        "preset": "other data or models",
        "budget": "other epochs, data, batch or learning rate",
    }.items():
        found = sorted({getattr(run, field) for run in runs})
        if len(found) > 1:
            raise ValueError(
                f"runs: found {len(found)} values of {field} ({', '.join(found)}), wanted one: {why} cannot be pooled. "
                f"Select one first, e.g. [run for run in runs if run.{field} == {found[0]!r}]."
            )
    table: dict[str, dict[int, float]] = {}
    settings: dict[str, str] = {}
    for run in runs:
        if settings.setdefault(run.method, run.settings) != run.settings:
            raise ValueError(f"runs: {run.method} has the settings {settings[run.method]!r} and {run.settings!r}.")
        if run.seed in table.setdefault(run.method, {}):
            raise ValueError(f"runs: {run.method} has seed {run.seed} twice, wanted every run once.")
        table[run.method][run.seed] = run.last
    return table


def by_setting(runs: Iterable[MeasuredRun]) -> dict[tuple[str, str], dict[int, float]]:
    """As `by_method`, for tables in which a method has several settings: by (method, settings) and seed."""
    runs = list(runs)
    keys = dict.fromkeys((run.method, run.settings) for run in runs)
    return {key: by_method(run for run in runs if (run.method, run.settings) == key)[key[0]] for key in keys}


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Read a CSV whose header is `kind`'s fields; a ValueError names the column or the line that does not fit."""
    if not path.exists():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.csv"))) or "none"
        raise FileNotFoundError(f"results: found no {path.name}; the tables there are: {there}.")
    wanted = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != wanted:
            raise ValueError(f"{path.name}: found the columns {reader.fieldnames}, wanted {wanted}.")
        return [_row(record, kind, path.name, line) for line, record in enumerate(reader, start=2)]


def write_rows(path: Path, rows: Iterable[Any]) -> None:
    """Write dataclass rows as a CSV that `read_rows` gives back."""
    rows = list(rows)
    names = [field.name for field in fields(rows[0])]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([getattr(row, name) for name in names] for row in rows)


def _row(record: dict[str, Any], kind: type[Row], file: str, line: int) -> Row:
    values = {}
    for name, hint in get_type_hints(kind).items():
        try:
            values[name] = _convert(record[name], hint)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{file}, line {line}: {name} is {record[name]!r}, wanted {hint}.") from error
    return kind(**values)


def _convert(text: str | None, hint: Any) -> Any:
    if text is None:
        raise TypeError("the line is too short")
    if hint == float | None:
        return float(text) if text else None
    return hint(text)
