"""The tables of finished runs: what `normkd report` and `normkd compare` show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normkd_explore.cli.table import Column, Row, Table
from normkd_explore.cli.terminal import say, show

if TYPE_CHECKING:
    from normkd_explore.federated.report import PooledFederation
    from normkd_explore.training.runs.report import Report

SIGNIFICANT = 0.05


def show_report(report: Report) -> None:
    """Print the tables of a report."""
    from normkd_explore.training.runs.report import ACCURACY, PAIRED

    columns = [
        Column("preset", heading=True),
        Column("method", wraps=True),
        Column("n", right=True),
        Column("epochs", right=True, drop=1),
        Column(ACCURACY[4], right=True),
        Column("best epoch (%)", right=True),
        Column("chosen on", drop=2),
        Column("seconds", right=True, drop=3),
    ]
    rows = [pooled.row() for pooled in report.methods]
    show(Table(columns, rows, notes=[] if report.differences else report.notes))
    if report.differences:
        say("")
        rows = [difference.row() for difference in report.differences]
        show(Table(_difference_columns(report.difference_head), rows, PAIRED, report.notes))


def _difference_columns(head: tuple[str, ...]) -> list[Column]:
    return [
        Column("preset", heading=True),
        Column("comparison", wraps=True),
        Column("n pairs", right=True),
        Column("mean difference (points)", right=True, style=_verdict),
        Column("std", right=True),
        Column(head[-1], right=True, style=_verdict),
    ]


def _verdict(row: Row) -> str:
    """Green or red where chance alone would seldom make such a difference."""
    mean, p = row[3], row[5]
    if p == "-" or float(p) >= SIGNIFICANT:
        return ""
    return "green" if mean.startswith("+") else "red"


def show_federations(federations: list[PooledFederation]) -> None:
    """Print a line for all seeds of each federation."""
    from normkd_explore.federated.report import HEAD

    columns = [
        Column("preset", heading=True),
        Column("method"),
        Column("rule", wraps=True),
        Column("attack", wraps=True),
        Column("liars"),
        Column("rounds", right=True, drop=1),
        Column("n", right=True),
        Column(HEAD[7], right=True),
        Column(HEAD[8], right=True),
    ]
    show(Table(columns, [federation.row() for federation in federations]))
