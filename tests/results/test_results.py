"""Committed results are complete and honest; loader, collector and pairing compute what they say."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import statistics
import sys
from dataclasses import astuple, replace

import numpy as np
import pytest

from normkd_explore.analysis.paired import expected_maximum, holm, pair, smallest_p
from normkd_explore.data import load_dataset, make_batches
from normkd_explore.exercises import check
from normkd_explore.figures.results import (
    class_gains_figure,
    heatmap_figure,
    history_figure,
    map_figure,
    paired_figure,
)
from normkd_explore.methods import CIFAR100_PAIRS, IMAGENET_PAIRS, METHODS
from normkd_explore.results import (
    FOLDER,
    EpochRecord,
    MeasuredRun,
    by_method,
    load_ablation,
    load_history,
    load_measured,
    load_published,
    read_rows,
    write_rows,
)
from normkd_explore.results.students import SHIPPED, lesson_student
from normkd_explore.training import RunFolder, compare, evaluate, get_preset, lesson
from scripts import collect_results
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where

TABLES = sorted(file.stem.removeprefix("measured_") for file in FOLDER.glob("measured_*.csv"))
PAPER_PRESET = "glyphs/resnet20-resnet8"


def run(method: str, seed: int, last: float, **other: object) -> MeasuredRun:
    values = {"preset": "p", "budget": "b", "method": method, "settings": "s", "seed": seed, "last": last, "best": last}
    rest = {"chosen_on": "val", "n_test": 10, "epochs": 1, "command": "c", "hardware": "h", "torch": "2"}
    return MeasuredRun(**{**values, **rest, **other})


# --- what is committed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_measured_runs_are_paired_complete_and_of_known_methods(name):
    runs = load_measured(name)
    table = by_method(runs)  # one preset, one budget, one setting a method, every seed once
    assert set(table) <= set(METHODS)
    assert all(sorted(seeds) == list(range(len(seeds))) and len(seeds) >= 3 for seeds in table.values())
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


# --- the loader ----------------------------------------------------------------------------------------------


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


# --- pairing -------------------------------------------------------------------------------------------------


def test_pairs_are_made_by_seed_not_by_place():
    values = {"a": {2: 5.0, 0: 1.0, 1: 9.0}, "b": {0: 0.5, 2: 1.0, 7: 100.0}}
    found = pair(values, "a", "b")
    assert found.seeds == (0, 2) and found.differences == (0.5, 4.0)
    assert (found.n, found.mean, found.wins) == (2, 2.25, 2)
    assert found.std == pytest.approx(statistics.stdev([0.5, 4.0]))
    assert pair(values, "b", "a").differences == (-0.5, -4.0)


def test_pairing_errors_teach():
    with pytest.raises(ValueError, match="baseline: found 'c', wanted one of a, b"):
        pair({"a": {}, "b": {}}, "a", "c")
    with pytest.raises(ValueError, match="a and b share 1 seeds, wanted at least 2"):
        pair({"a": {0: 1.0, 1: 1.0}, "b": {0: 2.0}}, "a", "b")


def test_ties_between_sign_patterns_survive_rounding():
    """0.3 - 0.1 and 0.4 - 0.2 differ by 1e-17: pairs of equal differences give exact multiples of 2 / 2^n."""
    found = pair({"a": {0: 0.3, 1: 0.4, 2: 0.1}, "b": {0: 0.1, 1: 0.2, 2: 0.3}}, "a", "b")
    assert found.differences == (0.2, 0.2, -0.2)
    sums = [abs(sum(signs)) for signs in itertools.product((1, -1), repeat=3)]
    assert found.p == sum(s >= 1 for s in sums) / 8


@pytest.mark.parametrize("n", range(1, 9))
def test_smallest_p_is_reached_by_one_sign(n):
    if n > 1:
        assert pair({"a": dict.fromkeys(range(n), 1.0), "b": dict.fromkeys(range(n), 0.0)}, "a", "b").p == smallest_p(n)
    assert smallest_p(n) == min(1.0, 2 / 2**n)
    with pytest.raises(ValueError, match="n: found 0"):
        smallest_p(0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []
    with pytest.raises(ValueError, match=r"found 1\.5"):
        holm([0.1, 1.5])


def test_holm_rejects_what_the_step_down_rule_rejects():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.random(6) ** 3
        order, rejected = np.argsort(p), set()
        for rank, place in enumerate(order):  # Holm's own wording: stop at the first that is not small enough
            if p[place] > 0.05 / (6 - rank):
                break
            rejected.add(int(place))
        assert {k for k, value in enumerate(holm(list(p))) if value <= 0.05} == rejected


def test_expected_maximum_against_known_values_and_a_simulation():
    assert expected_maximum(1) == pytest.approx(0, abs=1e-9)
    assert expected_maximum(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-9)
    assert expected_maximum(3) == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-9)
    drawn = np.random.default_rng(1).normal(size=(200_000, 10)).max(axis=1).mean()
    assert expected_maximum(10) == pytest.approx(drawn, abs=0.01)
    with pytest.raises(ValueError, match="k: found 0"):
        expected_maximum(0)


# --- the collector -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two finished runs of two epochs."""
    root = tmp_path_factory.mktemp("runs")
    where, dataset = toy_where(tmp_path_factory.mktemp("teacher")), toy_dataset()
    for seed in range(2):
        out = root / f"kd-seed{seed}"
        compare([toy_recipe("kd", seed=seed)], [out], where, watch=lambda moment, runs: None, dataset=dataset)
    return root


def test_collector_copies_what_the_folders_say(folders, tmp_path, monkeypatch, capsys):
    arguments = ["collect_results.py", str(folders), "--name", "toy", "--history", "--made-by", "a test"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--into", str(tmp_path)])
    collect_results.main()
    assert "2 runs of 1 methods" in capsys.readouterr().out
    rows, records = load_measured("toy", tmp_path), load_history("toy", tmp_path)
    for row in rows:
        folder = RunFolder(folders / f"kd-seed{row.seed}")
        summary = folder.summary()
        assert row.last == pytest.approx(100 * summary["test"]["top1"], abs=0.005)
        assert row.best == pytest.approx(100 * summary["best"]["top1"], abs=0.005)
        assert (row.budget, row.settings, row.epochs) == (summary["budget"], summary["settings"], summary["epochs"])
        curve = [record.top1 for record in records if record.seed == row.seed]
        assert curve == [round(100 * metric[row.chosen_on]["top1"], 2) for metric in folder.metrics()]
        assert row.command == "a test" and "thread" in row.hardware


def test_collector_refuses_unfinished_and_missing_runs(folders, tmp_path):
    (tmp_path / "kd-seed9").mkdir()
    with pytest.raises(FileNotFoundError, match="found no run folder"):
        collect_results.find_runs([tmp_path])
    (tmp_path / "kd-seed9" / "config.yaml").write_text("x")
    with pytest.raises(ValueError, match="kd-seed9 did not finish"):
        collect_results.find_runs([folders, tmp_path])
    assert len(collect_results.find_runs([folders, tmp_path], skip_unfinished=True)) == 2


def test_collector_refuses_runs_of_several_teachers(folders, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    shutil.copytree(folders, runs)
    changed = RunFolder(runs / "kd-seed1").summary()
    changed["inputs"]["teacher"] = "another"
    (runs / "kd-seed1" / "summary.json").write_text(json.dumps(changed))
    arguments = ["collect_results.py", str(runs), "--name", "toy", "--made-by", "a test", "--into", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match=r"kd-seed0 and kd-seed1 had other inputs \(teacher: digests \w+ and another"):
        collect_results.main()
    assert not list(tmp_path.glob("*.csv"))


def test_commands_lose_the_paths_of_this_machine_and_nothing_else():
    command = "normkd compare --lesson --out /a/b/c --seeds 10 --data-root=/d"
    assert collect_results.command_of({"command": command}) == "normkd compare --lesson --seeds 10"
    with pytest.raises(ValueError, match="--made-by"):
        collect_results.command_of({"command": None})
    cpu = {"name": "X", "threads": 2}
    assert collect_results.hardware_of({"accelerator": None, "cpu": cpu}) == "X, 2 threads"
    assert collect_results.hardware_of({"accelerator": "H200", "cpu": cpu}) == "H200"
    assert collect_results.hardware_of({"accelerator": "H200", "cpu": cpu, "device": "cpu"}) == "X, 2 threads"
    again = [{"accelerator": "H200", "cpu": cpu}, {"accelerator": None, "cpu": cpu}]
    assert collect_results.hardware_of({"accelerator": None, "cpu": cpu, "resumed": again}) == "X, 2 threads; H200"


# --- figures and exercises -----------------------------------------------------------------------------------


def test_paired_figure_has_a_dot_a_seed_and_the_mean():
    figure = paired_figure([pair({"a": {0: 3.0, 1: 1.0}, "b": {0: 1.0, 1: 1.5}}, "a", "b")])
    assert figure.data[0].x == (2.0, -0.5) and figure.data[0].hovertext == ("seed 0", "seed 1")
    assert figure.data[1].x == (0.75,)


def test_history_figure_marks_best_and_last():
    curve = [EpochRecord("p", "kd", 0, epoch, 0.1, "test", top1) for epoch, top1 in ((2, 50.0), (1, 10.0), (3, 40.0))]
    figure = history_figure(curve, plateau_from=2)
    assert figure.data[0].y == (10.0, 50.0, 40.0)
    assert figure.data[1].x == (2, 3) and figure.data[1].y == (50.0, 40.0)
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (1.5, 3.5)


def test_class_gains_are_sorted_with_their_names():
    figure = class_gains_figure([-10.0, 30.0, 0.0], ["a", "b", "c"], "gain")
    assert figure.data[0].y == (30.0, 0.0, -10.0) and figure.data[0].hovertext == ("b", "c", "a")
    assert figure.layout.xaxis.ticktext == ("b", "c", "a")


def test_heatmaps_share_a_scale_and_maps_show_names():
    heat = heatmap_figure({"x": np.eye(3), "y": 2 * np.eye(3)}, ["a", "b", "c"], largest=2.0)
    assert heat.data[1].z[0].tolist() == [200, 0, 0]
    assert heat.layout.coloraxis.cmax == 200 and {trace.coloraxis for trace in heat.data} == {"coloraxis"}
    drawn = map_figure({"x": [[0, 1], [2, 3], [4, 5]]}, ["a", "b", "a"])
    assert drawn.data[0].text == ("a", "b", "a") and drawn.data[0].y == (1.0, 3.0, 5.0)
    assert drawn.data[0].textfont.color[0] == drawn.data[0].textfont.color[2] != drawn.data[0].textfont.color[1]


@pytest.mark.parametrize(
    "name, right, wrong, hint",
    [
        ("05-same-loss", "minus_mean", "z_score", "one counts"),
        ("05-pairs", 6, 5, "all minus both count"),
        ("05-best-of-ten", 0.77, 1.54, "in units of the jitter"),
        ("05-smallest", smallest_p(5), 1 / 32, "two-sided"),
        ("05-ece", 0.2, -0.2, "not its sign"),
        ("05-scale", "ECE", "normkd", "triples too"),
    ],
)
def test_exercises_know_right_answers_and_mistakes(capsys, name, right, wrong, hint):
    check(name, right)
    assert capsys.readouterr().out.startswith("Right")
    check(name, wrong)
    assert hint in capsys.readouterr().out
