"""Divergences: definitions, identities, extremes."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkd_explore.divergence import KL, Decoupled, PowerTransformed, Refined, split_at_target


def random_inputs(batch: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    s, t = rng.normal(0, 1.5, (2, batch, classes))
    return torch.from_numpy(s), torch.from_numpy(t), torch.from_numpy(rng.integers(0, classes, batch))


def softmax(z: torch.Tensor) -> np.ndarray:
    e = np.exp(z.detach().numpy())
    return e / e.sum(axis=1, keepdims=True)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 20), st.integers(2, 40), st.integers(0, 1000))
def test_kl_equals_its_definition(batch, classes, seed):
    s, t, _ = random_inputs(batch, classes, seed)
    p_s, p_t = softmax(s), softmax(t)
    found = KL()(s, t)
    assert found.shape == (batch,)
    np.testing.assert_allclose(found.numpy(), (p_t * np.log(p_t / p_s)).sum(axis=1), rtol=1e-9, atol=1e-13)


def test_kl_of_equal_predictions_is_zero_and_has_no_gradient():
    s, _, _ = random_inputs(5, 8)
    s.requires_grad_()
    loss = KL()(s, s.detach() + 3.0)
    loss.sum().backward()
    np.testing.assert_allclose(loss.detach().numpy(), 0, atol=1e-14)
    np.testing.assert_allclose(s.grad.numpy(), 0, atol=1e-14)


def test_kl_is_not_symmetric_and_takes_the_teacher_first():
    even, sharp = torch.zeros(1, 2).double(), torch.tensor([[0.0, np.log(9.0)]])
    p = np.array([0.1, 0.9])
    assert KL()(even, sharp).item() == pytest.approx((p * np.log(p / 0.5)).sum())
    assert KL()(sharp, even).item() == pytest.approx((0.5 * np.log(0.5 / p)).sum())


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 10), st.integers(2, 30), st.integers(0, 1000))
def test_split_at_target_equals_its_definition(batch, classes, seed):
    s, _, y = random_inputs(batch, classes, seed)
    binary, others = split_at_target(s, y)
    assert binary.shape == (batch, 2) and others.shape == (batch, classes)
    for p, target, found_binary, found_others in zip(softmax(s), y.tolist(), binary, others, strict=True):
        rest = np.delete(p, target)
        np.testing.assert_allclose(found_binary.exp().numpy(), [p[target], rest.sum()], rtol=1e-10)
        assert found_others[target] == 0
        np.testing.assert_allclose(np.delete(found_others.exp().numpy(), target), rest / rest.sum(), rtol=1e-10)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 10), st.integers(2, 30), st.integers(0, 1000))
def test_kl_is_tckd_plus_the_rest_of_the_teacher_times_nckd(batch, classes, seed):
    s, t, y = random_inputs(batch, classes, seed)
    tckd, nckd = Decoupled(1, 0)(s, t, y), Decoupled(0, 1)(s, t, y)
    rest_t = 1 - torch.from_numpy(softmax(t)).gather(1, y[:, None]).squeeze(1)
    torch.testing.assert_close(KL()(s, t), tckd + rest_t * nckd, rtol=1e-9, atol=1e-12)


def test_alpha_and_beta_are_plain_factors():
    s, t, y = random_inputs(6, 9)
    tckd, nckd = Decoupled(1, 0)(s, t, y), Decoupled(0, 1)(s, t, y)
    torch.testing.assert_close(Decoupled(2.5, 7)(s, t, y), 2.5 * tckd + 7 * nckd)


def test_two_classes_have_no_others_to_compare():
    s, t, y = random_inputs(6, 2)
    s.requires_grad_()
    nckd = Decoupled(0, 1)(s, t, y)
    nckd.sum().backward()
    assert (nckd == 0).all() and (s.grad == 0).all()
    torch.testing.assert_close(Decoupled(1, 8)(s, t, y), KL()(s, t), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_extreme_logits_stay_finite(dtype):
    """log(1 - p[y]) of a p[y] that rounds to 1 is where the published form becomes infinite."""
    corners = torch.tensor([[1e4, -1e4, 0, 3], [-1e4, 1e4, 5, 5], [1e4, 1e4, -1e4, 1e4], [0, 0, 0, 1e4]])
    for i in range(4):
        for label in range(4):
            s = corners.to(dtype, copy=True).requires_grad_()
            t, y = corners.roll(i, 0).to(dtype), torch.full((4,), label)
            for divergence in (KL(), Decoupled(1, 8)):
                loss = divergence(s, t, y)
                (gradient,) = torch.autograd.grad(loss.sum(), s)
                assert torch.isfinite(loss).all() and torch.isfinite(gradient).all()


def test_certain_student_and_doubting_teacher_have_the_limit_value():
    """The teacher gives p[y] = 1/2; the student's 1 - p[y] is about exp(-200), which float32 cannot hold."""
    s, t = torch.tensor([[200.0, 0.0, 0.0]]), torch.tensor([[np.log(2.0), 0.0, 0.0]]).float()
    want = 0.5 * np.log(0.5) + 0.5 * (np.log(0.5) + 200 - np.log(2))
    assert Decoupled(1, 0)(s, t, torch.tensor([0])).item() == pytest.approx(want, rel=1e-6)


def test_differences_between_others_survive_a_huge_target_logit():
    small = torch.tensor([[0.001, 0.002, -0.003]])
    s = torch.cat([torch.tensor([[1e4]]), small], dim=1)
    _, others = split_at_target(s, torch.tensor([0]))
    want = np.log(softmax(small.double()))
    np.testing.assert_allclose(others[:, 1:].numpy(), want, rtol=1e-6)


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_constructor_refuses_negative_factors(name):
    with pytest.raises(ValueError, match=rf"{name} is -1.*0 or more"):
        Decoupled(**{"alpha": 1.0, "beta": 8.0, name: -1})
    with pytest.raises(TypeError, match=rf"{name} is '8'"):
        Decoupled(**{"alpha": 1.0, "beta": 8.0, name: "8"})


@pytest.mark.parametrize("part", [KL(), PowerTransformed(0.5), Decoupled(1, 8), Refined(1, 1)])
def test_a_divergence_cannot_be_changed_under_a_loss(part):
    with pytest.raises(FrozenInstanceError):
        part.alpha = 2.0
    assert hash(part) == hash(replace(part))


def test_words():
    assert repr(KL()) == "KL()" and repr(Decoupled(1, 8)) == "Decoupled(alpha=1.0, beta=8.0)"
    assert Decoupled.needs_target and not KL.needs_target
