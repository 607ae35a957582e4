"""The further policies: their numbers, their edges, their words, and every one of them with every divergence."""

import numpy as np
import pytest
import torch

from normkd_explore.divergence import (
    KL,
    AlphaBeta,
    Correlation,
    Decoupled,
    Differences,
    GramMatrices,
    Interpolated,
    JensenShannon,
    Normalized,
    PowerTransformed,
    Refined,
    ReverseKL,
    SkewKL,
    SkewReverseKL,
    Transport,
)
from normkd_explore.losses import CTKD, DistillationLoss
from normkd_explore.losses.relational import MultiLevelLoss
from normkd_explore.methods import Settings
from normkd_explore.temperature import Constant, Learned, MaxLogit, MaxRatio, Std, Unweighted, tell_epoch
from normkd_explore.training.objective import Objective
from tests.helpers.logits import random_pair

POLICIES = [
    Constant(2.0),
    Std(2.0),
    Std(2.0, "constant", 1e-7),
    MaxLogit(),
    MaxLogit("teacher", 1.0),
    MaxRatio(4.0),
    Learned(),
    Unweighted(Std(2.0)),
    Unweighted(Learned()),
]
DIVERGENCES = [
    KL(),
    ReverseKL(),
    PowerTransformed(0.3),
    PowerTransformed(0.3, weighted=True),
    Decoupled(1, 8),
    Normalized(1, 1.5),
    Refined(1, 8),
    Correlation(1, 1),
    GramMatrices(),
    Differences(8),
    JensenShannon(0.5),
    SkewKL(0.1),
    SkewReverseKL(0.1),
    AlphaBeta(0.8, 0.3),
    Interpolated(),
    Transport(),
]


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@pytest.mark.parametrize("divergence", DIVERGENCES, ids=repr)
def test_every_policy_goes_with_every_divergence(policy, divergence):
    """The loss is the weighed divergence of the softened logits, and can be learned from."""
    z_s, z_t = random_pair(batch=5, classes=9)
    y = torch.tensor([0, 8, 3, 3, 1])
    loss = DistillationLoss(policy, divergence)
    T_s, T_t, weight = policy(z_s, z_t)
    want = weight.squeeze(1) * divergence(z_s / T_s, z_t / T_t, y)
    torch.testing.assert_close(loss.per_sample(z_s, z_t, y), want)
    leaf = z_s.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(leaf, z_t, y), leaf)
    assert torch.isfinite(slope).all() and slope.abs().max() > 1e-6


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_softening_has_the_promised_shape_and_type(policy):
    for dtype in (torch.float32, torch.float64):
        z_s, z_t = (z.to(dtype) for z in random_pair(batch=4))
        for field in policy(z_s, z_t):
            assert field.shape == (4, 1) and field.dtype == dtype and (field > 0).all()


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_describe_is_prose(policy):
    text = policy.describe()
    assert text.endswith(".") and "\n" not in text and len(text) > 40


def z_score(z):
    return (z - z.mean(axis=1, keepdims=True)) / z.std(axis=1, ddof=1, keepdims=True)


@pytest.mark.parametrize(("source", "factor"), [("both", (1 + 3**0.5) / 2), ("teacher", 1.0)])
def test_max_logit_is_the_largest_z_score(source, factor):
    z_s, z_t = random_pair(batch=50)
    T_s, T_t, weight = MaxLogit(source, factor)(z_s, z_t)
    s, t = z_s.numpy(), z_t.numpy()
    peak = np.abs(z_score(t)).max(axis=1, keepdims=True)
    if source == "both":
        assert (np.abs(z_score(s)).max(axis=1, keepdims=True) > peak).any()
        peak = np.maximum(peak, np.abs(z_score(s)).max(axis=1, keepdims=True))
    np.testing.assert_allclose(weight.numpy(), (factor * peak) ** 2, rtol=1e-6)
    np.testing.assert_allclose(T_s.numpy(), factor * peak * s.std(axis=1, ddof=1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(T_t.numpy(), factor * peak * t.std(axis=1, ddof=1, keepdims=True), rtol=1e-6)


def test_max_logit_of_rows_without_spread():
    flat, z = torch.full((1, 5), 0.3), torch.tensor([[0.0, 1.0, 2.0, 3.0, 9.0]])
    peak = ((9 - 3) / z.std()).item()
    assert MaxLogit(factor=1.0)(z, flat).weight.item() == pytest.approx(peak**2, rel=1e-5)
    assert MaxLogit(factor=1.0)(flat, z).weight.item() == pytest.approx(peak**2, rel=1e-5)
    assert MaxLogit("teacher", factor=1.5)(z, flat).weight.item() == pytest.approx(2.25)
    assert MaxLogit(factor=1.5)(flat, flat).weight.item() == pytest.approx(2.25)


def test_max_logit_holds_its_temperature_fixed_and_differentiates_the_std():
    z_s, z_t = random_pair()
    T_s, _, weight = MaxLogit()(z_s.requires_grad_(), z_t)
    assert T_s.requires_grad and not weight.requires_grad


def test_max_ratio_shares_the_temperature_out():
    z_s, z_t = torch.tensor([[3.0, 0, -9], [1.0, 1, 1]]), torch.tensor([[9.0, 1, 2], [1.0, 0, 0]])
    T_s, T_t, weight = MaxRatio(4.0)(z_s, z_t)
    assert T_s.flatten().tolist() == pytest.approx([2.0, 4.0]) and T_t.flatten().tolist() == pytest.approx([6.0, 4.0])
    assert weight.flatten().tolist() == pytest.approx([12.0, 16.0])


BAD_PEAKS = [(-1.0, 2.0), (2.0, -1.0), (-1.0, -1.0), (0.0, 5.0), (1.0, -1.0), (0.0, 0.0), (1e-9, 5.0)]


@pytest.mark.parametrize(("peak_s", "peak_t"), BAD_PEAKS)
def test_max_ratio_where_the_formula_is_undefined_is_plain_kd(peak_s, peak_t):
    z_s, z_t = (torch.tensor([[peak, peak - 1.0, peak - 5.0]]) for peak in (peak_s, peak_t))
    z_s.requires_grad_()
    softening = MaxRatio(4.0)(z_s, z_t)
    assert [field.item() for field in softening] == [4.0, 4.0, 16.0]
    DistillationLoss(MaxRatio(4.0), KL())(z_s, z_t).backward()
    assert torch.isfinite(z_s.grad).all()


@pytest.mark.parametrize(("epoch", "factor"), [(1, 0.0244717), (5, 0.5), (9, 0.9755283), (10, 1.0), (200, 1.0)])
def test_learned_temperature_gets_a_reversed_gradient_that_grows(epoch, factor):
    """A plain theta in plain PyTorch receives g; the policy's receives -factor · g."""
    z_s, z_t = random_pair(batch=6)
    theta = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    T = 1 + 20 * torch.sigmoid(theta)
    p_t = (z_t / T).softmax(1)
    (T**2 * (p_t * (p_t.log() - (z_s / T).log_softmax(1))).sum(1).mean()).backward()
    loss = CTKD()
    loss.set_epoch(epoch, 240)
    loss(z_s, z_t).backward()
    assert loss.policy.theta.grad.item() == pytest.approx(-factor * theta.grad.item(), rel=1e-5)


def test_learned_temperature_climbs_where_the_loss_does():
    z_s, z_t = random_pair(batch=32, classes=10)
    loss = CTKD(start=1.0, end=20.0)
    loss.set_epoch(20, 240)
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.05)
    before = loss(z_s, z_t)
    assert loss.policy.temperature().item() == pytest.approx(15.62, abs=0.005)
    for _ in range(20):
        optimizer.zero_grad()
        loss(z_s, z_t).backward()
        optimizer.step()
    assert loss(z_s, z_t) > before
    assert 1 < loss.policy.temperature() < 21 and loss.policy.temperature().item() != pytest.approx(15.62, abs=0.01)
    assert f"now {loss.policy.temperature().item():.4g}" in loss.policy.describe()


def test_epoch_reaches_the_policy_through_every_wrapper():
    inner = Learned()
    objective = Objective("ctkd", Settings({"start": 1.0, "end": 20.0, "ramp": 4.0}, 0.1, 0.9), epochs=8)
    z_s, z_t = (z.float() for z in random_pair())
    for epoch, want in ((1, -0.1464466), (2, -0.5), (4, -1.0), (8, -1.0)):
        objective(z_s, z_t, torch.tensor([0, 1, 2, 3]), epoch)
        assert objective.distillation.policy.reversal.item() == pytest.approx(want)
        DistillationLoss(Unweighted(inner), KL()).set_epoch(epoch, 8)
        assert inner.reversal.item() == pytest.approx(-(1 - np.cos(np.pi * epoch / 10)) / 2, rel=1e-5)
    tell_epoch(Constant(4.0), 1, 8)  # has no hook: nothing happens
    assert "reversal" not in "".join(objective.state_dict()) and "distillation.policy.theta" in objective.state_dict()


def test_unweighted_keeps_the_temperatures():
    z_s, z_t = random_pair()
    plain, bare = Std(2.0)(z_s, z_t), Unweighted(Std(2.0))(z_s, z_t)
    assert torch.equal(plain.T_s, bare.T_s) and torch.equal(plain.T_t, bare.T_t) and (bare.weight == 1).all()
    assert list(Unweighted(Learned()).parameters()) and repr(Unweighted(Constant(3))) == (
        "Unweighted(Constant(temperature=3.0, weight='alike'))"
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MaxLogit("student"), 'source is \'student\', wanted "both".*"teacher"'),
        (lambda: MaxLogit(factor=0), "factor is 0, wanted a number above 0"),
        (lambda: MaxRatio(-1.0), "temperature is -1.0, wanted"),
        (lambda: Learned(start=0), "start is 0, wanted"),
        (lambda: Learned(end=-1), "end is -1, wanted 0 or more"),
        (lambda: Learned(ramp=0), "ramp is 0, wanted"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_two_classes_have_no_use_for_the_largest_z_score():
    with pytest.raises(ValueError, match="2 classes, wanted at least 3"):
        MaxLogit()(torch.randn(4, 2), torch.randn(4, 2))


def test_words():
    assert repr(MaxRatio(4)) == "MaxRatio(temperature=4.0)"
    assert repr(MaxLogit("teacher", 1)) == "MaxLogit(source='teacher', factor=1.0)"
    assert repr(Learned(1, 20)) == "Learned(start=1.0, end=20.0, ramp=10.0)"


def test_multi_level_loss_trains_and_tells_a_policy_that_learns():
    inner = Learned()
    loss = MultiLevelLoss([Constant(4.0), inner, Unweighted(inner)], as_coded=False)
    assert [parameter is inner.theta for parameter in loss.parameters()] == [True]
    loss.set_epoch(10, 20)
    assert inner.reversal.item() == pytest.approx(-1.0)
    loss(torch.randn(4, 6), torch.randn(4, 6)).backward()
    assert inner.theta.grad.abs() > 0
