"""Logits from answers: exact where every class is shown, bounded and monotone where not."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkd_explore.blackbox import AnsweringTeacher, BlackBox, logits_from
from normkd_explore.blackbox.recover import fitted, normal_scores
from normkd_explore.losses import DKD, KD, LSKD, NormDKD, NormKD
from normkd_explore.temperature import Std
from normkd_explore.training import Where, train
from tests.helpers.toy import CLASSES, toy_dataset, toy_recipe

CASES = [KD(4.0), NormKD(2.0), LSKD(2.0), DKD(), NormDKD()]


def rows(seed, count=16, classes=20, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, classes, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("loss", CASES, ids=repr)
def test_full_precision_answers_give_every_loss_and_gradient_exactly(loss):
    z_t, target = rows(0), torch.arange(16) % 20
    answered = logits_from(BlackBox(lambda x: x)(z_t))
    losses, gradients = [], []
    for teacher in (z_t, answered):
        z_s = rows(1).requires_grad_()
        value = loss(z_s, teacher, target)
        losses.append(value.item())
        gradients.append(torch.autograd.grad(value, z_s)[0])
    assert abs(losses[0] - losses[1]) < 1e-12
    assert (gradients[0] - gradients[1]).abs().max() < 1e-12


@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 8.0), shift=st.floats(-50, 50))
@settings(max_examples=40, deadline=None)
def test_log_p_has_the_std_of_z(seed, scale, shift):
    z = rows(seed, 4, 30, scale)
    answered = logits_from(torch.softmax(z + shift, dim=1))
    own, other = Std(2.0)(z, z), Std(2.0)(answered, answered)
    assert (own.T_t - other.T_t).abs().max() < 1e-12 * max(1.0, scale)
    assert ((z - z.mean(1, keepdim=True)) - (answered - answered.mean(1, keepdim=True))).abs().max() < 1e-11


def test_shown_classes_keep_their_log_p_and_hidden_ones_stay_below_what_they_can_be():
    p = torch.softmax(rows(3), dim=1)
    rounded = torch.round(p, decimals=2)
    for remedy in ("epsilon", "floor", "fit"):
        z = logits_from(rounded, remedy, digits=2)
        shown = rounded > 0
        assert (z[shown] - rounded[shown].log()).abs().max() < 1e-12
        assert (z[~shown] <= math.log(0.005) + 1e-12).all()
        top = logits_from(BlackBox(lambda x: x, "top5")(rows(3)), remedy)
        assert (top.argsort(dim=1, descending=True)[:, 0] == p.argmax(dim=1)).all()
    assert torch.allclose(logits_from(rounded, "floor", 2)[~shown], torch.tensor(0.005, dtype=torch.float64).log())
    assert torch.allclose(logits_from(rounded, "epsilon", 2)[~shown], torch.tensor(1e-8, dtype=torch.float64).log())


def test_the_floor_of_top_k_shares_what_is_missing_to_one():
    answer = torch.tensor([[0.6, 0.3, 0.0, 0.0], [0.4, 0.05, 0.0, 0.0]], dtype=torch.float64)
    hidden = logits_from(answer, "floor")[:, 2:].exp()
    assert torch.allclose(hidden[0], torch.tensor(0.05, dtype=torch.float64))
    assert torch.allclose(hidden[1], torch.tensor(0.05, dtype=torch.float64)), (
        "0.275 each would pass the smallest shown"
    )


def test_the_scores_are_bloms():
    wanted = [NormalDist().inv_cdf((10 - r + 1 - 0.375) / 10.25) for r in range(1, 11)]
    assert np.abs(normal_scores(10).numpy() - wanted).max() < 1e-12


def test_the_fit_is_the_least_squares_line_of_the_shown_classes():
    p = torch.softmax(rows(5, 8), dim=1)
    shown = BlackBox(lambda x: x, "top6")(rows(5, 8))
    line = fitted(shown)
    scores = normal_scores(20).numpy()
    for b in range(8):
        order = np.argsort(-p[b].numpy())
        slope, offset = np.polyfit(scores[:6], np.log(p[b].numpy()[order[:6]]), 1)
        assert np.abs(line[b].numpy()[order[:6]] - (offset + slope * scores[:6])).max() < 1e-9
        assert np.abs(np.sort(line[b].numpy()[order[6:]])[::-1] - (offset + slope * scores[6:])).max() < 1e-9


def test_the_fit_finds_the_std_of_normal_rows_from_a_few_classes():
    for sigma in (1.0, 3.0, 6.0):
        z = sigma * normal_scores(100).expand(1, -1) + 2.0
        for kept in ("top1", "top2", "top5", "top30"):
            found = fitted(BlackBox(lambda x: x, kept)(z)).std().item()
            assert found == pytest.approx(z.std().item(), rel=0.01), (sigma, kept)


@pytest.mark.parametrize("remedy", ["epsilon", "floor", "fit"])
def test_no_order_of_hidden_classes_is_made_up(remedy):
    """Students learned the order of the classes' numbers from a fit that gave hidden classes falling values."""
    z = rows(9, 40)
    for answers, digits in (("soft", 2), ("top3", None), ("top1", 4)):
        answer = BlackBox(lambda x: x, answers, digits)(z)
        found = logits_from(answer, remedy, digits)
        for row, shown in zip(found, answer > 0, strict=True):
            hidden = row[~shown]
            assert len(hidden) == 0 or (hidden == hidden[0]).all()
            assert len(hidden) == 0 or hidden[0] <= row[shown].min() + 1e-12


def test_the_fit_gives_hidden_classes_the_mean_of_their_line():
    shown = BlackBox(lambda x: x, "top6")(rows(5, 8))
    found, line = logits_from(shown, "fit"), fitted(shown)
    for b in range(8):
        hidden = shown[b] == 0
        least = math.log(shown[b][~hidden].min())
        wanted = np.minimum(line[b][hidden].numpy(), least).mean()
        assert found[b][hidden][0].item() == pytest.approx(wanted, abs=1e-9)


def test_a_certain_answer_still_has_a_finite_temperature():
    sure = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    for remedy in ("epsilon", "floor", "fit"):
        z = logits_from(sure, remedy, digits=2)
        assert torch.isfinite(z).all() and 0.5 < z.std() < 64
    assert logits_from(sure, "fit", 2).std() < logits_from(sure, "fit", 6).std()


def test_a_row_that_shows_nothing_is_flat_and_counts_nothing():
    nothing = torch.zeros(1, 12, dtype=torch.float64)
    z = logits_from(nothing, "fit", digits=1)
    assert z.std() < 1e-12 and Std(2.0)(z, z).weight.item() == 0.0


@pytest.mark.parametrize(
    ("answers", "error", "message"),
    [
        (torch.tensor([1, 2]), TypeError, "cross-entropy"),
        ([[0.5, 0.5]], TypeError, "found list"),
        (torch.ones(3), ValueError, r"wanted \(B, C\)"),
        (torch.tensor([[0.5, -0.1]]), ValueError, "not logits"),
        (torch.tensor([[0.5, torch.nan]]), ValueError, "not logits"),
    ],
)
def test_what_is_no_answer_is_explained(answers, error, message):
    with pytest.raises(error, match=message):
        logits_from(answers)
    with pytest.raises(ValueError, match="remedy: found 'pray', wanted one of epsilon, floor, fit"):
        logits_from(torch.ones(1, 3), "pray")


def test_an_answering_teacher_trains_a_student_and_is_asked_for_every_picture(tmp_path):
    torch.manual_seed(7)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 12 * 12, CLASSES))
    box = BlackBox(network, digits=3)
    recipe, where = toy_recipe("normkd"), Where(device="cpu")
    summary = train(recipe, tmp_path / "a", where, watch=silent, dataset=toy_dataset(), teacher=AnsweringTeacher(box))
    assert box.queries >= 2 * 56, "two epochs of 56 images"
    other = AnsweringTeacher(BlackBox(network, digits=2))
    train(recipe, tmp_path / "b", where, watch=silent, dataset=toy_dataset(), teacher=other)
    with pytest.raises(ValueError, match="another teacher"):
        train(recipe, tmp_path / "a", where, resume=True, dataset=toy_dataset(), teacher=other)
    assert summary["inputs"]["teacher"]


def silent(*_):
    pass


def test_a_box_that_gives_classes_alone_is_no_teacher():
    with pytest.raises(ValueError, match="cross-entropy"):
        AnsweringTeacher(BlackBox(lambda x: x, "hard"))
