"""The exercises of notebook 07: right answers come from the library, and mistakes get their hint."""

from __future__ import annotations

import pytest
import torch

from normkd_explore.exercises import check
from normkd_explore.federated import FDLA, PCFDLA, Mean, Median
from normkd_explore.temperature import Std


def said(capsys, name: str, answer: object) -> str:
    check(name, answer)
    return capsys.readouterr().out


def drawn(*shape: int) -> torch.Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_right_answers_are_what_the_library_computes(capsys):
    votes, moved = drawn(8, 40, 10), {}
    rules = {
        "mean of logits": Mean(),
        "mean of probabilities": Mean(of="probabilities"),
        "mean of z-scores": Mean(of="z-scores"),
        "median": Median(of="probabilities"),
    }
    for name, rule in rules.items():
        answers = []
        for strength in (1e3, 1e6):
            loud = votes.clone()
            loud[-1] = PCFDLA(strength)(votes[-1])
            answers.append(rule(loud))
        moved[name] = (answers[1] - answers[0]).abs().max().item()
    assert said(capsys, "07-unbounded", {name for name, size in moved.items() if size > 100}).startswith("Right")

    z, forged = votes[0], FDLA()(votes[0])
    sizes = {
        "norm": lambda v: v.norm(dim=-1),
        "std": lambda v: v.std(dim=-1),
        "entropy": lambda v: -(v.softmax(-1) * v.log_softmax(-1)).sum(-1),
    }
    seen = {name for name, size in sizes.items() if not torch.allclose(size(z), size(forged))}
    assert said(capsys, "07-checks", seen).startswith("Right") and said(capsys, "07-checks", "none").startswith("Right")

    peak = {s: PCFDLA(s)(z[:1]) for s in (20.0, 40.0)}
    assert said(capsys, "07-std", peak[20.0].std().item()).startswith("Right")
    weights = {s: Std(2.0)(z[:1], peak[s]).weight.item() for s in peak}
    assert said(capsys, "07-weight", weights[40.0] / weights[20.0]).startswith("Right")
    assert said(capsys, "07-odd", "D").startswith("Right")


def test_the_median_is_safe_with_three_of_eight_and_not_with_four(capsys):
    honest = drawn(8, 40, 10)
    safe = []
    for liars in range(1, 8):
        votes = honest.clone()
        votes[8 - liars :] = 1e6
        low, high = honest[: 8 - liars].amin(0), honest[: 8 - liars].amax(0)
        answer = Median()(votes)
        safe.append(bool(((answer >= low) & (answer <= high)).all()))
    assert said(capsys, "07-median", sum(safe)).startswith("Right") and safe == sorted(safe, reverse=True)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("07-unbounded", {"mean of logits", "median"}, "never leaves the honest values"),
        ("07-unbounded", {"mean of z-scores"}, "same z-scores at every height"),
        ("07-unbounded", {"mean of probabilities"}, "at most 1"),
        ("07-unbounded", 3, "a set of names"),
        ("07-checks", {"norm"}, "order alone"),
        ("07-checks", {"std"}, "does not depend on their order"),
        ("07-checks", {"entropy"}, "in any order"),
        ("07-checks", 1, 'or "none"'),
        ("07-std", 4.0, "root of C"),
        ("07-std", 20, "their mean is -16"),
        ("07-std", 12.0, "divisor C"),
        ("07-weight", 2, "its square"),
        ("07-weight", 1, "The weight does not"),
        ("07-median", 4, "middle two values"),
        ("07-median", 1, "fewer than half"),
        ("07-median", "all", "Not yet"),
        ("07-odd", "A", "Nobody lies here"),
        ("07-odd", "b", "number of pictures"),
        ("07-odd", 8, "a letter"),
        ("07-odd", None, "Open"),
    ],
)
def test_mistakes_get_their_hint(capsys, name, answer, hint):
    assert hint in said(capsys, name, answer)
