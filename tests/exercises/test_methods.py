"""Notebook 03's exercises: the right answers are what the losses do, and typical mistakes get their own hint."""

import pytest
import torch
from torch.nn import functional as F

from normkd_explore.analysis.grid import evaluate_grid
from normkd_explore.exercises import EXERCISES, check
from normkd_explore.language import TokenKL
from normkd_explore.losses import KD, LSKD, MLKD, NormKD


def said(capsys, name, answer):
    check(name, answer)
    return capsys.readouterr().out


def is_right(capsys, name, answer):
    return said(capsys, name, answer).startswith("Right")


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(1)
    return tuple(scale * torch.randn((64, 100), generator=generator, dtype=torch.float64) for scale in (1.5, 3.0))


def test_policies_that_leave_the_scale_alone(capsys, pair):
    s, t = pair
    table = evaluate_grid(t[:8], s[:8], torch.arange(8))
    flat = {
        type(part).__name__
        for name, part in table.policies.items()
        if abs(table.cells[name, "KL"].cosine_B).max() < 1e-6
    }
    assert is_right(capsys, "03-scale", flat - {"Unweighted"})


def test_weights_are_equal_at_the_answer(capsys):
    shape = torch.tensor([[-1.0, 0.0, 1.0]], dtype=torch.float64)
    student, teacher = torch.tensor([[0.5, -0.2, 0.1]], dtype=torch.float64), 10**0.5 * shape
    assert 0.9 * NormKD(2.0)(student, teacher).item() == pytest.approx(9 * LSKD(2.0)(student, teacher).item(), rel=1e-6)
    assert is_right(capsys, "03-equal", teacher.std().item())


def test_factors_are_those_that_torch_and_the_losses_give(capsys, pair):
    s, t = pair
    elements = F.kl_div(s.log_softmax(1), t.softmax(1), reduction="none")
    assert is_right(capsys, "03-mean", (elements.sum() / len(s) / elements.mean()).item())
    sizes = []
    for T in (3200.0, 6400.0):
        student = s.clone().requires_grad_()
        (KD(T)(student, t) / T**2).backward()
        sizes.append(student.grad.norm().item())
    assert is_right(capsys, "03-square", sizes[0] / sizes[1])
    assert is_right(capsys, "03-masks", (MLKD(as_coded=True)(s, t) / MLKD()(s, t)).item())


def test_long_sequences_have_more_votes(capsys):
    s, t = torch.zeros(2, 90, 5), torch.zeros(2, 90, 5)
    t[:, :, 0] = 2.0
    mask = torch.arange(90).expand(2, 90) < torch.tensor([[10], [90]])
    whole = TokenKL(1.0)(s, t, mask)
    t[0] = 0.0  # the short one agrees now
    assert is_right(capsys, "03-tokens", (TokenKL(1.0)(s, t, mask) / whole).item())


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("03-scale", {"Constant"}, "does not follow"),
        ("03-scale", {"Std"}, "another one"),
        ("03-scale", {"Std", "MaxRatio"}, "less than twice"),
        ("03-scale", "Std", "a set of names"),
        ("03-descent", "A", "That is KD"),
        ("03-descent", 3, "a letter"),
        ("03-equal", 10, "the root"),
        ("03-mean", 0.01, "other way round"),
        ("03-square", 2, "second one"),
        ("03-detached", {"loss", "gradient"}, "what does it cut"),
        ("03-masks", 1, "counts those zeros"),
        ("03-tokens", 0.5, "positions are averaged"),
    ],
)
def test_mistakes_get_their_hint(capsys, name, answer, hint):
    assert hint in said(capsys, name, answer)


def test_every_exercise_of_the_notebook_stays_open_without_an_answer(capsys):
    names = [name for name in EXERCISES if name.startswith("03-")]
    assert len(names) == 8
    assert all(said(capsys, name, None).startswith("Open") for name in names)
    assert is_right(capsys, "03-descent", "B") and is_right(capsys, "03-detached", {"gradient"})
