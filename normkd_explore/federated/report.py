"""Finished federations, pooled over seeds: as numbers, and as the cells of a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from normkd_explore.federated.folder import KIND
from normkd_explore.training.runs.report import described, mean_std

Summary = dict[str, Any]
NAMES = ("preset", "budget", "method", "settings", "aggregate", "attack", "strength", "malicious", "clients", "rounds")
HEAD = ("preset", "method", "rule", "attack", "liars", "rounds", "n", "victims, test top-1 (%)", "below the clean run")


def split_off(summaries: Sequence[Summary]) -> tuple[list[Summary], list[Summary]]:
    """Summaries of single students, and those of federations."""
    students = [summary for summary in summaries if summary.get("kind") != KIND]
    return students, [summary for summary in summaries if summary.get("kind") == KIND]


@dataclass(frozen=True)
class PooledFederation:
    """All seeds of one federation; every seed counts once."""

    runs: list[Summary]

    @property
    def victims(self) -> list[float]:
        """Test top-1 of the honest clients after the last round, in [0, 1]."""
        return [run["test"]["victims"] for run in self.runs]

    @property
    def drops(self) -> list[float]:
        """How far that is below the same federation without the attack, where it was trained."""
        return [run["drop"]["victims"] for run in self.runs if run["drop"]]

    def row(self) -> tuple[str, ...]:
        """Cells under `HEAD`: mean and sample std."""
        first = self.runs[0]
        strength = "" if first["strength"] is None else f" {first['strength']:g}"
        return (
            first["preset"],
            first["method"],
            first["aggregate"],
            first["attack"] + strength,
            f"{first['malicious']} of {first['clients']}",
            str(first["rounds"]),
            str(len(self.runs)),
            mean_std([100 * top1 for top1 in self.victims]),
            mean_std([100 * drop for drop in self.drops]) if self.drops else "-",
        )

    def to_json(self) -> dict[str, Any]:
        """What the seeds share, and their numbers as they are."""
        drops = described(self.drops) if self.drops else None
        numbers = {"seeds": [run["seed"] for run in self.runs], "victims_top1": described(self.victims), "drops": drops}
        return {**{name: self.runs[0][name] for name in NAMES}, **numbers}


def pool_federations(summaries: Sequence[Summary]) -> list[PooledFederation]:
    """Federations that are equal in everything but the seed, together."""
    groups: dict[tuple[Any, ...], dict[int, Summary]] = defaultdict(dict)
    for summary in summaries:
        inputs = summary["inputs"]["data"]
        groups[(*(summary[name] for name in NAMES), inputs)].setdefault(summary["seed"], summary)
    return [PooledFederation(list(group.values())) for group in groups.values()]
