"""Where a neighbour of NormKD equals another loss, and where it must not."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from normkd_explore import losses as L
from normkd_explore.divergence import KL, Correlation, Decoupled, GramMatrices, Normalized
from tests.helpers.neighbours import few, gradient, random_inputs, seeds


@few
@given(seeds)
def test_rld_is_dkd_where_the_teacher_is_right_and_the_temperatures_agree(seed):
    s, t, _ = random_inputs(seed=seed)
    y = t.argmax(dim=1)
    torch.testing.assert_close(L.RLD(1, 8, 4, 4).per_sample(s, t, y), L.DKD(1, 8, 4).per_sample(s, t, y))
    torch.testing.assert_close(L.NormRLD(2, 3, 1.5).per_sample(s, t, y), L.NormDKD(2, 3, 1.5).per_sample(s, t, y))


def test_rld_is_not_dkd_where_the_teacher_is_wrong():
    s, t, _ = random_inputs()
    y = t.argsort(dim=1)[:, -2]
    assert (L.RLD(1, 8, 4, 4).per_sample(s, t, y) - L.DKD(1, 8, 4).per_sample(s, t, y)).abs().min() > 1e-3


def test_rld_does_not_pull_the_student_towards_classes_above_the_true_one():
    """The pull of DKD on the teacher's wrong top class is what RLD leaves out of its ranking part."""
    s, t = torch.zeros(1, 4).double(), torch.tensor([[3.0, 1.0, 0.5, 0.0]]).double()
    slope = gradient(L.RLD(0, 8), s, t, torch.tensor([1]))
    assert (slope[0, :2] == 0).all() and (slope[0, 2:] != 0).all()


@few
@given(seeds, st.floats(0.05, 3.0))
def test_ttm_is_a_temperature_on_the_teacher_alone(seed, exponent):
    s, t, _ = random_inputs(seed=seed)
    torch.testing.assert_close(L.TTM(exponent).per_sample(s, t), KL()(s, exponent * t))
    power_sum = (t.softmax(1) ** exponent).sum(1)
    torch.testing.assert_close(L.WTTM(exponent).per_sample(s, t), power_sum * L.TTM(exponent).per_sample(s, t))


@few
@given(seeds)
def test_nkd_has_the_gradient_of_dkds_other_classes(seed):
    s, t, y = random_inputs(seed=seed)
    torch.testing.assert_close(
        gradient(lambda *a: Normalized(0, 3.5)(*a).mean(), s, t, y),
        gradient(lambda *a: Decoupled(0, 3.5)(*a).mean(), s, t, y),
    )


def test_nkd_on_the_target_is_cross_entropy_times_the_teachers_confidence():
    s, t, y = random_inputs()
    want = t.softmax(1).gather(1, y[:, None]).squeeze(1) * L.CE().per_sample(s, None, y)
    torch.testing.assert_close(L.NKD(0.0).per_sample(s, t, y), want)


def test_atlc_is_lskd_at_its_own_temperature():
    s, t, _ = random_inputs()
    for i in range(6):
        one = slice(i, i + 1)
        peak = max(((z[i] - z[i].mean()) / z[i].std()).abs().max().item() for z in (s, t))
        tau = (1 + 3**0.5) / 2 * peak
        assert L.ATLC()(s[one], t[one]).item() == pytest.approx(L.LSKD(tau)(s[one], t[one]).item(), rel=1e-6)


def test_dtkd_is_kd_where_the_largest_logits_agree():
    s, t, _ = random_inputs()
    s, t = s - s.amax(1, keepdim=True) + 5, t - t.amax(1, keepdim=True) + 5
    torch.testing.assert_close(L.DTKD(4.0).per_sample(s, t), L.KD(4.0).per_sample(s, t))
    torch.testing.assert_close(L.DTKD(4.0, 0.0, 2.0)(s, t), 2 * L.KD(4.0)(s, t))


def test_ctkd_is_kd_at_the_temperature_it_has_reached():
    s, t, _ = random_inputs()
    T = 1 + 20 / (1 + np.exp(-1.0))
    assert abs(T - 15.62) < 0.005
    assert L.CTKD()(s, t).item() == pytest.approx(L.KD(T)(s, t).item(), rel=1e-9)


@few
@given(seeds, st.floats(0.05, 1))
def test_dist_asks_for_correlation_alone(seed, share):
    """A prediction mixed with the uniform one correlates fully with it, where the published eps is left out."""
    _, t, _ = random_inputs(seed=seed)
    mixed = (share * t.softmax(1) + (1 - share) / 12).log()
    np.testing.assert_allclose(Correlation(1, 1, eps=0)(mixed, t).numpy(), 0, atol=1e-9)
    assert KL()(0.5 * mixed, t).min() > 1e-5


def test_mlkd_is_kd_plus_its_gram_matrices():
    s, t, _ = random_inputs()
    want = sum(L.KD(T)(s, t) + GramMatrices()(s / T, t / T).mean() for T in (4, 2, 3, 5, 6))
    torch.testing.assert_close(L.MLKD()(s, t), want)
    torch.testing.assert_close(GramMatrices(2, 0)(s, t) + GramMatrices(0, 3)(s, t), GramMatrices(2, 3)(s, t))


def test_mlkd_as_coded_is_half_of_it_for_an_even_number_of_samples_and_classes():
    s, t, _ = random_inputs(6, 12)
    torch.testing.assert_close(L.MLKD(as_coded=True)(s, t), L.MLKD()(s, t) / 2)


def test_bild_sees_only_the_top_classes():
    s, t, _ = random_inputs(classes=30)
    low = torch.ones(6, 30).double().scatter(1, torch.cat([s.topk(8).indices, t.topk(8).indices], 1), 0.0)
    torch.testing.assert_close(L.BiLD()(s - 50 * low, t - 70 * low), L.BiLD()(s, t))
    assert abs(L.KD()(s - 50 * low, t - 70 * low) - L.KD()(s, t)) > 1e-3
