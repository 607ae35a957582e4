"""Committed results are complete and honest, and the loader says what it cannot read."""

from __future__ import annotations

import csv
from dataclasses import astuple, replace

import pytest

from normkd_explore.data import load_dataset, make_batches
from normkd_explore.federated import federated_lesson, federated_preset
from normkd_explore.methods import CIFAR100_PAIRS, IMAGENET_PAIRS, METHODS
from normkd_explore.results import (
    FOLDER,
    EpochRecord,
    MeasuredRun,
    by_method,
    by_setting,
    load_ablation,
    load_history,
    load_measured,
    load_published,
    read_rows,
    write_rows,
)
from normkd_explore.results.answers import ANSWERS, answers_table, load_answers
from normkd_explore.results.federated import FEDERATED, load_federated, victims_table
from normkd_explore.results.students import SHIPPED, lesson_student
from normkd_explore.training import evaluate, get_preset, lesson

OWN_FORM = (ANSWERS, FEDERATED)
TABLES = sorted(
    file.stem.removeprefix("measured_") for file in FOLDER.glob("measured_*.csv") if file.name not in OWN_FORM
)
ROUNDING = ("avx2", "two_threads")  # these show bits, not means
PAPER_PRESET = "glyphs/resnet20-resnet8"


def run(method: str, seed: int, last: float, **other: object) -> MeasuredRun:
    values = {"preset": "p", "budget": "b", "method": method, "settings": "s", "seed": seed, "last": last, "best": last}
    rest = {"chosen_on": "val", "n_test": 10, "epochs": 1, "command": "c", "hardware": "h", "torch": "2"}
    return MeasuredRun(**{**values, **rest, **other})


@pytest.mark.parametrize("name", TABLES)
def test_measured_runs_are_paired_complete_and_of_known_methods(name):
    runs = load_measured(name)
    settings = sorted({(run.method, run.settings) for run in runs})
    for key in settings:  # one preset, one budget, every seed once
        (seeds,) = by_method([run for run in runs if (run.method, run.settings) == key]).values()
        assert sorted(seeds) == list(range(len(seeds))) and len(seeds) >= (2 if name in ROUNDING else 3)
    assert len({run.budget for run in runs}) == 1 and {method for method, _ in settings} <= set(METHODS)
    for row in runs:
        assert 0 <= row.last <= row.n_test and 0 <= row.best <= 100
        images = row.last * row.n_test / 100
        assert images == pytest.approx(round(images), abs=0.01)
        assert all(text and "/tmp" not in text and "--out" not in text for text in (row.command, row.hardware))


def test_the_lesson_was_measured_with_ten_seeds_of_six_methods():
    runs = load_measured("lesson")
    assert {m: len(seeds) for m, seeds in by_method(runs).items()} == dict.fromkeys(
        ("ce", "kd", "dkd", "normkd", "normdkd", "lskd"), 10
    )
    wanted = lesson(get_preset(PAPER_PRESET, "kd"))
    assert {row.budget for row in runs} == {wanted.budget()} and {row.epochs for row in runs} == {wanted.epochs}


def test_the_plateau_runs_are_those_of_the_notebook():
    """The recipe that the notebook's cell builds has the budget of the committed runs."""
    sizes = {"train_size": 1200, "test_size": 1000}
    steps = {"schedule": "step", "milestones": (12,), "lr": 0.05, "epochs": 24}
    recipe = replace(lesson(get_preset(PAPER_PRESET)), protocol="paper", data_options=sizes, **steps)
    runs, history = load_measured("plateau"), load_history("plateau")
    assert {row.budget for row in runs} == {recipe.budget()}
    for row in runs:
        curve = [record for record in history if record.seed == row.seed]
        assert [record.epoch for record in curve] == list(range(1, 25))
        assert curve[-1].top1 == row.last and max(record.top1 for record in curve) == row.best
        assert curve[11].lr == 0.05 and curve[12].lr == pytest.approx(0.005)


def test_published_values_are_possible_and_each_has_its_source():
    rows = load_published()
    assert len(set(map(astuple, rows))) == len(rows) > 300
    for row in rows:
        assert 55 < row.top1 < 80 and (row.top5 is None or row.top1 < row.top5 < 100)
        assert row.source and row.mark in ("README", "paper text")
        assert row.n == "not stated" or row.n.isdigit()
        assert row.epoch in ("best on the test set", "not stated")
    assert not any(name in row.method for row in rows for name in ("NormKD", "RLD", "ATLC"))  # nobody could read these
    pairs = {(row.teacher, row.student) for row in rows}
    assert set(CIFAR100_PAIRS) | set(IMAGENET_PAIRS) <= pairs


@pytest.mark.parametrize(
    "pair_, method, top1",
    [
        (("cifar100", "resnet32x4", "resnet8x4"), "KD", 73.33),
        (("cifar100", "vgg13", "MobileNetV2"), "DKD", 69.71),
        (("cifar100", "wrn_40_2", "resnet8x4"), "KD+LSKD", 77.11),
        (("imagenet", "resnet34", "resnet18"), "DKD", 71.70),
    ],
)
def test_some_published_values_read_again(pair_, method, top1):
    assert top1 in [row.top1 for row in load_published(*pair_) if row.method == method]


def test_ablation_has_the_published_shape():
    rows = load_ablation()
    assert [row.kd_weight for row in rows] == [0.9, 3, 6, 9, 12, 15, 18]
    assert rows[0].raw == 73.60 and rows[3].z_score == 76.62
    assert all("unreadable" in row.mark for row in rows)


@pytest.mark.parametrize("method", SHIPPED)
def test_shipped_students_have_the_measured_accuracy(method):
    """To 0.2 points, two of the 1,000 images: another FreeType may draw a few pixels otherwise."""
    sizes = lesson(get_preset(PAPER_PRESET)).data_options
    batches = make_batches(load_dataset("glyphs", **sizes), "test", 250, augment=False)
    measured = evaluate(lesson_student(method), batches.epoch(0))
    stated = by_method(load_measured("lesson"))[method][0]
    assert 100 * measured["top1"] == pytest.approx(stated, abs=0.21)
    card = (FOLDER.parent / "assets" / "MODEL_CARD.md").read_text(encoding="utf-8")
    (line,) = [line for line in card.splitlines() if line.startswith(f"| `{SHIPPED[method]}`")]
    assert f"{stated:.1f} %" in line


def test_other_students_are_asked_for_in_words(tmp_path):
    with pytest.raises(ValueError, match=r"'dkd' for glyphs.*, wanted kd or normkd.*--out RUNS"):
        lesson_student("dkd")
    with pytest.raises(ValueError, match=r"for cifar100/resnet32x4-resnet8x4, wanted .* for glyphs"):
        lesson_student("kd", preset="cifar100/resnet32x4-resnet8x4")
    with pytest.raises(FileNotFoundError, match="dkd-seed0"):
        lesson_student("dkd", tmp_path)


def test_what_is_written_is_read_again(tmp_path):
    rows = [run("kd", 0, 12.5), run("kd", 1, 7.25)]
    write_rows(tmp_path / "measured_x.csv", rows)
    assert load_measured("x", tmp_path) == rows


def test_missing_and_damaged_tables_are_named(tmp_path):
    file = tmp_path / "measured_x.csv"
    write_rows(file, [run("kd", 0, 12.5), run("kd", 1, 7.25)])
    with pytest.raises(FileNotFoundError, match=r"measured_y.csv; the tables there are: measured_x"):
        load_measured("y", tmp_path)
    with pytest.raises(ValueError, match=r"found the columns .*'budget'.*wanted .*'epoch'"):
        read_rows(file, EpochRecord)
    file.write_text(file.read_text().replace("7.25,7.25", "7.25,much"))
    with pytest.raises(ValueError, match=r"measured_x.csv, line 3: best is 'much'"):
        load_measured("x", tmp_path)
    file.write_text(file.read_text().replace(",val,10,1,c,h,2", "", 1))
    with pytest.raises(ValueError, match="line 2: chosen_on is None"):
        load_measured("x", tmp_path)


def test_unknown_pairs_are_named():
    with pytest.raises(ValueError, match=r"student: found 'resnet9', wanted one of .*resnet8x4"):
        load_published(student="resnet9")


def test_only_like_runs_are_pooled():
    runs = [run("kd", 0, 1.0), run("kd", 1, 2.0), run("normkd", 0, 3.0)]
    assert by_method(runs) == {"kd": {0: 1.0, 1: 2.0}, "normkd": {0: 3.0}}
    for other, word in (
        (run("kd", 2, 1.0, budget="x"), "2 values of budget"),
        (run("kd", 2, 1.0, preset="x"), "2 values of preset"),
        (run("kd", 2, 1.0, settings="x"), "kd has the settings 's' and 'x'"),
        (run("kd", 1, 1.0), "kd has seed 1 twice"),
    ):
        with pytest.raises(ValueError, match=word):
            by_method([*runs, other])


def test_the_federations_are_paired_and_complete():
    runs = load_federated()
    table = victims_table(runs)
    assert len(table) == 4 * 6 and {len(own) for own in table.values()} == {3}
    wanted = federated_lesson(federated_preset(PAPER_PRESET))
    assert {row.budget for row in runs} == {wanted.budget()} and {row.rounds for row in runs} == {wanted.rounds}
    for row in runs:
        lies = row.attack != "none"
        assert (row.malicious == 2) == lies == bool(row.ranks) and (row.strength == 20.0) == (row.attack == "pcfdla")
        assert 0 <= row.victims <= 100 and 0 <= row.answer <= 100 and row.n_test == 500
        images = row.victims * 6 * row.n_test / 100
        assert images == pytest.approx(round(images), abs=0.16)  # a mean of six clients, to two decimals
    for seed in range(3):
        assert len({row.alone for row in runs if row.seed == seed}) == 1
    with pytest.raises(ValueError, match="seed 0 twice"):
        victims_table([*runs, runs[0]])
    with pytest.raises(ValueError, match="found 2 budgets"):
        victims_table([*runs, replace(runs[0], budget="x")])


def test_settings_of_one_method_are_told_apart():
    table = by_setting(load_measured("lesson_weights"))
    with (FOLDER / "measured_lesson_weights.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(table) == len({(row["method"], row["settings"]) for row in rows}) > len({row["method"] for row in rows})
    for row in rows:
        assert table[row["method"], row["settings"]][int(row["seed"])] == float(row["last"])


def test_students_of_answers_are_paired_and_complete():
    runs = load_answers()
    table = answers_table(runs)
    assert len(table) == 1 + 4 * 3 + 3
    seeds = {tuple(sorted(own)) for methods in table.values() for own in methods.values()}
    assert len(seeds) == 1 and len(next(iter(seeds))) >= 3
    for (shown, _), methods in table.items():
        assert set(methods) == ({"normkd"} if shown == "top5" else {"kd", "normkd", "lskd"})
    wanted = lesson(get_preset(PAPER_PRESET, "kd"))
    assert {row.budget for row in runs} == {wanted.budget()} and {row.n_test for row in runs} == {1000}
    with pytest.raises(ValueError, match="seed 0 twice"):
        answers_table([*runs, runs[0]])
