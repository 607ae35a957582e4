"""Temperature policies: their numbers, their treatment of rows without spread, their words."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkd_explore.temperature import Constant, Softening, Std, row_std
from tests.helpers.logits import random_pair


def test_constant_gives_every_sample_the_same():
    z_s, z_t = random_pair()
    softening = Constant(4)(z_s, z_t)
    assert isinstance(softening, Softening)
    for field, value in zip(softening, (4.0, 4.0, 16.0), strict=True):
        assert field.shape == (4, 1) and field.dtype == torch.float64
        assert (field == value).all()


@pytest.mark.parametrize("eps", [0.0, 0.25])
def test_std_is_the_sample_standard_deviation_of_each_row(eps):
    z_s, z_t = random_pair()
    T_s, T_t, weight = Std(1.5, eps=eps)(z_s, z_t)
    want_s = 1.5 * (z_s.numpy().std(axis=1, ddof=1, keepdims=True) + eps)
    want_t = 1.5 * (z_t.numpy().std(axis=1, ddof=1, keepdims=True) + eps)
    np.testing.assert_allclose(T_s.numpy(), want_s, rtol=1e-12)
    np.testing.assert_allclose(T_t.numpy(), want_t, rtol=1e-12)
    np.testing.assert_allclose(weight.numpy(), want_t**2, rtol=1e-12)


def test_constant_weight_is_t_norm_squared():
    _, _, weight = Std(3.0, weight="constant")(*random_pair())
    assert weight.shape == (4, 1) and (weight == 9.0).all()


def test_student_temperature_is_differentiable():
    z_s, z_t = random_pair()
    T_s, _, _ = Std(2.0)(z_s.requires_grad_(), z_t)
    (gradient,) = torch.autograd.grad(T_s.sum(), z_s)
    z = z_s.detach().numpy()
    centred = z - z.mean(axis=1, keepdims=True)
    want = 2.0 * centred / (z.shape[1] - 1) / z.std(axis=1, ddof=1, keepdims=True)
    np.testing.assert_allclose(gradient.numpy(), want, rtol=1e-10)


FLAT_ROWS = {
    "zeros": lambda dtype: torch.zeros(100, dtype=dtype),
    "0.1 repeated": lambda dtype: torch.full((100,), 0.1, dtype=dtype),
    "large": lambda dtype: torch.full((100,), 12345.678, dtype=dtype),
    "one rounding step apart": lambda dtype: 0.1 * (1 + torch.finfo(dtype).eps * (torch.arange(100, dtype=dtype) % 3)),
    "squares underflow": lambda dtype: torch.linspace(-1, 1, 100, dtype=dtype) * torch.finfo(dtype).tiny ** 0.8,
}


@pytest.mark.parametrize("make_row", FLAT_ROWS.values(), ids=FLAT_ROWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_rows_without_spread_get_a_constant_divisor(make_row, dtype):
    z = torch.stack([make_row(dtype), torch.linspace(-1, 2, 100, dtype=dtype)]).requires_grad_()
    std, flat = row_std(z)
    std.sum().backward()
    assert flat.flatten().tolist() == [True, False]
    assert std[0].item() == 1.0
    assert (z.grad[0] == 0).all() and torch.isfinite(z.grad).all() and z.grad[1].abs().sum() > 0


def test_small_but_real_spread_is_kept():
    z = 1e-4 * torch.from_numpy(np.random.default_rng(0).normal(size=(3, 50))).float()
    std, flat = row_std(z)
    assert not flat.any()
    np.testing.assert_allclose(std.numpy(), z.double().numpy().std(axis=1, ddof=1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
@pytest.mark.parametrize("classes", [3, 1000, 150_000])
def test_many_classes_and_a_large_shift_cost_no_digits(classes, shift):
    z = (shift + 2 * np.random.default_rng(0).normal(size=(4, classes))).astype(np.float32)
    leaf = torch.from_numpy(z).requires_grad_()
    std, flat = row_std(leaf)
    exact = z.astype(np.float64)
    want = exact.std(axis=1, ddof=1, keepdims=True)
    assert not flat.any()
    np.testing.assert_allclose(std.detach().numpy(), want, rtol=3e-7)
    (slope,) = torch.autograd.grad(std.sum(), leaf)
    want_slope = (exact - exact.mean(axis=1, keepdims=True)) / (classes - 1) / want
    np.testing.assert_allclose(slope.numpy(), want_slope, rtol=0, atol=2e-6 * np.abs(want_slope).max())


def test_std_of_huge_equal_logits_overflows_nowhere():
    z = torch.full((2, 50), 4e37).requires_grad_()
    std, flat = row_std(z)
    (slope,) = torch.autograd.grad(std.sum(), z)
    assert flat.all() and (std == 1).all() and (slope == 0).all()


def test_std_has_second_derivatives_and_goes_through_vmap():
    z, _ = random_pair()
    assert torch.autograd.gradgradcheck(lambda z: row_std(z)[0], (z.clone().requires_grad_(),))
    slopes = torch.func.vmap(torch.func.grad(lambda row: row_std(row[None])[0].sum()))(z)
    leaf = z.clone().requires_grad_()
    torch.testing.assert_close(slopes, torch.autograd.grad(row_std(leaf)[0].sum(), leaf)[0])


def test_teacher_without_spread_counts_nothing_under_its_own_weight_only():
    z_s, z_t = random_pair()
    z_t[2] = 0.3
    _, T_t, weight = Std(2.0)(z_s, z_t)
    assert weight[2].item() == 0.0 and T_t[2].item() == 2.0 and (weight[[0, 1, 3]] > 0).all()
    _, _, weight = Std(2.0, weight="constant")(z_s, z_t)
    assert (weight == 4.0).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_temperature_follows_scale_and_ignores_shift(seed, scale, shift):
    z_s, z_t = random_pair(seed=seed)
    plain, changed = Std(2.0)(z_s, z_t), Std(2.0)(scale * z_s + shift, z_t)
    torch.testing.assert_close(changed.T_s, scale * plain.T_s, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(changed.T_t, plain.T_t)
    torch.testing.assert_close(changed.weight, plain.weight)


@pytest.mark.parametrize("classes", [1, 2])
def test_too_few_classes_for_a_standard_deviation(classes):
    with pytest.raises(ValueError, match=rf"{classes} classes.*at least 3.*piecewise constant.*KD\(temperature"):
        Std(2.0)(torch.randn(4, classes), torch.randn(4, classes))


def test_two_z_scores_are_always_the_same():
    """The reason for the error above."""
    z = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scores = (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True)
    np.testing.assert_allclose(scores.abs().numpy(), 0.5**0.5, rtol=1e-9)


@pytest.mark.parametrize("make", [Constant, Std], ids=["Constant", "Std"])
@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (0, ValueError, "above 0"),
        (-1.0, ValueError, "above 0"),
        (float("nan"), ValueError, "finite"),
        (float("inf"), ValueError, "finite"),
        ("2", TypeError, "plain number"),
        (True, TypeError, "plain number"),
        (None, TypeError, "plain number"),
        (torch.tensor(2.0), TypeError, "plain number"),
    ],
    ids=str,
)
def test_constructors_refuse_bad_temperatures(make, value, error, words):
    with pytest.raises(error, match=rf"(temperature|t_norm) is .*{words}"):
        make(value)


def test_constructor_refuses_bad_weight_and_eps():
    with pytest.raises(ValueError, match=r"weight is 'student'.*teacher.*constant"):
        Std(2.0, weight="student")
    with pytest.raises(ValueError, match=r"eps is -1e-07.*0 or more"):
        Std(2.0, eps=-1e-7)


def test_words():
    assert repr(Constant(4)) == "Constant(temperature=4.0, weight='alike')"
    assert repr(Std(np.float32(2))) == "Std(t_norm=2.0, weight='teacher', eps=0.0)"
    assert "T = 4" in Constant(4).describe() and "T² = 16" in Constant(4).describe()
    assert "2 · std(z)" in Std(2.0).describe() and "square of the teacher's T" in Std(2.0).describe()
    lskd = Std(3.0, weight="constant", eps=1e-7).describe()
    assert "3 · (std(z) + 1e-07)" in lskd and "counts 9 times" in lskd
    for text in (Constant(4).describe(), Std(2.0).describe(), lskd):
        assert text.endswith(".") and "\n" not in text


def test_policies_are_values():
    assert Std(2) == Std(2.0) and Constant(3) != Constant(4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Constant(4.0).temperature = 5.0
