"""Reports pool only what may be pooled, and their statistics agree with values worked out by hand."""

from __future__ import annotations

import pytest

from normkd_explore.analysis.sign_flip import sign_flip_p
from normkd_explore.training.runs.report import format_report, mean_std
from tests.helpers.reports import rows, summary
from tests.helpers.toy import toy_recipe


def test_mean_std_and_paired_difference():
    runs = [summary("ce", seed, top1) for seed, top1 in enumerate((0.1, 0.2, 0.3))]
    runs += [summary("kd", seed, top1) for seed, top1 in enumerate((0.2, 0.4, 0.3))]
    text = format_report(runs)
    assert rows(text)[0][:7] == ["toy/t-s", "ce", "3", "3", "20.00", "±", "10.00"]
    # Differences 10, 20 and 0: mean 10, std 10; of 8 sign flips the 4 without a sign clash reach the sum.
    assert rows(text)[2][1:] == ["kd", "-", "ce", "3", "+10.00", "10.00", "0.500"]


def test_one_run_found_twice_counts_once():
    assert rows(format_report([summary("kd", 0, 0.5), summary("kd", 0, 0.5)]))[0][2] == "1"


def test_runs_of_another_budget_are_neither_pooled_nor_compared():
    text = format_report([summary("ce", 0, 0.1), summary("ce", 1, 0.9, budget="b"), summary("kd", 1, 0.5)])
    assert [row[2] for row in rows(text)] == ["1", "1", "1"]
    assert "Paired" not in text


def test_two_settings_of_a_method_stay_apart_and_are_named():
    text = format_report([summary("kd", 0, 0.1, settings="T=4"), summary("kd", 0, 0.2, settings="T=2")])
    assert "kd (T=4)" in text and "kd (T=2) - kd (T=4)" in text


def test_a_budget_is_shared_by_methods_and_seeds_alone():
    assert toy_recipe("kd").budget() == toy_recipe("normkd", seed=4).budget() == toy_recipe("ce").budget()
    assert toy_recipe("kd").budget() != toy_recipe("kd", epochs=3).budget()
    assert toy_recipe("kd").budget() != toy_recipe("kd", lr=0.01).budget()


def test_sign_flip_p_values_by_hand():
    assert sign_flip_p([1.0, 2.0, 3.0]) == 0.25  # only all plus and all minus reach 6
    assert sign_flip_p([1.0, -1.0]) == 1.0
    assert sign_flip_p([0.5] * 10) == pytest.approx(2 / 1024)
    assert mean_std([1.0, 3.0]) == "2.00 ± 1.41" and mean_std([2.0]) == "2.00"
