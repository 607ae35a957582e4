"""The tables in README and docs are those of the CSV files, and those say what is computed anew here."""

import csv
import itertools
import re
import statistics

import pytest

from normkd_explore.results import FOLDER
from scripts import write_tables


def rows_of(file: str) -> dict[tuple[str, str], dict[int, float]]:
    found = {}
    with (FOLDER / f"measured_{file}.csv").open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            found.setdefault((row["method"], row["settings"]), {})[int(row["seed"])] = float(row["last"])
    return found


def test_every_page_holds_what_the_files_say():
    for page in write_tables.pages():
        text = page.read_text(encoding="utf-8")
        assert write_tables.filled(text) == text, f"run python scripts/write_tables.py: {page.name} is behind"
        for _, name, _ in write_tables.MARKS.findall(text):
            assert (FOLDER / f"measured_{name.partition(':')[0]}.csv").exists()


def test_the_numbers_are_means_pairs_and_sign_flips():
    rows = rows_of("lesson")
    text = write_tables.table("lesson:ce,kd,normkd")
    kd, normkd = (next(group for (method, _), group in rows.items() if method == name) for name in ("kd", "normkd"))
    line = next(line for line in text.splitlines() if line.startswith("| normkd |"))
    pairs = [normkd[seed] - kd[seed] for seed in sorted(kd)]
    assert f"{statistics.mean(normkd.values()):.2f} ± {statistics.stdev(normkd.values()):.2f}" in line
    assert f"{statistics.mean(pairs):+.2f} ± {statistics.stdev(pairs):.2f}" in line
    assert f"{sum(value > 0 for value in pairs)}/{len(pairs)}" in line
    total = abs(sum(pairs))
    signs = list(itertools.product((1, -1), repeat=len(pairs)))
    p = sum(abs(sum(s * v for s, v in zip(sign, pairs, strict=True))) >= total - 1e-9 for sign in signs) / len(signs)
    found = float(re.search(r"(\d\.\d+) \|$", line)[1])
    assert found == pytest.approx(p, abs=6e-4) or found == pytest.approx(2 * p, abs=1e-3)  # two tests: Holm's factor


def test_a_page_that_is_behind_is_found(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("<!-- table lesson:ce,kd -->\nold\n<!-- end -->\n", encoding="utf-8")
    monkeypatch.setattr(write_tables, "ROOT", tmp_path)
    monkeypatch.setattr(write_tables, "pages", lambda: [page])
    monkeypatch.setattr("sys.argv", ["write_tables.py", "--check"])
    with pytest.raises(SystemExit) as ended:
        write_tables.main()
    assert ended.value.code == 1 and "old" in page.read_text(encoding="utf-8")


def test_the_federated_table_has_means_and_pairs():
    with (FOLDER / "measured_federated.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    found = {(row["attack"], row["aggregate"], row["seed"]): float(row["victims"]) for row in rows}
    assert len(found) == len(rows) == 72
    text = write_tables.table("federated")
    for rule in {row["aggregate"] for row in rows}:
        cells = next(line for line in text.splitlines() if line.startswith(f"| {rule} |")).split(" | ")
        for cell, attack in zip(cells[1:5], ("none", "random", "fdla", "pcfdla"), strict=True):
            own = [found[attack, rule, seed] for seed in "012"]
            lost = [found[attack, rule, seed] - found["none", rule, seed] for seed in "012"]
            assert cell.startswith(f"{statistics.mean(own):.2f} ± {statistics.stdev(own):.2f}")
            assert attack == "none" or f"({statistics.mean(lost):+.2f} ± {statistics.stdev(lost):.2f})" in cell


def test_the_table_of_answers_has_means_and_pairs():
    with (FOLDER / "measured_blackbox.csv").open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["method"] == "normkd"]
    by_seed = lambda shown, remedy: {  # noqa: E731
        row["seed"]: float(row["last"]) for row in rows if (row["shown"], row["remedy"]) == (shown, remedy)
    }
    full, two = by_seed("full precision", ""), by_seed("2 digits", "fit")
    line = next(line for line in write_tables.table("blackbox").splitlines() if line.startswith("| 2 digits | fit"))
    pairs = [two[seed] - full[seed] for seed in full]
    assert f"| {statistics.mean(two.values()):.2f} ± {statistics.stdev(two.values()):.2f} (" in line
    assert f"({statistics.mean(pairs):+.2f} ± {statistics.stdev(pairs):.2f})" in line
