"""Tables of finished runs and of presets, as plain text."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from normkd_explore.analysis.sign_flip import EXACT_UP_TO, sign_flip_p
from normkd_explore.methods import METHODS, get_method
from normkd_explore.methods.options import format_argument
from normkd_explore.training.recipes.presets import get_preset, list_presets
from normkd_explore.training.runs.folder import RunFolder

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


def collect(paths: Sequence[Path]) -> list[Summary]:
    """The summaries of all finished runs at or below `paths`; a FileNotFoundError names a path that holds none."""
    summaries = []
    for path in paths:
        found = sorted(path.rglob("summary.json")) if path.is_dir() else []
        if not found:
            raise FileNotFoundError(f"runs: {path} holds no finished run (no summary.json in it or below it).")
        summaries += [RunFolder(file.parent).summary() for file in found]
    return summaries


def format_report(summaries: Sequence[Summary]) -> str:
    """Two tables: accuracy of each method (last epoch first), and its paired difference to the first method.

    Runs are pooled only where everything but the seed is equal, and a seed that was run twice counts once; methods are
    compared only within one budget (epochs, batch, learning rate and so on), on the same images and under one teacher.
    """
    groups = _group(summaries)
    labels = _labels(groups)
    rows = [_accuracy_row(key, labels[key], group) for key, group in groups.items()]
    measured = ("test top-1 last epoch (%)", "best epoch (%)", "chosen on", "seconds")
    text = table(("preset", "method", "n", "epochs", *measured), rows)
    differences = _difference_rows(groups, labels)
    if differences:
        sampled = any(int(row[2]) > EXACT_UP_TO for row in differences)
        test = f"p (sign-flip, sampled beyond {EXACT_UP_TO} pairs)" if sampled else "p (sign-flip)"
        head = ("preset", "comparison", "n pairs", "mean difference (points)", "std", test)
        text += "\n\nPaired by seed, test top-1 of the last epoch:\n" + table(head, differences)
    return text + _distrust(summaries)


def _distrust(summaries: Sequence[Summary]) -> str:
    """A note where validation images were no news to the teacher (see `normkd_explore.training.runs.leak`)."""
    reasons = {trust["why"] for run in summaries if (trust := run.get("validation")) and trust["verdict"] in DISTRUSTED}
    return "".join(f"\n\nval is not to be trusted for choosing here: {reason}" for reason in sorted(reasons))


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


def _accuracy_row(key: Key, label: str, group: dict[int, Summary]) -> tuple[str, ...]:
    runs = list(group.values())
    last = mean_std([100 * run["test"]["top1"] for run in runs])
    best = mean_std([100 * run["best"]["top1"] for run in runs])
    seconds = statistics.mean(run["train_seconds"] for run in runs)
    chosen = ", ".join(sorted({run["chosen_on"] for run in runs}))
    return (key.preset, label, str(len(runs)), str(runs[0]["epochs"]), last, best, chosen, f"{seconds:.0f}")


def _difference_rows(groups: Groups, labels: dict[Key, str]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for key, group in groups.items():
        base = next(other for other in groups if _comparable(key, other))
        seeds = sorted(group.keys() & groups[base].keys()) if base != key else []
        pairs = [100 * (group[seed]["test"]["top1"] - groups[base][seed]["test"]["top1"]) for seed in seeds]
        if pairs:
            spread = f"{statistics.stdev(pairs):.2f}" if len(pairs) > 1 else "-"
            p = f"{sign_flip_p(pairs):.3f}" if len(pairs) > 1 else "-"
            mean = f"{statistics.mean(pairs):+.2f}"
            rows.append((key.preset, f"{labels[key]} - {labels[base]}", str(len(pairs)), mean, spread, p))
    return rows


def _comparable(one: Key, other: Key) -> bool:
    """Whether runs of one seed are pairs; cross-entropy has no teacher and goes with any."""
    teachers, data = {one.teacher, other.teacher} - {None}, {one.data, other.data} - {None}
    return one[:2] == other[:2] and len(teachers) <= 1 and len(data) <= 1


def mean_std(values: Sequence[float]) -> str:
    """ "mean ± sample std", or the value alone where there is one."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def format_presets(method: str) -> str:
    """The presets with the settings of `method`, each with its source."""
    get_method(method)
    rows = []
    for name in list_presets():
        recipe = get_preset(name, method)
        s = recipe.settings
        values = " ".join(f"{key}={format_argument(value)}" for key, value in s.loss.items()) or "-"
        warmup = str(s.warmup_epochs) if s.warmup_epochs else "-"
        solver = f"{recipe.epochs} ep, batch {recipe.batch_size}, lr {recipe.lr:g}"
        mark = "yes" if s.published else "no"
        rows.append((name, values, f"{s.ce_weight:g}", f"{s.kd_weight:g}", warmup, solver, mark, s.source))
    head = ("preset", method, "CE x", "KD x", "warm-up", "solver", "published", "source")
    note = "folder/TEACHER-STUDENT --data-root DIR takes any two models and your own images."
    return f"{table(head, rows)}\n\n{note}\nMethods: {', '.join(METHODS)}."


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
