"""Tables of finished runs and of presets, as plain text."""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from normkd_explore.methods import METHODS, get_method
from normkd_explore.training.presets import get_preset, list_presets
from normkd_explore.training.run_folder import RunFolder

Summary = dict[str, Any]
Key = tuple[str, str, str, str]  # preset, budget, method, settings
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
    compared only within one budget (data, epochs, batch, learning rate and so on).
    """
    groups = _group(summaries)
    labels = _labels(groups)
    rows = [_accuracy_row(key, labels[key], group) for key, group in groups.items()]
    head = ("preset", "method", "n", "epochs", "test top-1 last epoch (%)", "best epoch (%)", "chosen on", "seconds")
    text = table(head, rows)
    differences = _difference_rows(groups, labels)
    if differences:
        head = ("preset", "comparison", "n pairs", "mean difference (points)", "std", "p (sign-flip)")
        text += "\n\nPaired by seed, test top-1 of the last epoch:\n" + table(head, differences)
    return text


def _group(summaries: Sequence[Summary]) -> Groups:
    """Runs by preset, budget, method and settings; inside, by seed."""
    groups: Groups = defaultdict(dict)
    for summary in summaries:
        key = (summary["preset"], summary["budget"], summary["method"], summary["settings"])
        groups[key].setdefault(summary["seed"], summary)
    return groups


def _labels(groups: Groups) -> dict[Key, str]:
    """The method's name, with its settings where the report holds the method with several."""
    settings = defaultdict(set)
    for preset, _, method, values in groups:
        settings[preset, method].add(values)
    return {key: f"{key[2]} ({key[3]})" if len(settings[key[0], key[2]]) > 1 else key[2] for key in groups}


def _accuracy_row(key: Key, label: str, group: dict[int, Summary]) -> tuple[str, ...]:
    runs = list(group.values())
    last = mean_std([100 * run["test"]["top1"] for run in runs])
    best = mean_std([100 * run["best"]["top1"] for run in runs])
    seconds = statistics.mean(run["train_seconds"] for run in runs)
    chosen = ", ".join(sorted({run["chosen_on"] for run in runs}))
    return (key[0], label, str(len(runs)), str(runs[0]["epochs"]), last, best, chosen, f"{seconds:.0f}")


def _difference_rows(groups: Groups, labels: dict[Key, str]) -> list[tuple[str, ...]]:
    rows = []
    first: dict[tuple[str, str], Key] = {}
    for key, group in groups.items():
        base = first.setdefault(key[:2], key)
        seeds = sorted(group.keys() & groups[base].keys()) if base != key else []
        pairs = [100 * (group[seed]["test"]["top1"] - groups[base][seed]["test"]["top1"]) for seed in seeds]
        if pairs:
            spread = f"{statistics.stdev(pairs):.2f}" if len(pairs) > 1 else "-"
            p = f"{sign_flip_p(pairs):.3f}" if len(pairs) > 1 else "-"
            mean = f"{statistics.mean(pairs):+.2f}"
            rows.append((key[0], f"{labels[key]} - {labels[base]}", str(len(pairs)), mean, spread, p))
    return rows


def mean_std(values: Sequence[float]) -> str:
    """ "mean ± sample std", or the value alone where there is one."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p-value of "the mean difference is zero" from all 2^n sign flips of the paired differences.

    Exact and free of distribution assumptions other than symmetry; the smallest possible value is 2 / 2^n, so three
    pairs can never give less than 0.25. Up to 16 pairs are enumerated; the 16 first are used beyond that.
    """
    values = list(differences)[:16]
    observed = abs(sum(values)) - 1e-12
    sums = (
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(values))
    )
    return sum(total >= observed for total in sums) / 2 ** len(values)


def format_presets(method: str) -> str:
    """The presets with the settings of `method`, each with its source."""
    get_method(method)
    rows = []
    for name in list_presets():
        recipe = get_preset(name, method)
        s = recipe.settings
        values = " ".join(f"{key}={value:g}" for key, value in s.loss.items()) or "-"
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
