"""Softened predictions, weights and gradients, against plain numpy, finite differences and identities."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from normkd_explore.analysis import methods_at, soften
from normkd_explore.figures import rounded, softening_picture
from normkd_explore.temperature import Constant, Std

LOGITS_S = np.array([[2.0, 0.5, -1.0, 0.0, 1.5], [0.3, 1.2, 0.7, -0.4, -1.8], [-0.5, 0.1, 0.9, 2.2, -0.7]])
LOGITS_T = np.array([[4.0, 1.0, -2.0, 0.5, 2.5], [1.0, 0.2, 3.0, -1.0, -3.2], [0.0, -0.6, 1.4, 5.0, -1.8]])


def numpy_softmax(logits_BC, temperature_B1):
    powers_BC = np.exp(logits_BC / temperature_B1)
    return powers_BC / powers_BC.sum(axis=1, keepdims=True)


def numpy_normkd(logits_t_BC, logits_s_BC, t_norm):
    T_t_B1 = t_norm * logits_t_BC.std(axis=1, ddof=1, keepdims=True)
    T_s_B1 = t_norm * logits_s_BC.std(axis=1, ddof=1, keepdims=True)
    p_BC, q_BC = numpy_softmax(logits_t_BC, T_t_B1), numpy_softmax(logits_s_BC, T_s_B1)
    return T_t_B1[:, 0] ** 2, (p_BC * np.log(p_BC / q_BC)).sum(axis=1), p_BC, q_BC


def test_normkd_is_what_numpy_says():
    view = soften(LOGITS_T, LOGITS_S, Std(2.0))
    weight_B, kl_B, p_BC, q_BC = numpy_normkd(LOGITS_T, LOGITS_S, 2.0)
    np.testing.assert_allclose(view.std_t_B, [2.252776065, 2.306512519, 2.615339366], rtol=1e-9)
    np.testing.assert_allclose(view.std_s_B, [1.193733639, 1.164044673, 1.183215957], rtol=1e-9)
    np.testing.assert_allclose(view.weight_B, weight_B, rtol=1e-12)
    np.testing.assert_allclose(view.kl_B, kl_B, rtol=1e-12)
    np.testing.assert_allclose(view.probs_t_BC, p_BC, rtol=1e-12)
    np.testing.assert_allclose(view.probs_s_BC, q_BC, rtol=1e-12)
    np.testing.assert_allclose(view.entropy_s_B, -(q_BC * np.log(q_BC)).sum(axis=1), rtol=1e-12)
    assert view.loss_B.mean() == pytest.approx(0.39244731, abs=5e-9)


def test_kd_gradient_is_temperature_times_the_difference_of_predictions():
    view = soften(LOGITS_T, LOGITS_S, Constant(4.0))
    difference_BC = numpy_softmax(LOGITS_S, 4.0) - numpy_softmax(LOGITS_T, 4.0)
    np.testing.assert_allclose(view.gradient_BC, 4.0 * difference_BC, rtol=1e-12)


@pytest.mark.parametrize("method", ["raw", "kd", "normkd", "lskd"])
def test_gradient_agrees_with_finite_differences(method):
    policy, step = methods_at(3.0, 1.5)[method], 1e-5
    gradient_BC = soften(LOGITS_T, LOGITS_S, policy).gradient_BC
    for c in range(LOGITS_S.shape[1]):
        ahead, behind = LOGITS_S.copy(), LOGITS_S.copy()
        ahead[:, c] += step
        behind[:, c] -= step
        slope_B = soften(LOGITS_T, ahead, policy).loss_B - soften(LOGITS_T, behind, policy).loss_B
        np.testing.assert_allclose(slope_B / (2 * step), gradient_BC[:, c], atol=1e-8)


rows = arrays(np.float64, (4, 6), elements=st.floats(-12, 12, width=32))


@settings(deadline=None, max_examples=40)
@given(rows, rows, st.floats(0.2, 5))
def test_normkd_gradient_ignores_shift_and_scale_of_the_student(logits_t, logits_s, t_norm):
    ramp = np.arange(6.0)
    view = soften(logits_t + ramp, logits_s + 3 * ramp[::-1], Std(t_norm))
    size = np.abs(view.gradient_BC).max() + 1e-12
    if view.std_s_B.min() > 1e-3:
        np.testing.assert_allclose(view.gradient_BC.sum(axis=1) / size, 0, atol=1e-8)
        np.testing.assert_allclose((view.gradient_BC * (logits_s + 3 * ramp[::-1])).sum(axis=1) / size, 0, atol=1e-6)


def test_lskd_shares_normkds_predictions_and_differs_in_the_weight():
    methods = methods_at(t_norm=2.0)
    normkd, lskd = (soften(LOGITS_T, LOGITS_S, methods[name]) for name in ("normkd", "lskd"))
    np.testing.assert_allclose(lskd.probs_t_BC, normkd.probs_t_BC, rtol=1e-6)
    np.testing.assert_allclose(lskd.weight_B, 4.0)
    np.testing.assert_allclose(normkd.loss_B, lskd.loss_B * normkd.std_t_B**2, rtol=1e-5)


def test_equal_logits_have_std_zero_and_finite_values():
    flat = np.full((1, 5), 3.0)
    view = soften(flat, LOGITS_S[:1], Std(2.0))
    assert view.std_t_B == 0 and view.weight_B == 0
    np.testing.assert_allclose(view.probs_t_BC, 0.2)
    assert np.isfinite(view.gradient_BC).all()
    assert np.isfinite(soften(LOGITS_T[:1], flat, Std(2.0)).gradient_BC).all()


def test_inputs_stay_as_they_were_and_outputs_are_independent():
    logits_s = torch.tensor(LOGITS_S, requires_grad=True)
    view = soften(torch.tensor(LOGITS_T), logits_s, Constant(1.0))
    assert logits_s.grad is None and logits_s.requires_grad
    view.temperature_t_B[0] = 9
    assert view.temperature_s_B[0] == 1


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ValueError, match="same shape"):
        soften(LOGITS_T, LOGITS_S[:, :4], Constant(1.0))


def test_picture_shows_both_methods_predictions_in_the_teachers_order():
    softened = {name: soften(LOGITS_T, LOGITS_S, policy) for name, policy in methods_at().items()}
    kept = {name: softened[name] for name in ("kd", "normkd")}
    root = ET.fromstring(str(softening_picture(kept, list("abcde"), ["A", "B", "C"])))
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    order = [0, 4, 1, 3, 2]
    p_C = numpy_softmax(LOGITS_T, 4.0)[0, order]
    first = texts.index("A, KD, T 4.00")
    assert texts[first + 2 : first + 12 : 2] == ["abcde"[c] for c in order]
    assert texts[first + 3 : first + 13 : 2] == [f"{p:.3f}" for p in p_C]
    classes = np.exp(-(p_C * np.log(p_C)).sum())
    assert texts[first + 1] == f"{classes:.1f} effective classes, too flat"
    assert sum(text.startswith(("A, ", "B, ", "C, ")) for text in texts) == 6
    # One axis for all bars: their lengths are in proportion to the probabilities.
    bars = [node for node in root.iter("{http://www.w3.org/2000/svg}rect") if node.get("height") == "7"]
    lengths = np.array([float(bar.get("width")) for bar in bars[0:10:2]])
    np.testing.assert_allclose(lengths / lengths[0], p_C / p_C[0], atol=2e-3)


def test_rounded_numbers_are_plain_and_without_negative_zero():
    values = rounded(np.array([-1e-9, 0.123456], dtype=np.float32))
    assert values == [0.0, 0.1235] and str(values[0]) == "0.0"
