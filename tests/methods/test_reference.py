"""Each neighbour of NormKD equals its definition, evaluated by probabilities in numpy, and finite differences of it."""

import numpy as np
import pytest
import torch

from normkd_explore.losses import (
    ATLC,
    CTKD,
    DIST,
    DKD,
    DTKD,
    KD,
    MLKD,
    NKD,
    RLD,
    TTM,
    WTTM,
    BiLD,
    NormBiLD,
    NormDIST,
    NormMLKD,
    NormRLD,
)
from tests.helpers.reference import golden_tensors, random_arrays

Array = np.ndarray


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def relative_entropy(p: Array, q: Array) -> float:
    return float((p * np.log(p / q)).sum())


def binary(p: float) -> Array:
    return np.array([p, 1 - p])


def scd(u_s: Array, u_t: Array, y: int) -> float:
    return relative_entropy(binary(softmax(u_t).max()), binary(softmax(u_s)[y]))


def mcd(u_s: Array, u_t: Array, y: int) -> float:
    below = u_t < u_t[y]
    return relative_entropy(softmax(u_t[below]), softmax(u_s[below])) if below.any() else 0.0


def pearson(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-8))


def differences(u: Array, order: Array) -> Array:
    v = u[order]
    return np.array([v[i] - v[j] for i in range(len(v)) for j in range(i + 1, len(v))])


def bild(u_s: Array, u_t: Array, k: int) -> float:
    orders = [np.argsort(-u)[:k] for u in (u_t, u_s)]
    return sum(relative_entropy(softmax(differences(u_t, o)), softmax(differences(u_s, o))) for o in orders)


def by_std(z: Array, t_norm: float) -> tuple[Array, Array]:
    T = t_norm * z.std(axis=1, ddof=1, keepdims=True)
    return z / T, T[:, 0]


def mean(values) -> float:
    return float(np.mean(list(values)))


def by_rows(function, *arrays) -> float:
    return mean(function(*row) for row in zip(*arrays, strict=True))


def dist(u_s: Array, u_t: Array, weight: Array, beta: float, gamma: float) -> float:
    p_s, p_t = softmax(u_s), softmax(u_t)
    columns = 1 - mean(pearson(a, b) for a, b in zip(p_s.T, p_t.T, strict=True))
    return mean(w * (beta * (1 - pearson(a, b)) + gamma * columns) for w, a, b in zip(weight, p_s, p_t, strict=True))


def levels(u_s: Array, u_t: Array, weight: Array, as_coded: bool) -> float:
    p_s, p_t = softmax(u_s), softmax(u_t)
    batch, classes = p_s.shape
    kl = mean(w * relative_entropy(a, b) for w, a, b in zip(weight, p_t, p_s, strict=True))
    cc = ((p_t.T @ p_t - p_s.T @ p_s) ** 2).sum() / classes
    bc = ((p_t @ p_t.T - p_s @ p_s.T) ** 2).sum() / batch
    keep_batch = mean(p_t.max(1) <= np.percentile(p_t.max(1), 50)) if as_coded else 1.0
    keep_class = mean(p_t.sum(0) <= np.percentile(p_t.sum(0), 50)) if as_coded else 1.0
    return keep_batch * (kl + bc) + keep_class * cc


def nkd(z_s: Array, z_t: Array, y: int, gamma: float, T: float) -> float:
    rest_s, rest_t = (softmax(np.delete(z, y) / T) for z in (z_s, z_t))
    return -softmax(z_t)[y] * np.log(softmax(z_s)[y]) - gamma * T**2 * (rest_t * np.log(rest_s)).sum()


def atlc(z_s: Array, z_t: Array, fixed_s: Array, source: str, factor: float) -> float:
    u_s, u_t, u_fixed = ((z - z.mean()) / (z.std(ddof=1) + 1e-7) for z in (z_s, z_t, fixed_s))
    T = factor * max(np.abs(u_t).max(), np.abs(u_fixed).max() if source == "both" else 0.0)
    return T**2 * relative_entropy(softmax(u_t / T), softmax(u_s / T))


def dtkd(z_s: Array, z_t: Array, T: float, alpha: float, beta: float) -> float:
    x, v = z_t.max(), z_s.max()
    T_t, T_s = 2 * x / (x + v) * T, 2 * v / (x + v) * T
    own = T_t * T_s * relative_entropy(softmax(z_t / T_t), softmax(z_s / T_s))
    return alpha * own + beta * T**2 * relative_entropy(softmax(z_t / T), softmax(z_s / T))


def ttm(z_s: Array, z_t: Array, exponent: float, weighted: bool) -> float:
    power = softmax(z_t) ** exponent
    return relative_entropy(power / power.sum(), softmax(z_s)) * (power.sum() if weighted else 1.0)


def rld(z_s: Array, z_t: Array, y: int, alpha: float, beta: float, T: float, T_a: float) -> float:
    return alpha * T_a**2 * scd(z_s / T_a, z_t / T_a, y) + beta * T**2 * mcd(z_s / T, z_t / T, y)


def by_hand(loss: torch.nn.Module, z_s: Array, z_t: Array, labels: Array, fixed_s: Array | None = None) -> float:
    """The loss from its definition. `fixed_s` stands for the student where the definition has no gradient."""
    fixed_s = z_s if fixed_s is None else fixed_s
    ones = np.ones(len(z_s))
    match loss:
        case RLD():
            T, T_a = loss.temperature, loss.confidence_temperature
            return by_rows(lambda s, t, y: rld(s, t, y, loss.alpha, loss.beta, T, T_a), z_s, z_t, labels)
        case NKD():
            return by_rows(lambda s, t, y: nkd(s, t, y, loss.gamma, loss.temperature), z_s, z_t, labels)
        case ATLC():
            policy = loss.policy
            return by_rows(lambda s, t, f: atlc(s, t, f, policy.source, policy.factor), z_s, z_t, fixed_s)
        case DTKD():
            return by_rows(lambda s, t: dtkd(s, t, loss.temperature, loss.alpha, loss.beta), z_s, z_t)
        case CTKD():
            T = loss.policy.start + loss.policy.end / (1 + np.exp(-loss.policy.theta.item()))
            return by_rows(lambda s, t: T**2 * relative_entropy(softmax(t / T), softmax(s / T)), z_s, z_t)
        case TTM():
            return by_rows(lambda s, t: ttm(s, t, loss.divergence.exponent, isinstance(loss, WTTM)), z_s, z_t)
        case DIST():
            T = loss.policy.temperature
            return dist(z_s / T, z_t / T, T**2 * ones, loss.divergence.beta, loss.divergence.gamma)
        case MLKD():
            temperatures = [policy.temperature for policy in loss.policies]
            return sum(levels(z_s / T, z_t / T, T**2 * ones, loss.as_coded) for T in temperatures)
        case BiLD():
            T = loss.policy.policy.temperature
            return by_rows(lambda s, t: bild(s / T, t / T, loss.divergence.k), z_s, z_t)
        case NormMLKD():
            both = [(by_std(z_s, p.t_norm), by_std(z_t, p.t_norm)) for p in loss.policies]
            return sum(levels(u_s, u_t, T_t**2, loss.as_coded) for (u_s, _), (u_t, T_t) in both)
        case NormBiLD():
            t_norm = loss.policy.policy.t_norm
            return by_rows(lambda s, t: bild(s, t, loss.divergence.k), by_std(z_s, t_norm)[0], by_std(z_t, t_norm)[0])
    (u_s, _), (u_t, T_t) = by_std(z_s, loss.policy.t_norm), by_std(z_t, loss.policy.t_norm)
    if isinstance(loss, NormDIST):
        return dist(u_s, u_t, T_t**2, loss.divergence.beta, loss.divergence.gamma)
    a, b = loss.divergence.alpha, loss.divergence.beta
    return by_rows(lambda s, t, y, T: T**2 * (a * scd(s, t, y) + b * mcd(s, t, y)), u_s, u_t, labels, T_t)


LOSSES = [
    RLD(),
    RLD(2.0, 3.0, 1.5, 2.5),
    NormRLD(),
    ATLC(),
    ATLC("teacher", 1.0),
    DTKD(),
    DTKD(2.0, 3.0, 1.0),
    CTKD(),
    DIST(),
    DIST(2.0, 0.5, 4.0),
    NormDIST(1.0, 2.0, 1.5),
    MLKD(),
    MLKD(3.0, (1.0, 2.5), as_coded=True),
    NormMLKD(),
    TTM(0.3),
    WTTM(0.3),
    NKD(),
    NKD(3.5, 3.0),
    BiLD(),
    BiLD(4, 1.0),
    NormBiLD(),
]


def inputs(batch: int, classes: int, seed: int) -> tuple[Array, Array, Array]:
    z_s, z_t, y = random_arrays(batch, classes, seed)
    # DTKD is undefined without positive maxima; RLD is put to work by a teacher that is right now and then.
    z_s, z_t = z_s - z_s.max(axis=1, keepdims=True) + 2.0, z_t - z_t.max(axis=1, keepdims=True) + 3.0
    y[::3] = z_t[::3].argmax(axis=1)
    return z_s, z_t, y


@pytest.mark.parametrize("shape", [(1, 3), (7, 10), (64, 100), (33, 257)], ids=str)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_value_equals_the_definition(loss, shape):
    z_s, z_t, y = inputs(*shape, seed=sum(shape))
    found = loss(*map(torch.from_numpy, (z_s, z_t, y))).item()
    assert found == pytest.approx(by_hand(loss, z_s, z_t, y), rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("shape", [(2, 4), (9, 30)], ids=str)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_gradient_equals_finite_differences_of_the_definition(loss, shape):
    z_s, z_t, y = inputs(*shape, seed=17 + sum(shape))
    leaf = torch.from_numpy(z_s).requires_grad_()
    (found,) = torch.autograd.grad(loss(leaf, torch.from_numpy(z_t), torch.from_numpy(y)), leaf)
    rng = np.random.default_rng(3)
    for _ in range(3):
        direction, h = rng.normal(size=shape), 1e-5
        ahead, behind = (by_hand(loss, z_s + sign * h * direction, z_t, y, z_s) for sign in (1, -1))
        slope = float((found.numpy() * direction).sum())
        assert slope == pytest.approx((ahead - behind) / (2 * h), rel=1e-6, abs=1e-8)


def test_rld_is_dkd_on_the_fixed_inputs_where_the_teacher_is_right():
    z_s, z_t, _ = golden_tensors()
    right = torch.tensor([0, 2, 3])
    assert RLD(1.0, 8.0, 4.0, 4.0)(z_s, z_t, right).item() == pytest.approx(2.73692170, abs=1e-8)
    assert DKD(1.0, 8.0, 4.0)(z_s, z_t, right).item() == pytest.approx(2.73692170, abs=1e-8)


def test_one_sample_by_pencil():
    """Predictions chosen so that every number can be checked on paper."""
    s = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).log()
    t = torch.tensor([[0.25, 0.5, 0.25]], dtype=torch.float64).log()
    y, ln2 = torch.tensor([0]), np.log(2)
    # The teacher's 1/2 for its own class meets the student's 1/2 for the true one; no class ranks below the true one.
    assert RLD(1, 8, 1, 1)(s, t, y).item() == pytest.approx(0, abs=1e-12)
    # 1/4 · ln 2 + (2/3 ln 2 + 1/3 ln 2): the others are 1/2 and 1/2 for the student, 2/3 and 1/3 for the teacher.
    assert NKD(1.0)(s, t, y).item() == pytest.approx(ln2 / 4 + ln2)
    # q = (1, √2, 1) / (2 + √2) for the power 1/2.
    q = np.array([1, 2**0.5, 1]) / (2 + 2**0.5)
    assert TTM(0.5)(s, t).item() == pytest.approx((q * np.log(q / np.array([0.5, 0.25, 0.25]))).sum())
    assert WTTM(0.5)(s, t).item() == pytest.approx((1 + 0.5**0.5) * TTM(0.5)(s, t).item())
    # Predictions centred are (1/6, -1/12, -1/12) and (-1/12, 1/6, -1/12): correlation -1/2; one sample, gamma remains.
    assert DIST()(s, t).item() == pytest.approx(1.5 + 1, abs=1e-6)


def test_kd_is_ttm_only_at_temperature_one():
    z_s, z_t, _ = golden_tensors()
    assert TTM(1.0)(z_s, z_t).item() == pytest.approx(KD(1.0)(z_s, z_t).item(), rel=1e-12)
