"""`normkd compare`: methods with changes behind their names."""

import re
import sys

import pytest

from normkd_explore.cli import main
from normkd_explore.methods.options import split_spec


def test_compare_takes_changes_behind_a_method(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "normkd_explore.training.compare", lambda recipes, outs, *_: asked.append((recipes, outs)) or []
    )
    monkeypatch.setattr("normkd_explore.training.runs.report.format_report", lambda summaries: "")
    words = "kd, kd:temperature=2:kd_weight=9,kd:weight=variance"
    options = ["--methods", words, "--seeds", "2", "--lesson", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["normkd", "compare", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (None, 0)
    for seed, (recipes, outs) in enumerate(asked):
        plain, changed, weighed = (recipe.settings for recipe in recipes)
        assert (plain.loss, plain.kd_weight, plain.ce_weight) == ({"temperature": 4.0}, 0.9, 0.1)
        assert (changed.loss, changed.kd_weight, changed.published) == ({"temperature": 2.0}, 9.0, False)
        assert weighed.loss == {"temperature": 4.0, "weight": "variance"}
        names = ["kd", "kd-temperature=2-kd_weight=9", "kd-weight=variance"]
        assert outs == [tmp_path / f"{name}-seed{seed}" for name in names]
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("kd:t_norm=2", "found 't_norm=2', wanted for kd NAME=VALUE with NAME one of temperature, weight"),
        ("kd:kd_weight=much", "wanted a number for kd_weight, not 'much'"),
        ("kdd:temperature=2", "found 'kdd'"),
    ],
)
def test_compare_says_what_is_wrong_with_a_change(spec, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        split_spec(spec)
