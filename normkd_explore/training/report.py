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
    """Two tables: accuracy of each method (last epoch first), and its paired difference to the first method."""
    groups = _group(summaries)
    rows = [_accuracy_row(key, group) for key, group in groups.items()]
    head = ("preset", "method", "n", "test top-1 last epoch (%)", "best epoch (%)", "chosen on", "seconds")
    text = table(head, rows)
    differences = _difference_rows(groups)
    if differences:
        head = ("preset", "comparison", "n pairs", "mean difference (points)", "std", "p (sign-flip)")
        text += "\n\nPaired by seed, test top-1 of the last epoch:\n" + table(head, differences)
    return text


def _group(summaries: Sequence[Summary]) -> dict[tuple[str, str], list[Summary]]:
    groups: dict[tuple[str, str], list[Summary]] = defaultdict(list)
    for summary in summaries:
        groups[summary["preset"], summary["method"]].append(summary)
    return groups


def _accuracy_row(key: tuple[str, str], group: list[Summary]) -> tuple[str, ...]:
    last = mean_std([100 * summary["test"]["top1"] for summary in group])
    best = mean_std([100 * summary["best"]["top1"] for summary in group])
    seconds = statistics.mean(summary["train_seconds"] for summary in group)
    chosen = ", ".join(sorted({summary["chosen_on"] for summary in group}))
    return (*key, str(len(group)), last, best, chosen, f"{seconds:.0f}")


def _difference_rows(groups: dict[tuple[str, str], list[Summary]]) -> list[tuple[str, ...]]:
    rows = []
    first: dict[str, str] = {}
    for preset, method in groups:
        base = first.setdefault(preset, method)
        if base == method:
            continue
        a, b = ({s["seed"]: 100 * s["test"]["top1"] for s in groups[preset, name]} for name in (base, method))
        pairs = [b[seed] - a[seed] for seed in sorted(a.keys() & b.keys())]
        if pairs:
            spread = f"{statistics.stdev(pairs):.2f}" if len(pairs) > 1 else "-"
            p = f"{sign_flip_p(pairs):.3f}" if len(pairs) > 1 else "-"
            mean = f"{statistics.mean(pairs):+.2f}"
            rows.append((preset, f"{method} - {base}", str(len(pairs)), mean, spread, p))
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
