"""Finished runs, pooled over seeds and compared in pairs: as numbers, and as plain text."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from normkd_explore.analysis.sign_flip import EXACT_UP_TO, sign_flip_p
from normkd_explore.training.runs.results import StudentSummary, read_summary

Summary = dict[str, Any]


class Key(NamedTuple):
    """What runs must share to be pooled; `data` and `teacher` are digests, None where a run does not say."""

    preset: str
    budget: str
    data: str | None
    teacher: str | None
    method: str
    settings: str


DISTRUSTED = ("learned", "suspect")
Groups = dict[Key, dict[int, Summary]]


def collect(paths: Sequence[Path], shape: Any = StudentSummary) -> list[Summary]:
    """The summaries of all finished runs at or below `paths`, each of the type hint `shape`.

    A FileNotFoundError names a path that holds none, a RecordError a summary that is damaged or of another kind.
    """
    summaries = []
    for path in paths:
        found = sorted(path.rglob("summary.json")) if path.is_dir() else []
        if not found:
            raise FileNotFoundError(
                f"runs: {path} holds no finished run (no summary.json in it or below it). Name folders that do, or "
                "finish one with --resume."
            )
        summaries += [read_summary(file, shape) for file in found]
    return summaries


@dataclass(frozen=True)
class Pooled:
    """The finished runs of one method, equal in everything but the seed; shares are in [0, 1], one for each seed."""

    preset: str
    method: str
    """Its name, with what tells it from others of that name."""
    settings: str
    seeds: list[int]
    epochs: int
    test_top1: list[float]
    """Of the last epoch."""
    best_top1: list[float]
    """Of the best epoch, on the split it was chosen on."""
    chosen_on: str
    train_seconds: list[float]

    def row(self) -> tuple[str, ...]:
        """Cells under `ACCURACY`."""
        last, best = (mean_std([100 * top1 for top1 in values]) for values in (self.test_top1, self.best_top1))
        seconds = f"{statistics.mean(self.train_seconds):.0f}"
        return (self.preset, self.method, str(len(self.seeds)), str(self.epochs), last, best, self.chosen_on, seconds)


@dataclass(frozen=True)
class Difference:
    """A method's test top-1 after the last epoch minus that of `reference`, one for each seed that both have."""

    preset: str
    method: str
    reference: str
    seeds: list[int]
    differences: list[float]
    p: float | None
    """Of the sign-flip test; None where there is one pair."""

    def row(self) -> tuple[str, ...]:
        """Cells under `DIFFERENCES`."""
        points = [100 * difference for difference in self.differences]
        spread = f"{statistics.stdev(points):.2f}" if len(points) > 1 else "-"
        p = "-" if self.p is None else f"{self.p:.3f}"
        name = f"{self.method} - {self.reference}"
        return (self.preset, name, str(len(points)), f"{statistics.mean(points):+.2f}", spread, p)


ACCURACY = ("preset", "method", "n", "epochs", "test top-1 last epoch (%)", "best epoch (%)", "chosen on", "seconds")
DIFFERENCES = ("preset", "comparison", "n pairs", "mean difference (points)", "std")
PAIRED = "Paired by seed, test top-1 of the last epoch:"


@dataclass(frozen=True)
class Report:
    """Finished runs, pooled and compared; `str` gives two plain tables and the notes."""

    methods: list[Pooled]
    differences: list[Difference]
    notes: list[str]

    @property
    def difference_head(self) -> tuple[str, ...]:
        """`DIFFERENCES` and the test's name."""
        sampled = any(len(difference.seeds) > EXACT_UP_TO for difference in self.differences)
        return (*DIFFERENCES, f"p (sign-flip, sampled beyond {EXACT_UP_TO} pairs)" if sampled else "p (sign-flip)")

    def to_json(self) -> dict[str, Any]:
        """The same with the numbers as they are, mean and std beside the values."""
        methods = [asdict(pooled) for pooled in self.methods]
        for entry, pooled in zip(methods, self.methods, strict=True):
            entry["test_top1"], entry["best_top1"] = described(pooled.test_top1), described(pooled.best_top1)
        differences = [asdict(difference) for difference in self.differences]
        for entry, difference in zip(differences, self.differences, strict=True):
            entry["differences"] = described(difference.differences)
        return {"methods": methods, "differences": differences, "notes": self.notes}

    def __str__(self) -> str:
        text = table(ACCURACY, [pooled.row() for pooled in self.methods])
        if self.differences:
            rows = [difference.row() for difference in self.differences]
            text += f"\n\n{PAIRED}\n" + table(self.difference_head, rows)
        return "\n\n".join([text, *self.notes])


def described(values: list[float]) -> dict[str, Any]:
    """Values with n, mean and sample std (None for one value)."""
    std = statistics.stdev(values) if len(values) > 1 else None
    return {"n": len(values), "mean": statistics.mean(values), "std": std, "values": values}


def tabulate(summaries: Sequence[Summary]) -> Report:
    """Pool and compare finished runs.

    Runs are pooled only where everything but the seed is equal, and a seed that was run twice counts once; methods are
    compared only within one budget (epochs, batch, learning rate and so on), on the same images and under one teacher.
    Each method is compared with the first one that it may be compared with.
    """
    groups = _group(summaries)
    labels = _labels(groups)
    pooled = [_pooled(key, labels[key], group) for key, group in groups.items()]
    return Report(pooled, list(_differences(groups, labels)), _distrust(summaries))


def format_report(summaries: Sequence[Summary]) -> str:
    """Accuracy of each method (last epoch first) and its paired difference to the first, as plain text."""
    return str(tabulate(summaries))


def _distrust(summaries: Sequence[Summary]) -> list[str]:
    """Notes where validation images were no news to the teacher (see `normkd_explore.training.runs.leak`)."""
    reasons = {trust["why"] for run in summaries if (trust := run.get("validation")) and trust["verdict"] in DISTRUSTED}
    return [f"val is not to be trusted for choosing here: {reason}" for reason in sorted(reasons)]


def _group(summaries: Sequence[Summary]) -> Groups:
    """Runs by all that a `Key` holds; inside, by seed."""
    groups: Groups = defaultdict(dict)
    for summary in summaries:
        inputs = summary.get("inputs") or {}  # runs of versions that kept none are pooled and compared without
        own = (summary["budget"], inputs.get("data"), inputs.get("teacher"))
        key = Key(summary["preset"], *own, summary["method"], summary["settings"])
        groups[key].setdefault(summary["seed"], summary)
    return groups


def _labels(groups: Groups) -> dict[Key, str]:
    """The method's name, with its settings, teacher and data where the report holds the method with several."""
    return {key: _label(key, [other for other in groups if _same_name(key, other)]) for key in groups}


def _same_name(one: Key, other: Key) -> bool:
    return (one.preset, one.method) == (other.preset, other.method)


def _label(key: Key, namesakes: list[Key]) -> str:
    varied = {name for name in Key._fields if len({getattr(other, name) for other in namesakes}) > 1}
    details = [key.settings] if "settings" in varied else []
    details += [f"{name} {getattr(key, name) or 'unknown'}" for name in ("teacher", "data") if name in varied]
    return f"{key.method} ({', '.join(details)})" if details else key.method


def _pooled(key: Key, label: str, group: dict[int, Summary]) -> Pooled:
    runs = list(group.values())
    return Pooled(
        preset=key.preset,
        method=label,
        settings=key.settings,
        seeds=list(group),
        epochs=runs[0]["epochs"],
        test_top1=[run["test"]["top1"] for run in runs],
        best_top1=[run["best"]["top1"] for run in runs],
        chosen_on=", ".join(sorted({run["chosen_on"] for run in runs})),
        train_seconds=[run["train_seconds"] for run in runs],
    )


def _differences(groups: Groups, labels: dict[Key, str]) -> Iterator[Difference]:
    for key, group in groups.items():
        base = next(other for other in groups if _comparable(key, other))
        seeds = sorted(group.keys() & groups[base].keys()) if base != key else []
        pairs = [group[seed]["test"]["top1"] - groups[base][seed]["test"]["top1"] for seed in seeds]
        if pairs:
            # In points, as the table shows them: what rounding makes of a tie must not depend on the unit.
            p = sign_flip_p([100 * pair for pair in pairs]) if len(pairs) > 1 else None
            yield Difference(key.preset, labels[key], labels[base], seeds, pairs, p)


def _comparable(one: Key, other: Key) -> bool:
    """Whether runs of one seed are pairs; cross-entropy has no teacher and goes with any."""
    teachers, data = {one.teacher, other.teacher} - {None}, {one.data, other.data} - {None}
    return one[:2] == other[:2] and len(teachers) <= 1 and len(data) <= 1


def mean_std(values: Sequence[float]) -> str:
    """ "mean ± sample std", or the value alone where there is one."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
