"""Write the measured tables into README.md and docs/, so that no number is copied by hand.

    python scripts/write_tables.py            between the marks <!-- table NAME --> and <!-- end -->
    python scripts/write_tables.py --check    exit status 1 where a page differs from the CSV files

NAME is FILE or FILE:METHOD,METHOD: the runs of normkd_explore/results/measured_FILE.csv, one line a method and setting;
of "federated" one line a rule of the server, one column an attack; of "blackbox" one line a kind of answer.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from pathlib import Path

from normkd_explore.analysis.paired import holm
from normkd_explore.analysis.sign_flip import sign_flip_p
from normkd_explore.methods import get_method
from normkd_explore.results import MeasuredRun, load_measured
from normkd_explore.results.answers import FULL, answers_table, load_answers
from normkd_explore.results.federated import load_federated, victims_table
from normkd_explore.training.summary import describe_settings

ROOT = Path(__file__).resolve().parent.parent
MARKS = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
COLUMNS = ("method", "settings", "last epoch, %", "n", "minus KD, paired", "ahead", "p (Holm)")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n"


Group = dict[int, float]


def groups_of(runs: list[MeasuredRun], chosen: list[str]) -> dict[tuple[str, str], Group]:
    """Test top-1 after the last epoch by seed, for each method and setting."""
    groups: dict[tuple[str, str], Group] = {}
    for run in runs:
        if not chosen or run.method in chosen:
            groups.setdefault((run.method, run.settings), {})[run.seed] = run.last
    return groups


def table(name: str) -> str:
    """The table of a mark, as Markdown; KD as published is what the others are compared with."""
    file, _, methods = name.partition(":")
    if file == "federated":
        return federated_table()
    if file == "blackbox":
        return black_box_table()
    groups = groups_of(load_measured(file), methods.split(",") if methods else [])
    base = ("kd", describe_settings(get_method("kd").cifar100))
    pairs = {key: differences(group, groups[base]) for key, group in groups.items() if key != base}
    several = [key for key, found in pairs.items() if len(found) > 1]
    p_values = dict(zip(several, holm([sign_flip_p(pairs[key]) for key in several]), strict=True))
    return HEAD + "".join(line(key, group, pairs.get(key), p_values.get(key)) for key, group in groups.items())


def federated_table() -> str:
    """Top-1 of the honest clients after the last round, and in brackets how far below the same seed's clean run."""
    table_ = victims_table(load_federated())
    attacks, rules = (list(dict.fromkeys(key[at] for key in table_)) for at in (0, 1))
    head = ["rule", *("nobody lies" if attack == "none" else attack for attack in attacks), "n"]
    rows = [[rule, *(federated_cell(table_, attack, rule) for attack in attacks)] for rule in rules]
    lines = [head, ["---"] * len(head), *([*row, str(len(table_["none", row[0]]))] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def federated_cell(table_: dict[tuple[str, str], list[float]], attack: str, rule: str) -> str:
    """One attack against one rule."""
    values, clean = table_[attack, rule], table_["none", rule]
    lost = [after - before for before, after in zip(clean, values, strict=True)]
    return mean_std(values) + ("" if attack == "none" else f" ({mean_std(lost, '+')})")


def black_box_table() -> str:
    """Top-1 by what is shown and what hidden classes get, and in brackets how far from the same seed's full answers."""
    cells = answers_table(load_answers())
    full = cells[FULL, ""]
    head = ["answers", "hidden classes", *full, "n"]
    lines = [head, ["---"] * len(head)]
    for (shown, remedy), methods in cells.items():
        row = [answers_cell(methods[name], full[name] if remedy else None) if name in methods else "" for name in full]
        lines.append([shown, remedy, *row, str(len(methods["normkd"]))])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def answers_cell(group: Group, full: Group | None) -> str:
    """One method under one kind of answers."""
    lost = "" if full is None else f" ({mean_std(differences(group, full), '+')})"
    return mean_std(list(group.values())) + lost


def differences(group: Group, base: Group) -> list[float]:
    """Points ahead of the base, seed by seed."""
    return [round(group[seed] - base[seed], 6) for seed in sorted(group.keys() & base.keys())]


def line(key: tuple[str, str], group: Group, pairs: list[float] | None, p: float | None) -> str:
    """One row."""
    method, settings = key
    settings = settings.replace(" x ", " × ")
    cells = [method, settings, mean_std(list(group.values())), str(len(group))]
    if pairs:
        ahead = f"{sum(value > 0 for value in pairs)}/{len(pairs)}"
        cells += [mean_std(pairs, "+"), ahead, "" if p is None else f"{p:.3f}"]
    else:
        cells += ["", "", ""]
    return "| " + " | ".join(cells) + " |\n"


def mean_std(values: list[float], sign: str = "") -> str:
    """Mean and sample standard deviation."""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{sign}.2f}{spread}"


def pages() -> list[Path]:
    """The pages that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(text: str) -> str:
    """A page with its tables as the CSV files say."""
    return MARKS.sub(lambda found: found[1] + table(found[2]) + found[3], text)


def main() -> None:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    changed = [page for page in pages() if filled(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")]
    for page in changed:
        print(f"{page.relative_to(ROOT)}: {'differs from the CSV files' if check else 'written'}")
        if not check:
            page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit(1 if check and changed else 0)


if __name__ == "__main__":
    main()
