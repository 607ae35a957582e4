"""The exercises of notebook 06: right answers come from the library, and mistakes get their hint."""

from __future__ import annotations

import pytest
import torch

from normkd_explore.blackbox import BlackBox, information_loss, logits_from
from normkd_explore.exercises import check
from normkd_explore.losses import KD, LSKD, NormKD


def said(capsys, name: str, answer: object) -> str:
    check(name, answer)
    return capsys.readouterr().out


def test_right_answers_are_what_the_library_computes(capsys):
    z = 6 * torch.randn(32, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    s = z.roll(1, 0)
    answered = logits_from(BlackBox(lambda x: x)(z))
    losses = {"kd": KD(), "normkd": NormKD(), "lskd": LSKD()}
    exact = {name for name, loss in losses.items() if torch.isclose(loss(s, z), loss(s, answered), rtol=1e-12)}
    assert said(capsys, "06-exact", exact).startswith("Right")
    floor = logits_from(BlackBox(lambda x: x, digits=3)(z), "floor", 3)
    lower = "A" if floor.std(1).mean() < z.std(1).mean() else "B"
    assert said(capsys, "06-direction", lower).startswith("Right")
    one = torch.nn.functional.one_hot(torch.tensor([3]), 100).double()
    assert said(capsys, "06-hard", one.max().item()).startswith("Right")
    assert said(capsys, "06-one-hot", (one / 5).softmax(-1).max().item()).startswith("Right")
    weight = information_loss(torch.zeros(1), torch.tensor([0]), "index").item()
    assert said(capsys, "06-index", weight).startswith("Right")


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("06-exact", {"kd"}, "standard deviation"),
        ("06-exact", 3, "a set of names"),
        ("06-direction", "B", "the most it can be"),
        ("06-hard", 0, "switch it off"),
        ("06-index", 1, "That is the value"),
        ("06-one-hot", 1.0, "divided by 5"),
    ],
)
def test_mistakes_get_their_hint(capsys, name, answer, hint):
    assert hint in said(capsys, name, answer)
