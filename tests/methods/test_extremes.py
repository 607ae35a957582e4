"""The neighbours of NormKD at the edge of numbers: half precision, certainty, ties, two classes."""

import pytest
import torch

from normkd_explore import losses as L
from normkd_explore.divergence import Refined
from tests.helpers.neighbours import ALL, gradient, random_inputs


@pytest.mark.parametrize("loss", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32(loss, dtype):
    s, t, y = random_inputs(8, 50, dtype=dtype)
    want = loss(s.double(), t.double(), y).item()
    s.requires_grad_()
    found = loss(s, t, y)
    found.backward()
    assert found.dtype == torch.float32 and found.item() == pytest.approx(want, rel=1e-4, abs=1e-6)
    assert s.grad.dtype == dtype and torch.isfinite(s.grad).all() and s.grad.abs().max() > 0


CORNERS = torch.tensor([[1e4, -1e4, 0.0, 3.0], [-1e4, 1e4, 5.0, 5.0], [1e4, 1e4, -1e4, 1e4], [0.0, 0.0, 0.0, 1e4]])


@pytest.mark.parametrize("loss", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_extreme_confidence_stays_finite(loss, dtype):
    """Probabilities that underflow, for every label and every pairing of student and teacher."""
    for i in range(4):
        for label in range(4):
            s, t, y = CORNERS.to(dtype), CORNERS.roll(i, 0).to(dtype), torch.full((4,), label)
            assert torch.isfinite(loss.per_sample(s, t, y)).all()
            assert torch.isfinite(gradient(loss, s, t, y)).all()


@pytest.mark.parametrize("loss", ALL, ids=repr)
@pytest.mark.parametrize("fill", [0.0, 0.1, -7.3])
def test_rows_of_equal_logits_stay_finite(loss, fill):
    s, t, y = random_inputs(dtype=torch.float32)
    s[0], s[1], t[1], t[2] = fill, fill, fill, 0.1
    assert torch.isfinite(loss.per_sample(s, t, y)).all() and torch.isfinite(gradient(loss, s, t, y)).all()
    everything = torch.full_like(s, fill)
    assert torch.isfinite(gradient(loss, everything, t, y)).all()


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_ties_stay_finite_and_fair(loss):
    s, t, y = random_inputs(classes=6)
    s, t = s.round(), t.round()
    t[0, :], t[0, :3], y[0] = 0.0, 2.0, 0
    assert torch.isfinite(loss.per_sample(s, t, y)).all() and torch.isfinite(gradient(loss, s, t, y)).all()


def test_a_tie_of_the_true_class_leaves_the_tied_class_out():
    s, t = random_inputs(1, 4)[0], torch.tensor([[2.0, 2.0, 1.0, 0.0]]).double()
    slope = gradient(L.RLD(0, 1), s, t, torch.tensor([0]))
    assert (slope[0, :2] == 0).all() and (slope[0, 2:] != 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_rld_has_nothing_to_rank_below_the_teachers_lowest_class(dtype):
    s, t, _ = random_inputs(dtype=dtype)
    y = t.argmin(dim=1)
    assert (Refined(0, 1)(s, t, y) == 0).all() and (gradient(L.RLD(0.0, 8.0), s, t, y) == 0).all()
    y[0] = t[0].argmax()
    slope = gradient(L.RLD(0.0, 8.0), s, t, y)
    assert slope[0].abs().max() > 0 and (slope[1:] == 0).all()


CLASSICS = [L.KD(), L.NormKD(), L.DKD(), L.NormDKD(), L.LSKD()]


@pytest.mark.parametrize("loss", [*ALL, *CLASSICS], ids=repr)
def test_a_teacher_wrong_on_every_sample_is_survived(loss):
    s, t, _ = random_inputs(dtype=torch.float32)
    y = (t.argmax(dim=1) + 1) % 12
    t = t.scatter(1, t.argmax(dim=1, keepdim=True), 500.0)
    assert torch.isfinite(loss.per_sample(s, t, y)).all() and gradient(loss, s, t, y).abs().max() > 0


TWO = [L.RLD(), L.DTKD(), L.CTKD(), L.DIST(), L.MLKD(), L.TTM(0.5), L.WTTM(0.5), L.NKD()]
TWO += [L.JSD(), L.SKL(), L.SRKL(), L.ABKD(), L.TAID(), L.WKD()]
THREE = [L.NormRLD(), L.ATLC(), L.NormDIST(), L.NormMLKD(), L.BiLD(), L.NormBiLD()]


@pytest.mark.parametrize("loss", TWO, ids=repr)
def test_two_classes(loss):
    s, t, y = random_inputs(classes=2)
    assert torch.isfinite(loss(s, t, y)) and gradient(loss, s, t, y).abs().max() > 0


@pytest.mark.parametrize("loss", THREE, ids=repr)
def test_two_classes_are_refused_and_three_are_not(loss):
    with pytest.raises(ValueError, match=r"2 classes, wanted at least 3.*KD\(temperature"):
        loss(*random_inputs(classes=2))
    assert gradient(loss, *random_inputs(classes=3)).abs().max() > 0


def test_bild_takes_all_classes_where_there_are_fewer_than_k():
    s, t, _ = random_inputs(classes=5)
    torch.testing.assert_close(L.BiLD(8)(s, t), L.BiLD(5)(s, t))
