"""Finished federations as a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from normkd_explore.federated.folder import KIND
from normkd_explore.training.runs.report import mean_std, table

Summary = dict[str, Any]
NAMES = ("preset", "budget", "method", "settings", "aggregate", "attack", "strength", "malicious", "clients", "rounds")
HEAD = ("preset", "method", "rule", "attack", "liars", "rounds", "n", "victims, test top-1 (%)", "below the clean run")


def split_off(summaries: Sequence[Summary]) -> tuple[list[Summary], list[Summary]]:
    """Summaries of single students, and those of federations."""
    students = [summary for summary in summaries if summary.get("kind") != KIND]
    return students, [summary for summary in summaries if summary.get("kind") == KIND]


def format_federations(summaries: Sequence[Summary]) -> str:
    """One line for all seeds of a federation: mean and sample std; every seed counts once."""
    groups: dict[tuple[Any, ...], dict[int, Summary]] = defaultdict(dict)
    for summary in summaries:
        inputs = summary["inputs"]["data"]
        groups[(*(summary[name] for name in NAMES), inputs)].setdefault(summary["seed"], summary)
    return table(HEAD, [_row(list(group.values())) for group in groups.values()])


def _row(group: list[Summary]) -> tuple[str, ...]:
    first = group[0]
    strength = "" if first["strength"] is None else f" {first['strength']:g}"
    drops = [100 * own["drop"]["victims"] for own in group if own["drop"]]
    return (
        first["preset"],
        first["method"],
        first["aggregate"],
        first["attack"] + strength,
        f"{first['malicious']} of {first['clients']}",
        str(first["rounds"]),
        str(len(group)),
        mean_std([100 * own["test"]["victims"] for own in group]),
        mean_std(drops) if drops else "-",
    )
