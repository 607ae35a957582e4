"""A teacher's top k in the place of all logits: exact where it can be, close where it cannot, and never silent."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from normkd_explore.divergence import KL, ReverseKL
from normkd_explore.language import TokenBiLD, TokenKL, TokenLoss, TokenNormKD, TokenReverseKL, TopK
from normkd_explore.losses import NormKD
from normkd_explore.temperature import Constant, MaxLogit, Std, Unweighted

V, K = 40, 6


def inputs(shape=(3, 5, V)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    s, t = (scale * torch.randn(shape, generator=generator, dtype=torch.float64) for scale in (1.5, 3.0))
    return s.requires_grad_(), t


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def lumped(p: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The probabilities of the kept classes, and that of all others as one more."""
    kept = np.take_along_axis(p, index, -1)
    return np.concatenate([kept, 1 - kept.sum(-1, keepdims=True)], -1)


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return float((p * np.log(p / q)).sum(-1).mean())


def in_numpy(s, t, k):
    z_s, z_t = s.detach().numpy(), t.numpy()
    return z_s, z_t, np.argsort(-z_t, -1)[..., :k]


def test_rest_is_exact_at_temperature_one():
    s, t = inputs()
    z_s, z_t, index = in_numpy(s, t, K)
    wanted = kl(lumped(softmax(z_t), index), lumped(softmax(z_s), index))
    found = TokenKL(1.0)(s, TopK.of(t, K))
    assert found.item() == pytest.approx(wanted, rel=1e-9)
    assert found.item() < TokenKL(1.0)(s, t).item()  # to lump classes together never adds divergence


@pytest.mark.parametrize("T", [0.5, 1.0, 3.0, 20.0])
def test_with_one_class_left_over_nothing_is_lost(T):
    """k = V - 1: the rest is a class of its own, at every temperature, for value and gradient."""
    s, t = inputs()
    for make in (TokenKL, TokenReverseKL, TokenNormKD):
        wanted, found = make(T)(s, t), make(T)(s, TopK.of(t, V - 1))
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
        slopes = [torch.autograd.grad(value, s)[0] for value in (make(T)(s, t), make(T)(s, TopK.of(t, V - 1)))]
        torch.testing.assert_close(*slopes, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(("T", "allowed"), [(0.5, 0.15), (2.0, 0.04), (4.0, 0.02), (50.0, 1e-4)])
def test_rest_is_close_at_other_temperatures(T, allowed):
    """The teacher's mass of the rest against that of all logits, at each of 200 positions; and the loss it makes."""
    s, t = inputs((4, 50, V))
    z_s, z_t, index = in_numpy(s, t, K)
    top, p_t, p_s = TopK.of(t, K), *(softmax(z / T) for z in (z_t, z_s))
    rest = top.rest_at(torch.full(t.shape[:-1], 1 / T, dtype=torch.float64)).numpy()
    kept = np.exp(top.values.numpy() / T).sum(-1)
    assert np.abs(np.exp(rest) / (np.exp(rest) + kept) - lumped(p_t, index)[..., -1]).max() < allowed
    wanted = kl(lumped(p_t, index), lumped(p_s, index))
    assert TokenKL(T)(s, top).item() == pytest.approx(wanted, rel=allowed)


def test_renormalised_leaves_the_others_out_on_both_sides():
    s, t = inputs()
    z_s, z_t, index = in_numpy(s, t, K)
    p, q = (softmax(np.take_along_axis(z, index, -1) / 2.0) for z in (z_t, z_s))
    top = TopK.of(t, K, "renormalised")
    loss = TokenKL(2.0)(s, top)
    assert loss.item() == pytest.approx(kl(p, q), rel=1e-9)
    loss.backward()
    seen = torch.zeros_like(s, dtype=torch.bool).scatter(-1, top.index, True)
    assert (s.grad[~seen] == 0).all() and (s.grad[seen] != 0).all()
    rest = torch.autograd.grad(TokenKL(2.0)(s, top.with_mass("rest")), s)[0]
    assert (rest[~seen] != 0).all()


def test_standard_deviation_of_all_and_of_those_kept():
    s, t = inputs()
    z_s, z_t, index = in_numpy(s, t, K)
    np.testing.assert_allclose(TopK.of(t, K).std().numpy(), z_t.std(-1, ddof=1), rtol=1e-9)
    for spread, pick in (("all", lambda z: z), ("kept", lambda z: np.take_along_axis(z, index, -1))):
        T_s, T_t = (2 * pick(z).std(-1, ddof=1)[..., None] for z in (z_s, z_t))
        p, q = (softmax(np.take_along_axis(z, index, -1) / T) for z, T in ((z_t, T_t), (z_s, T_s)))
        wanted = float((T_t[..., 0] ** 2 * (p * np.log(p / q)).sum(-1)).mean())
        found = TokenNormKD(2.0)(s, TopK.of(t, K, "renormalised", spread))
        assert found.item() == pytest.approx(wanted, rel=1e-9)


LOSSES = {
    "kl": lambda: TokenKL(2.0),
    "reverse": lambda: TokenReverseKL(2.0),
    "normkd": lambda: TokenNormKD(2.0),
    "weighted by variance": lambda: TokenLoss(Constant(2.0, "variance"), KL()),
    "z-scores": lambda: TokenLoss(Unweighted(Std(2.0)), ReverseKL()),
}


@pytest.mark.parametrize("mass", ["rest", "renormalised"])
@pytest.mark.parametrize("spread", ["all", "kept"])
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name, mass, spread):
    s, t = inputs((1, 3, 9))
    top = TopK.of(t, 4, mass, spread)
    loss, step = LOSSES[name](), 1e-6
    (slope,) = torch.autograd.grad(loss(s, top), s)
    with torch.no_grad():
        for place in range(0, s.numel(), 4):
            apart = torch.zeros(s.numel(), dtype=s.dtype).index_fill_(0, torch.tensor([place]), step).view_as(s)
            found = (loss(s + apart, top) - loss(s - apart, top)) / (2 * step)
            assert slope.flatten()[place].item() == pytest.approx(found.item(), rel=1e-5, abs=1e-8)


def test_positions_are_left_out_and_a_shift_changes_nothing():
    s, t = inputs()
    mask = torch.arange(15).view(3, 5) % 3 > 0
    top, shifted = TopK.of(t, K), TopK.of(t + 100.0, K)
    wanted = TokenNormKD(2.0)(s[mask][None], top[mask][None].to("cpu"))
    torch.testing.assert_close(TokenNormKD(2.0)(s, top, mask), wanted)
    torch.testing.assert_close(TokenNormKD(2.0)(s, shifted, mask), wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_students_are_compared_in_float32(dtype):
    s, t = inputs((4, 100, V))
    half = s.detach().to(dtype).requires_grad_()
    wanted = TokenNormKD(2.0)(half.detach().float(), TopK.of(t.float(), K))
    found = TokenNormKD(2.0)(half, TopK.of(t.float(), K))
    (1024 * found).backward()
    assert found.dtype == torch.float32 and found.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert half.grad.dtype == dtype and torch.isfinite(half.grad).all()


def test_a_teacher_without_an_opinion_is_finite():
    s, _ = inputs()
    found = TokenNormKD(2.0)(s, TopK.of(torch.zeros_like(s), K))
    found.backward()
    assert found.item() == pytest.approx(0, abs=1e-9) and torch.isfinite(s.grad).all()


def test_bias_of_the_gradient_falls_with_k():
    """What most of the work of the rest class is for: the direction of the full gradient."""
    s, t = inputs((4, 50, V))
    (full,) = torch.autograd.grad(TokenKL(1.0)(s, t), s)

    def off(k, mass):
        (found,) = torch.autograd.grad(TokenKL(1.0)(s, TopK.of(t, k, mass)), s)
        return ((found - full).norm() / full.norm()).item()

    errors = [off(k, "rest") for k in (4, 8, 16, 32)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.01
    assert all(off(k, "rest") < off(k, "renormalised") for k in (4, 8, 16, 32))


BAD = {
    "k too large": (lambda s, t: TopK.of(t, V), ValueError, r"k is 40, wanted between 3 and 39"),
    "k too small": (lambda s, t: TopK.of(t, 2), ValueError, "k is 2, wanted"),
    "other word": (lambda s, t: TopK.of(t, K, "lost"), ValueError, "mass is 'lost', wanted one of rest, renormalised"),
    "other spread": (lambda s, t: TopK.of(t, K, "rest", "some"), ValueError, "spread is 'some'"),
    "other vocabulary": (lambda s, t: TokenKL()(s[..., 1:], TopK.of(t, K)), ValueError, "the tokenizer that it was"),
    "other positions": (lambda s, t: TokenKL()(s[:, 1:], TopK.of(t, K)), ValueError, r"belongs to \(3, 5, 40\)"),
    "consumed": (
        lambda s, t: TokenKL(consume_teacher=True)(s, TopK.of(t, K)),
        ValueError,
        "has no room for a gradient",
    ),
    "BiLD of a rest": (lambda s, t: TokenBiLD(4)(s, TopK.of(t, K)), ValueError, r"with_mass\('renormalised'\)"),
    "other policy": (lambda s, t: TokenLoss(MaxLogit(), KL())(s, TopK.of(t, K)), ValueError, "are not stored"),
    "no logits": (lambda s, t: TokenKL()([1.0], TopK.of(t, K)), TypeError, "logits_student is list"),
    "shapes": (lambda s, t: TopK(t, t.long(), t, t, t, 99), ValueError, r"wanted \(..., k\), \(..., k\) and"),
}


@pytest.mark.parametrize(("call", "error", "words"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call(*inputs())


def test_bild_takes_the_kept_alone():
    s, t = inputs((1, 6, V))
    top = TopK.of(t, K, "renormalised")
    plain = TokenBiLD(4, 2.0)(s.gather(-1, top.index), top.values)
    torch.testing.assert_close(TokenBiLD(4, 2.0)(s, top), plain)


def test_full_logits_are_compared_as_before():
    s, t = inputs()
    torch.testing.assert_close(TokenNormKD(2.0)(s, t), NormKD(2.0)(s.flatten(0, 1), t.flatten(0, 1)))
    assert math.isfinite(TokenKL(2.0)(s, t.float()).item()) and math.isfinite(TokenKL(2.0)(s.float(), t).item())
