"""The exercises of notebook 05 know right answers and mistakes."""

from __future__ import annotations

import pytest

from normkd_explore.analysis.paired import smallest_p
from normkd_explore.exercises import check


@pytest.mark.parametrize(
    "name, right, wrong, hint",
    [
        ("05-same-loss", "minus_mean", "z_score", "one counts"),
        ("05-pairs", 6, 5, "all minus both count"),
        ("05-best-of-ten", 0.77, 1.54, "in units of the jitter"),
        ("05-smallest", smallest_p(4), 1 / 16, "two-sided"),
        ("05-ece", 0.2, -0.2, "not its sign"),
        ("05-scale", "ECE", "normkd", "triples too"),
    ],
)
def test_exercises_know_right_answers_and_mistakes(capsys, name, right, wrong, hint):
    check(name, right)
    assert capsys.readouterr().out.startswith("Right")
    check(name, wrong)
    assert hint in capsys.readouterr().out
