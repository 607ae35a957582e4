"""The two Gram distances of MLKD: their definition, both ways to compute them, small differences, and derivatives."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkd_explore.divergence import GramMatrices, batch_gram_B, class_gram, gram_distances
from normkd_explore.divergence.relational import _GramDistances
from normkd_explore.losses import MLKD

BOTH_WAYS = pytest.mark.parametrize("by_samples", [True, False], ids=["by samples", "by classes"])
SHAPES = [(1, 2), (2, 3), (4, 6), (5, 30), (30, 5)]  # (4, 6) is where the two ways cost the same


def predictions(batch: int, classes: int, seed: int = 0, apart: float = 1.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Student and teacher, (B, C) in float64; `apart` is the std of the difference of their logits."""
    rng = np.random.default_rng(seed)
    z_t = rng.normal(0, 2, (batch, classes))
    z_s = z_t + apart * rng.normal(size=(batch, classes))
    return torch.from_numpy(z_s).softmax(1), torch.from_numpy(z_t).softmax(1)


def by_hand(p_s: np.ndarray, p_t: np.ndarray) -> tuple[float, np.ndarray]:
    over_classes = ((p_t.T @ p_t - p_s.T @ p_s) ** 2).sum() / p_s.shape[1]
    return over_classes, ((p_t @ p_t.T - p_s @ p_s.T) ** 2).sum(axis=1)


def slope_by_hand(p_s: np.ndarray, p_t: np.ndarray, weights_B: np.ndarray) -> np.ndarray:
    """Of the class part plus the weighed batch part, for the student's predictions."""
    E_CC, M_BB = p_s.T @ p_s - p_t.T @ p_t, p_s @ p_s.T - p_t @ p_t.T
    H_BB = 2 * weights_B[:, None] * M_BB
    return 4 * p_s @ E_CC / p_s.shape[1] + (H_BB + H_BB.T) @ p_s


@BOTH_WAYS
@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.integers(2, 12), st.integers(0, 1000))
def test_both_ways_equal_the_definition_and_its_gradient(by_samples, batch, classes, seed):
    p_s, p_t = predictions(batch, classes, seed)
    p_s.requires_grad_()
    weights_B = np.random.default_rng(seed).normal(size=batch)
    over_classes, over_batch_B, *_ = _GramDistances.apply(p_s, p_t, by_samples)
    want_classes, want_B = by_hand(p_s.detach().numpy(), p_t.numpy())
    assert over_classes.item() == pytest.approx(want_classes, rel=1e-9, abs=1e-15)
    np.testing.assert_allclose(over_batch_B.detach().numpy(), want_B, rtol=1e-9, atol=1e-15)
    total = over_classes + (torch.from_numpy(weights_B) * over_batch_B).sum()
    (slope,) = torch.autograd.grad(total, p_s)
    want = slope_by_hand(p_s.detach().numpy(), p_t.numpy(), weights_B)
    np.testing.assert_allclose(slope.numpy(), want, rtol=1e-8, atol=1e-12)


@BOTH_WAYS
@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
def test_first_and_second_derivatives_for_both_networks(by_samples, shape):
    inputs = tuple(p.requires_grad_() for p in predictions(*shape))
    assert torch.autograd.gradcheck(lambda *p: _GramDistances.apply(*p, by_samples)[:2], inputs)
    assert torch.autograd.gradgradcheck(lambda *p: _GramDistances.apply(*p, by_samples)[:2], inputs)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_part_alone_and_as_a_divergence(shape):
    p_s, p_t = predictions(*shape)
    want_classes, want_B = by_hand(p_s.numpy(), p_t.numpy())
    assert class_gram(p_s, p_t).item() == pytest.approx(want_classes, rel=1e-9)
    np.testing.assert_allclose(batch_gram_B(p_s, p_t).numpy(), want_B, rtol=1e-9)
    found_B = GramMatrices(2.0, 3.0)(p_s.log() + 1.0, p_t.log())
    np.testing.assert_allclose(found_B.numpy(), 2 * want_classes + 3 * want_B, rtol=1e-9)


@BOTH_WAYS
@pytest.mark.parametrize("apart", [1.0, 1e-2, 1e-4])
def test_float32_keeps_its_digits_where_the_networks_nearly_agree(by_samples, apart):
    """The difference of two finished Gram matrices loses them: at 1e-4 its gradient is wrong in the third digit."""
    p_s, p_t = (p.float() for p in predictions(64, 100, apart=apart))
    p_s.requires_grad_()
    over_classes, over_batch_B, *_ = _GramDistances.apply(p_s, p_t, by_samples)
    (slope,) = torch.autograd.grad(over_classes + over_batch_B.sum(), p_s)
    exact_s, exact_t = p_s.detach().double().numpy(), p_t.double().numpy()
    want_classes, want_B = by_hand(exact_s, exact_t)
    want = slope_by_hand(exact_s, exact_t, np.ones(64))
    assert over_classes.item() == pytest.approx(want_classes, rel=2e-6)
    np.testing.assert_allclose(over_batch_B.detach().numpy(), want_B, rtol=1e-5)
    assert np.abs(slope.numpy() - want).max() < 3e-6 * np.abs(want).max()


@BOTH_WAYS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_equal_predictions_cost_exactly_nothing(by_samples, dtype):
    p = predictions(20, 50)[0].to(dtype).requires_grad_()
    over_classes, over_batch_B, *_ = _GramDistances.apply(p, p.detach().clone(), by_samples)
    (slope,) = torch.autograd.grad(over_classes + over_batch_B.sum(), p)
    assert over_classes == 0 and (over_batch_B == 0).all() and (slope == 0).all()


@BOTH_WAYS
@pytest.mark.parametrize("seed", range(10))
def test_never_negative(by_samples, seed):
    """Samples in another order have the same class Gram matrix: large terms cancel, and rounding stays above 0."""
    p = predictions(30, 8, seed)[0].float()
    over_classes, over_batch_B, *_ = _GramDistances.apply(p, p.roll(1, 0), by_samples)
    assert 0 <= over_classes < 1e-5 and (over_batch_B > 0).all()


@pytest.mark.parametrize("shape", [(4, 30), (30, 4)], ids=str)
def test_autocast_does_not_lower_the_precision(shape):
    p_s, p_t = (p.float().requires_grad_() for p in predictions(*shape))
    want = gram_distances(p_s, p_t)
    with torch.autocast("cpu", torch.bfloat16):
        found = gram_distances(p_s, p_t)
        (slope,) = torch.autograd.grad(found[0] + found[1].sum(), p_s)
    assert torch.equal(found[0], want[0]) and torch.equal(found[1], want[1])
    torch.testing.assert_close(slope, torch.autograd.grad(want[0] + want[1].sum(), p_s)[0])


def test_functions_of_functions_and_compilers_take_it():
    p_s, p_t = predictions(5, 9)
    slope = torch.func.grad(lambda p: class_gram(p, p_t))(p_s)
    np.testing.assert_allclose(slope.numpy(), slope_by_hand(p_s.numpy(), p_t.numpy(), np.zeros(5)), rtol=1e-9)
    generator = torch.Generator().manual_seed(0)
    s, t = 3 * torch.randn(2, 6, 12, generator=generator)
    torch.compiler.reset()
    found = torch.compile(MLKD(), fullgraph=True, backend="aot_eager")(s, t)
    torch.testing.assert_close(found, MLKD()(s, t))
