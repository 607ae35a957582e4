"""JSD, skew KL, alpha-beta, TAID's target and WKD-L's transport: definitions in numpy, slopes, limits."""

import numpy as np
import pytest
import torch

from normkd_explore.divergence import (
    KL,
    AlphaBeta,
    Interpolated,
    JensenShannon,
    ReverseKL,
    SkewKL,
    SkewReverseKL,
    Transport,
    class_distances,
)
from tests.helpers.recent import cases
from tests.helpers.reference import random_arrays
from tests.helpers.reference import random_tensors as tensors

Array = np.ndarray


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max())
    return e / e.sum()


def relative_entropy(p: Array, q: Array) -> float:
    return float((p * np.log(p / q)).sum())


def jsd(p_s: Array, p_t: Array, beta: float) -> float:
    m = beta * p_t + (1 - beta) * p_s
    return beta * relative_entropy(p_t, m) + (1 - beta) * relative_entropy(p_s, m)


def alpha_beta(p_s: Array, p_t: Array, a: float, b: float) -> float:
    crossed = (p_t**a * p_s**b).sum() / (a * b)
    return float((p_t ** (a + b)).sum() / (b * (a + b)) + (p_s ** (a + b)).sum() / (a * (a + b)) - crossed)


def sinkhorn(q_s: Array, q_t: Array, cost: Array, blur: float, iterations: int) -> float:
    """The plan as it is defined, with scaling vectors of plain numbers."""
    K, u = np.exp(-cost / blur), np.ones(len(q_s))
    for _ in range(iterations):
        v = q_t / (K.T @ u)
        u = q_s / (K @ v)
    return float((u[:, None] * K * v[None] * cost).sum())


def by_hand(divergence, z_s: Array, z_t: Array, y: Array, fixed_s: Array | None = None) -> Array:
    """Sample by sample; `fixed_s` stands for the student where the definition has no gradient."""
    result = []
    for s, t, label, f in zip(z_s, z_t, y, z_s if fixed_s is None else fixed_s, strict=True):
        p_s, p_t = softmax(s), softmax(t)
        match divergence:
            case JensenShannon():
                result.append(jsd(p_s, p_t, divergence.beta))
            case SkewKL():
                result.append(relative_entropy(p_t, divergence.skew * p_t + (1 - divergence.skew) * p_s))
            case SkewReverseKL():
                result.append(relative_entropy(p_s, divergence.skew * p_s + (1 - divergence.skew) * p_t))
            case AlphaBeta():
                result.append(alpha_beta(p_s, p_t, divergence.alpha, divergence.beta))
            case Interpolated():
                target = softmax((1 - divergence.t.item()) * f + divergence.t.item() * t)
                result.append(relative_entropy(target, p_s))
            case Transport():
                rest = np.arange(len(s)) != label
                cost = (0.5 * (1 - np.eye(len(s))) if divergence.cost is None else divergence.cost.numpy())[rest][
                    :, rest
                ]
                result.append(
                    sinkhorn(softmax(s[rest]), softmax(t[rest]), cost, divergence.blur, divergence.iterations)
                )
    return np.array(result)


@pytest.mark.parametrize("shape", [(1, 3), (7, 10), (33, 100)], ids=str)
def test_values_equal_the_definition(shape):
    z_s, z_t, y = random_arrays(*shape, seed=sum(shape))
    for divergence in cases(shape[1]):
        found = divergence(*map(torch.from_numpy, (z_s, z_t, y)))
        np.testing.assert_allclose(
            found.numpy(), by_hand(divergence, z_s, z_t, y), rtol=2e-8, atol=1e-11, err_msg=repr(divergence)
        )


@pytest.mark.parametrize("shape", [(2, 4), (9, 30)], ids=str)
def test_gradients_equal_finite_differences_of_the_definition(shape):
    z_s, z_t, y = random_arrays(*shape, seed=17 + sum(shape))
    for divergence in cases(shape[1]):
        leaf = torch.from_numpy(z_s).requires_grad_()
        loss = divergence(leaf, torch.from_numpy(z_t), torch.from_numpy(y)).sum()
        (found,) = torch.autograd.grad(loss, leaf)
        direction, h = np.random.default_rng(3).normal(size=shape), 1e-5
        ahead, behind = (by_hand(divergence, z_s + sign * h * direction, z_t, y, z_s).sum() for sign in (1, -1))
        slope = float((found.numpy() * direction).sum())
        assert slope == pytest.approx((ahead - behind) / (2 * h), rel=2e-6, abs=1e-8), divergence


# Limits and identities


def test_jsd_is_kl_at_one_end_and_the_reverse_kl_at_the_other():
    s, t, _ = tensors()
    for beta, share, limit in ((1e-7, 1e-7, KL()), (1 - 1e-7, 1e-7, ReverseKL())):
        torch.testing.assert_close(JensenShannon(beta)(s, t) / share, limit(s, t), rtol=1e-4, atol=0)
    torch.testing.assert_close(JensenShannon(0)(s, t), KL()(s, t))
    torch.testing.assert_close(JensenShannon(1)(s, t), ReverseKL()(s, t))
    torch.testing.assert_close(JensenShannon(0.3)(s, t), JensenShannon(0.7)(t, s))
    assert (JensenShannon(0.5)(40 * s, 40 * t) <= np.log(2) + 1e-12).all()


def test_without_skew_it_is_kl():
    s, t, _ = tensors()
    torch.testing.assert_close(SkewKL(0)(s, t), KL()(s, t))
    torch.testing.assert_close(SkewReverseKL(0)(s, t), ReverseKL()(s, t))
    torch.testing.assert_close(SkewKL(1e-9)(s, t), KL()(s, t), rtol=1e-6, atol=1e-9)
    assert (SkewKL(0.1)(50 * s, 50 * t) <= np.log(10) + 1e-12).all()  # a bound that KL has not
    assert KL()(50 * s, 50 * t).max() > 10


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 1e-6), (torch.float32, 2e-5)], ids=str)
def test_alpha_beta_has_kl_at_its_corners(dtype, digits):
    """Also beside the corners, where the plain formula is a difference of two large numbers."""
    s, t, _ = (x.to(dtype) if x.is_floating_point() else x for x in tensors())
    for near in (0.0, 1e-7):
        torch.testing.assert_close(AlphaBeta(1, near)(s, t), KL()(s, t), rtol=digits, atol=digits)
        torch.testing.assert_close(AlphaBeta(near, 1)(s, t), ReverseKL()(s, t), rtol=digits, atol=digits)


def test_alpha_beta_between_its_corners():
    s, t, _ = tensors()
    p_s, p_t = s.softmax(1), t.softmax(1)
    torch.testing.assert_close(AlphaBeta(1, 1)(s, t), (p_t - p_s).square().sum(1) / 2)
    torch.testing.assert_close(AlphaBeta(0.5, 0.5)(s, t), 2 * (p_t.sqrt() - p_s.sqrt()).square().sum(1))
    torch.testing.assert_close(AlphaBeta(0.8, 0.3)(s, t), AlphaBeta(0.3, 0.8)(t, s))


def test_the_end_of_taid_is_kl_and_its_gradient_grows_with_t():
    s, t, _ = tensors()
    torch.testing.assert_close(Interpolated(1.0)(s, t), KL()(s, t))
    assert (Interpolated(0.0)(s, t).abs() < 1e-12).all()
    small, large = (Interpolated(start)(s, t).mean() for start in (0.2, 0.8))
    assert 0 < small < large < KL()(s, t).mean()


def test_transport_between_classes_that_are_equally_far_is_half_the_total_variation():
    s, t, y = tensors(8, 20)
    q_s, q_t = (z.scatter(1, y[:, None], -torch.inf).softmax(1) for z in (s, t))
    want = (q_s - q_t).abs().sum(1) / 4
    torch.testing.assert_close(Transport(0.0125, 3000)(s, t, y), want, rtol=1e-3, atol=1e-4)


def test_transport_to_a_near_class_is_cheap():
    """The student's mass is at class 1, the teacher's at 2 or at 3; class 2 is nearer to 1 than 3 is."""
    cost = torch.tensor([[0, 0.9, 0.9, 0.9], [0.9, 0, 0.1, 0.8], [0.9, 0.1, 0, 0.8], [0.9, 0.8, 0.8, 0.0]])
    s, y = torch.tensor([[0.0, 9, 0, 0]]), torch.tensor([0])
    near, far = torch.tensor([[0.0, 0, 9, 0]]), torch.tensor([[0.0, 0, 0, 9]])
    transport = Transport(cost=cost)
    assert transport(s, near, y) < 0.2 < 0.6 < transport(s, far, y)
    assert KL()(s, near).item() == pytest.approx(KL()(s, far).item())  # which sees no difference


def test_what_the_target_has_is_not_moved():
    s, t, y = tensors()
    moved = s.scatter_add(1, y[:, None], torch.full((6, 1), 3.0, dtype=s.dtype))
    torch.testing.assert_close(Transport()(moved, t, y), Transport()(s, t, y))


def test_transport_ends_along_a_half_cosine():
    s, t, y = tensors()
    transport = Transport(decay_after=0.625)
    whole, factors = transport(s, t, y), []
    for epoch in (1, 150, 195, 240):
        transport.set_epoch(epoch, 240)
        factors.append((transport(s, t, y) / whole).mean().item())
    assert factors == pytest.approx([1, 1, 0.5, 0], abs=1e-6)


def test_distances_of_classes_are_those_of_the_classifiers_rows():
    weight = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    found = class_distances(weight)
    want = [0, 0, 1 - np.exp(-1), 1 - np.exp(-2)]
    np.testing.assert_allclose(found[0].numpy(), want, atol=1e-7)
    assert torch.equal(found, found.T) and (found.diagonal() == 0).all()


def test_a_teacher_tells_its_distances_once():
    teacher = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 12))
    s, t, y = tensors()
    transport = Transport()
    transport.meet(teacher)
    torch.testing.assert_close(transport.cost, class_distances(teacher[2].weight))
    assert (transport(s, t, y) - Transport()(s, t, y)).abs().min() > 1e-5 and transport.state_dict() == {}
    own = Transport(cost=torch.ones(12, 12))
    own.meet(teacher)
    assert (own.cost == 1).all()
    with pytest.raises(ValueError, match="cost is for 12 classes, wanted 5"):
        transport(s[:, :5], t[:, :5], y % 5)
    with pytest.raises(ValueError, match="ReLU, which has no linear classifier"):
        Transport().meet(torch.nn.ReLU())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: JensenShannon(1.5), "beta is 1.5, wanted a number from 0 to 1"),
        (lambda: SkewKL(1.0), "skew is 1.0, wanted a number from 0 to 1, and not 1 itself"),
        (lambda: SkewReverseKL(-0.1), "skew is -0.1, wanted"),
        (lambda: SkewReverseKL(1.0), "skew is 1.0, wanted a number from 0 to 1, and not 1 itself"),
        (lambda: AlphaBeta(-1, 2), "alpha is -1, wanted 0 or more"),
        (lambda: AlphaBeta(0, 0), "both 0, wanted one above 0"),
        (lambda: Interpolated(0.5, 0.4), "end is 0.4, wanted at least start, 0.5"),
        (lambda: Interpolated(momentum=1.0), "momentum is 1.0"),
        (lambda: Transport(0.01), "blur is 0.01, wanted at least 0.0125"),
        (lambda: Transport(iterations=2.5), "iterations is 2.5, wanted a whole number of at least 1"),
        (lambda: Transport(cost=torch.ones(3, 4)), r"cost has shape \(3, 4\), wanted \(C, C\)"),
        (lambda: Transport(cost=8 * torch.ones(3, 3)), "largest cost 8, wanted at least 0.1"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
