"""The losses equal published numbers, a plain float64 evaluation by probabilities, and finite differences."""

import numpy as np
import pytest
import torch

from normkd_explore.divergence import KL, Decoupled
from normkd_explore.losses import CE, DKD, KD, LSKD, DistillationLoss, NormDKD, NormKD
from normkd_explore.temperature import Constant, Std
from tests.helpers.reference import golden_tensors, random_arrays

# Values and the gradient's first row as the methods' published functions give them on the inputs above.
GOLDEN = [
    (NormKD(t_norm=2.0), 0.39244731, [-0.037971, 0.001239, 0.015158, -0.038746, 0.060321]),
    (KD(temperature=4.0), 0.84514962, [-0.110822, 0.026190, 0.066350, 0.023113, -0.004832]),
    (DKD(1.0, 8.0, 4.0), 4.15268798, [-0.110822, -0.003178, 0.599547, -0.002804, -0.482743]),
    (LSKD(temperature=2.0), 0.07141748, [-0.007482, 0.000244, 0.002987, -0.007635, 0.011886]),
]
LOSSES = [
    CE(),
    KD(),
    KD(1.0),
    NormKD(),
    NormKD(0.7),
    LSKD(),
    LSKD(3.0),
    DKD(),
    DKD(2.0, 0.5, 1.5),
    NormDKD(),
    NormDKD(4.0, 5.0, 1.0),
]
SHAPES = [(1, 3), (1, 1000), (3, 4), (7, 10), (64, 100), (512, 3), (129, 257), (512, 1000)]


def probabilities(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


def relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    return float((p * np.log(p / q)).sum())


def decoupled(u_s: np.ndarray, u_t: np.ndarray, y: int, alpha: float, beta: float) -> float:
    p_s, p_t = probabilities(u_s), probabilities(u_t)
    rest_s, rest_t = np.delete(p_s, y), np.delete(p_t, y)
    tckd = relative_entropy(np.array([p_t[y], rest_t.sum()]), np.array([p_s[y], rest_s.sum()]))
    return alpha * tckd + beta * relative_entropy(rest_t / rest_t.sum(), rest_s / rest_s.sum())


def by_hand(loss: torch.nn.Module, z_s: np.ndarray, z_t: np.ndarray, labels: np.ndarray) -> float:
    """The same loss from its definition, one sample at a time, in numpy."""
    if isinstance(loss, CE):
        return float(np.mean([-np.log(probabilities(s)[y]) for s, y in zip(z_s, labels, strict=True)]))
    total = 0.0
    for s, t, y in zip(z_s, z_t, labels, strict=True):
        if isinstance(loss, LSKD):
            tau = loss.policy.t_norm
            u_s, u_t = ((z - z.mean()) / (z.std(ddof=1) + 1e-7) / tau for z in (s, t))
            total += tau**2 * relative_entropy(probabilities(u_t), probabilities(u_s))
            continue
        if isinstance(loss, (NormKD, NormDKD)):
            T_s, T_t = loss.policy.t_norm * s.std(ddof=1), loss.policy.t_norm * t.std(ddof=1)
        else:
            T_s = T_t = loss.policy.temperature
        if isinstance(loss, (DKD, NormDKD)):
            value = decoupled(s / T_s, t / T_t, y, loss.divergence.alpha, loss.divergence.beta)
        else:
            value = relative_entropy(probabilities(t / T_t), probabilities(s / T_s))
        total += T_t**2 * value
    return total / len(labels)


@pytest.mark.parametrize(("loss", "value", "gradient_row"), GOLDEN, ids=repr)
def test_published_functions_on_fixed_inputs(loss, value, gradient_row):
    z_s, z_t, y = golden_tensors()
    result = loss(z_s, z_t, y)
    result.backward()
    assert result.item() == pytest.approx(value, abs=1e-8)
    np.testing.assert_allclose(z_s.grad[0].numpy(), gradient_row, rtol=0, atol=5.1e-7)


def test_cross_entropy_on_fixed_inputs():
    z_s, _, y = golden_tensors()
    assert CE()(z_s, None, y).item() == pytest.approx(0.6449562121, abs=1e-10)


@pytest.mark.parametrize(
    ("wrong_value", "wrong_row"),
    [
        pytest.param(0.39540207, [-0.039461, 0.001162, 0.013852, -0.037016, 0.061462], id="population std"),
        pytest.param(0.39244731, [-0.033625, 0.000929, 0.010191, -0.040609, 0.063114], id="detached std"),
    ],
)
def test_common_mistakes_in_normkd_would_show(wrong_value, wrong_row):
    z_s, z_t, y = golden_tensors()
    loss = NormKD(2.0)(z_s, z_t, y)
    loss.backward()
    same_value = abs(loss.item() - wrong_value) < 1e-7
    same_gradient = np.allclose(z_s.grad[0].numpy(), wrong_row, rtol=0, atol=1e-5)
    assert not (same_value and same_gradient)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_value_equals_the_definition(loss, shape):
    z_s, z_t, y = random_arrays(*shape, seed=sum(shape))
    found = loss(torch.from_numpy(z_s), torch.from_numpy(z_t), torch.from_numpy(y)).item()
    assert found == pytest.approx(by_hand(loss, z_s, z_t, y), rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("shape", [(1, 3), (5, 7), (40, 100), (8, 1000)], ids=str)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_gradient_equals_finite_differences_of_the_definition(loss, shape):
    z_s, z_t, y = random_arrays(*shape, seed=17 + sum(shape))
    leaf = torch.from_numpy(z_s).requires_grad_()
    loss(leaf, torch.from_numpy(z_t), torch.from_numpy(y)).backward()
    rng = np.random.default_rng(3)
    for _ in range(3):
        direction, h = rng.normal(size=shape), 1e-5
        ahead, behind = (by_hand(loss, z_s + sign * h * direction, z_t, y) for sign in (1, -1))
        slope = float((leaf.grad.numpy() * direction).sum())
        assert slope == pytest.approx((ahead - behind) / (2 * h), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_gradcheck(loss):
    z_s, z_t, y = (torch.from_numpy(a) for a in random_arrays(4, 6, seed=5))
    assert torch.autograd.gradcheck(lambda z: loss(z, z_t, y), z_s.requires_grad_())


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_per_sample_is_each_sample_alone_and_its_mean_the_loss(loss):
    z_s, z_t, y = random_arrays(6, 9, seed=8)
    s, t, labels = (torch.from_numpy(a) for a in (z_s, z_t, y))
    parts = loss.per_sample(s, t, labels)
    assert parts.shape == (6,)
    for i, part in enumerate(parts.tolist()):
        one = slice(i, i + 1)
        assert part == pytest.approx(by_hand(loss, z_s[one], z_t[one], y[one]), rel=1e-9, abs=1e-11)
    torch.testing.assert_close(loss(s, t, labels), parts.mean())


def test_any_policy_goes_with_any_divergence():
    z_s, z_t, y = random_arrays(5, 8, seed=2)
    tensors = [torch.from_numpy(a) for a in (z_s, z_t, y)]
    for policy, name in [(Constant(3.0), DKD(2.0, 3.0, 3.0)), (Std(1.5), NormDKD(2.0, 3.0, 1.5))]:
        loss = DistillationLoss(policy, Decoupled(2.0, 3.0))
        assert loss(*tensors).item() == pytest.approx(by_hand(name, z_s, z_t, y), rel=1e-9)
    mixed = DistillationLoss(Std(2.0, weight="constant"), KL())(*tensors).item()
    assert mixed == pytest.approx(by_hand(LSKD(2.0), z_s, z_t, y), rel=1e-6)
