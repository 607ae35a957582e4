"""The numbers of trainings that the article tells: read from normkd_explore/results, never typed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from normkd_explore.figures.race import method_strokes
from normkd_explore.results import FOLDER, MeasuredRun, load_measured

LESSON = "lesson_weights"
NAMES = {"ce": "cross-entropy alone", "kd": "KD", "normkd": "NormKD", "lskd": "LSKD"}
# The rows of the article's picture: (method, kd_weight) by the size of their steps.
GROUPS = {
    "no teacher": (("ce", 0),),
    "steps as large as KD's": (("kd", 0.9), ("lskd", 6.315), ("normkd", 0.1869)),
    "steps as large as NormKD's": (("kd", 4.33), ("lskd", 30.4), ("normkd", 0.9)),
}
PUBLISHED = {("kd", 0.9), ("normkd", 0.9)}
RACERS = {
    "ce": "CE",
    "kd": "KD",
    "kd:kd_weight=4.33": "KD × 4.8",
    "normkd": "NormKD",
    "normkd:kd_weight=0.1869": "NormKD ÷ 4.8",
}


@dataclass(frozen=True)
class Row:
    """One setting of one method."""

    method: str
    name: str
    settings: str
    values: tuple[float, ...]
    """Test top-1 after the last epoch (%), a run each, in the order of the seeds."""

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def std(self) -> float | None:
        return stdev(self.values) if self.n > 1 else None

    @property
    def text(self) -> str:
        """Mean ± standard deviation, and n."""
        spread = "" if self.std is None else f" ± {self.std:.1f}"
        return f"{self.mean:.1f}{spread} % (n = {self.n})"


def grouped(runs: list[MeasuredRun]) -> dict[tuple[str, str], tuple[float, ...]]:
    """Accuracies by (method, settings)."""
    table: dict[tuple[str, str], list[MeasuredRun]] = {}
    for run in runs:
        table.setdefault((run.method, run.settings), []).append(run)
    return {key: tuple(r.last for r in sorted(own, key=lambda r: r.seed)) for key, own in table.items()}


def lesson_rows() -> dict[str, list[Row]]:
    """The lesson's rows, by the size of their steps."""
    table = grouped(load_measured(LESSON))
    return {group: [_lesson_row(table, *key) for key in keys] for group, keys in GROUPS.items()}


def _lesson_row(table: dict[tuple[str, str], tuple[float, ...]], method: str, weight: float) -> Row:
    (key,) = (k for k in table if k[0] == method and k[1].endswith(f"KD x {weight:g}") and "weight=" not in k[1])
    words = "published weight" if (method, weight) in PUBLISHED else f"weight {weight:g}" if weight else ""
    return Row(method, NAMES[method], words, table[key])


def rows_by_step_size(groups: dict[str, list[Row]]) -> dict[tuple[str, str], Row]:
    """The same rows by (whose step size, method): "none", "kd" or "normkd" first."""
    named = zip(("none", "kd", "normkd"), groups.values(), strict=True)
    return {(whose, row.method): row for whose, rows in named for row in rows}


def lead(ahead: Row, behind: Row) -> dict[str, Any]:
    """The paired difference of two rows: mean, and in how many seeds it is above 0."""
    differences = [a - b for a, b in zip(ahead.values, behind.values, strict=True)]
    return {"mean": fmean(differences), "ahead": sum(d > 0 for d in differences), "n": len(differences)}


def header_of(path: Path) -> str:
    """The first line of a table."""
    with path.open(encoding="utf-8") as file:
        return file.readline()


def whole_trainings() -> list[tuple[str, list[Row]]]:
    """Every measured table of single students and more epochs than the lesson, as (preset and epochs, its rows)."""
    lesson_epochs, header = load_measured(LESSON)[0].epochs, header_of(FOLDER / f"measured_{LESSON}.csv")
    tables = []
    for path in sorted(FOLDER.glob("measured_*.csv")):
        if header_of(path) != header:  # federations have other columns
            continue
        runs = load_measured(path.stem.removeprefix("measured_"))
        if runs[0].epochs > lesson_epochs:
            rows = [Row(m, NAMES.get(m, m), s, values) for (m, s), values in grouped(runs).items()]
            tables.append((f"{runs[0].preset}, {runs[0].epochs} epochs", rows))
    return tables


def race_data() -> dict[str, Any]:
    """The recorded race with its strokes."""
    race = json.loads((FOLDER / "race_lesson.json").read_text(encoding="utf-8"))
    strokes = method_strokes([spec.partition(":")[0] for spec in ("ce", "kd", "normkd")])
    colours = {stroke["name"]: stroke["colour"] for stroke in strokes}
    racers = [
        {
            "key": spec,
            "name": RACERS[spec],
            "colour": colours[spec.partition(":")[0]],
            "dasharray": "7 4" if ":" in spec else "",
        }
        for spec in race["racers"]
    ]
    return {**race, "racers": racers}
