"""Aggregations on cases worked by hand, against numpy and scipy-free references, and what bounds an attacker."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkd_explore.federated import (
    AGGREGATIONS,
    PCFDLA,
    ExpGuard,
    GeometricMedian,
    Mean,
    Median,
    SpectralFilter,
    TrimmedMean,
    client_scores,
    make_aggregation,
    outlier_scores,
    ranks,
)
from normkd_explore.losses import NormKD

ROBUST = ("median", "trimmed-mean", "geometric-median", "spectral", "cronus", "expguard")


def votes(clients=8, samples=20, classes=10, seed=0, scale=4.0):
    shape = (clients, samples, classes)
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def hand(*rows):
    """Clients of one sample."""
    return torch.tensor(rows, dtype=torch.float64)[:, None, :]


# --- by hand -------------------------------------------------------------------------------------------------


def test_three_clients_by_hand():
    v = hand([1, 0, 5], [2, 0, 6], [90, 3, -100])
    assert Mean()(v).tolist() == [[31, 1, (5 + 6 - 100) / 3]]
    assert Median()(v).tolist() == [[2, 0, 5]]
    assert TrimmedMean(share=0.34)(v).tolist() == [[2, 0, 5]]
    assert TrimmedMean(share=0.0)(v).tolist() == Mean()(v).tolist()


def test_four_clients_by_hand():
    v = hand([0, 0], [1, 10], [3, 20], [100, 1000])
    assert Median()(v).tolist() == [[2, 15]]
    assert TrimmedMean(share=0.25)(v).tolist() == [[2, 15]]


def test_geometric_median_by_hand():
    """Three corners of an equilateral triangle: its centre. Three points on a line: the middle one."""
    triangle = hand([0, 0], [1, 0], [0.5, math.sqrt(3) / 2])
    torch.testing.assert_close(GeometricMedian()(triangle), torch.tensor([[0.5, math.sqrt(3) / 6]]).double())
    line = hand([0, 0], [1, 1], [50, 50])
    torch.testing.assert_close(GeometricMedian()(line), torch.ones(1, 2).double(), atol=1e-6, rtol=0)


def test_spectral_filter_by_hand():
    """One client far away along one axis defines the direction, and goes."""
    v = hand([0, 1], [0, -1], [0.1, 0], [60, 0])
    torch.testing.assert_close(SpectralFilter(share=0.25)(v), v[:3].mean(0))


def test_expguard_by_hand():
    """Two clients agree, one is at distance 5: scores 0, 0, 5 around the median."""
    v = hand([0, 0], [0, 0], [3, 4])
    guard = ExpGuard(eta=0.2)
    first = math.exp(-1.0)
    torch.testing.assert_close(guard(v), torch.tensor([[3.0, 4.0]]).double() * first / (2 + first))
    torch.testing.assert_close(guard.weights, torch.tensor([1, 1, first]).double() / (2 + first))
    second = math.exp(-2.0)
    torch.testing.assert_close(guard(v), torch.tensor([[3.0, 4.0]]).double() * second / (2 + second))


def test_means_in_three_forms_against_numpy():
    v = votes()
    z = v.numpy()
    np.testing.assert_allclose(Mean()(v), z.mean(0), rtol=1e-12)
    np.testing.assert_allclose(Mean(of="probabilities")(v), softmax(z).mean(0), rtol=1e-12)
    scores = (z - z.mean(-1, keepdims=True)) / z.std(-1, ddof=1, keepdims=True)
    np.testing.assert_allclose(Mean(of="z-scores")(v), scores.mean(0), rtol=1e-10, atol=1e-12)


# --- references ----------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(0, 10_000))
def test_median_and_trimmed_mean_against_numpy(clients, seed):
    v = votes(clients, 4, 5, seed)
    np.testing.assert_allclose(Median()(v), np.median(v.numpy(), axis=0), rtol=1e-12)
    cut = int(0.25 * clients)
    ordered = np.sort(v.numpy(), axis=0)[cut : clients - cut]
    np.testing.assert_allclose(TrimmedMean(0.25)(v), ordered.mean(0), rtol=1e-12)


def test_geometric_median_has_no_better_neighbour():
    """Total distance, computed in numpy, grows in every direction from the answer."""
    v = votes(7, 6, 4, seed=2)
    found = GeometricMedian()(v).numpy()
    total = lambda m: np.linalg.norm(v.numpy() - m, axis=-1).sum(0)  # noqa: E731
    rng = np.random.default_rng(0)
    for _ in range(200):
        step = rng.normal(size=found.shape)
        step *= 1e-3 / np.linalg.norm(step, axis=-1, keepdims=True)
        assert (total(found + step) > total(found)).all()


@pytest.mark.parametrize("passes", [1, 2])
def test_spectral_filter_against_the_eigenvectors_of_the_covariance(passes):
    v = votes(8, 12, 5, seed=5)
    for n in range(12):
        left = v[:, n].numpy()
        for _ in range(passes):
            centred = left - left.mean(0)
            _, vectors = np.linalg.eigh(centred.T @ centred / len(left))
            score = abs(centred @ vectors[:, -1])
            left = left[np.sort(np.argsort(score)[: len(left) - 2 // passes])]
        found = SpectralFilter(share=0.25, passes=passes)(v)[n]
        np.testing.assert_allclose(found, left.mean(0), rtol=1e-10, atol=1e-12)


def test_expguard_against_numpy_over_three_rounds():
    guard, log_w = ExpGuard(eta=1.5, of="probabilities"), np.zeros(8)
    for seed in range(3):
        v = votes(seed=seed)
        p = softmax(v.numpy())
        centre = np.median(p, axis=0)
        centre /= centre.sum(-1, keepdims=True)
        log_w -= 1.5 * np.linalg.norm(p - centre, axis=-1).mean(-1)
        w = np.exp(log_w) / np.exp(log_w).sum()
        np.testing.assert_allclose(guard(v), (w[:, None, None] * p).sum(0), rtol=1e-10)
        np.testing.assert_allclose(guard.weights, w, rtol=1e-10)


def test_outlier_scores_against_numpy():
    v = votes()
    p = softmax(v.numpy())
    centre = np.median(p, axis=0)
    centre /= centre.sum(-1, keepdims=True)
    np.testing.assert_allclose(client_scores(v), np.linalg.norm(p - centre, axis=-1).mean(-1), rtol=1e-10)
    assert outlier_scores(hand([3, 4], [0, 0]), torch.zeros(1, 2)).tolist() == [5, 0]
    assert ranks(torch.tensor([0.1, 0.9, 0.5, 0.9])) == [4, 1, 3, 1]


# --- what an attacker can do ---------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1e6, 1e6))
def test_one_attacker_of_eight_cannot_move_the_median_beyond_the_honest_spread(seed, said):
    v = votes(8, 5, 6, seed)
    v[-1] = said
    low, high = v[:7].amin(0), v[:7].amax(0)
    for rule in (Median(), TrimmedMean(share=0.25)):
        answer = rule(v)
        assert ((answer >= low) & (answer <= high)).all()
    clean = Median()(v[:7])
    assert ((Median()(v) - clean).abs() <= high - low).all()


def test_a_mean_of_logits_follows_the_strength_and_bounded_forms_do_not():
    v = votes(8, 30, 10, scale=1.0)
    moved = {}
    for name in AGGREGATIONS:
        shift = []
        for strength in (10.0, 1000.0):
            attacked = v.clone()
            attacked[-1] = PCFDLA(strength)(v[-1])
            rule = make_aggregation(name)
            shift.append((rule(attacked) - make_aggregation(name)(v)).norm(dim=-1).mean().item())
        moved[name] = shift
    assert moved["mean"][1] > 90 * moved["mean"][0]
    for name in set(AGGREGATIONS) - {"mean"}:
        assert moved[name][1] == pytest.approx(moved[name][0], rel=0.01), name


@pytest.mark.parametrize("name", ROBUST)
def test_robust_rules_keep_an_agreed_answer_against_two_of_eight(name):
    """Six clients agree on every sample; two put a peak elsewhere."""
    base = votes(1, 80, 10, seed=1)
    best = base.topk(2).values
    base = base[:, (best[0, :, 0] - best[0, :, 1]) > 2]  # where two classes are close, honest clients differ too
    v = base + votes(8, base.shape[1], 10, seed=2, scale=0.3)
    v[6:] = PCFDLA(20.0)(v[6:])
    answer = make_aggregation(name).teach(v)
    assert (answer.argmax(-1) == base[0].argmax(-1)).all()


# --- forms and teachers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_client_order_does_not_matter_and_unanimity_is_kept(name):
    v = votes(seed=8)
    shuffled = v[torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])]
    torch.testing.assert_close(make_aggregation(name)(v), make_aggregation(name)(shuffled), rtol=1e-9, atol=1e-12)
    same = v[:1].expand(8, -1, -1)
    taught = make_aggregation(name).teach(same)
    torch.testing.assert_close(taught.softmax(-1), v[0].softmax(-1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_a_unanimous_answer_teaches_normkd_what_the_clients_own_logits_would(name):
    """log p and z · std have the std of z: no detour through a form changes loss or weight."""
    v, student = votes(seed=8, scale=2.0), votes(1, seed=9, scale=2.0)[0]
    same = v[:1].expand(8, -1, -1)
    taught = make_aggregation(name).teach(same)
    torch.testing.assert_close(NormKD(2.0)(student, taught), NormKD(2.0)(student, v[0]), rtol=1e-9, atol=0)


@pytest.mark.parametrize("computed_in", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", [Median, TrimmedMean, GeometricMedian, SpectralFilter, ExpGuard, Mean])
def test_probabilities_in_give_probabilities_out(rule, computed_in):
    """Also where a server turned float32 into float64: the sums are then 1 up to float32's rounding."""
    p, rule = votes().to(computed_in).softmax(-1).double(), rule()
    answer = rule(p)
    assert (answer >= 0).all()
    torch.testing.assert_close(answer.sum(-1), torch.ones(20).double())


def test_tiny_probabilities_have_a_floor_and_flat_logits_no_spread():
    sure = torch.tensor([[[2000.0, 0.0, 0.0]]] * 3)
    assert Mean(of="probabilities").teach(sure)[0, 1].item() == pytest.approx(math.log(1e-12), rel=1e-6)
    flat = torch.ones(3, 2, 4)
    assert Mean(of="z-scores")(flat).abs().max() == 0 and torch.isfinite(Mean(of="z-scores").teach(flat)).all()


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_rules_do_not_touch_their_input_and_keep_its_dtype(name):
    v = votes().float()
    before = v.clone()
    assert make_aggregation(name).teach(v).dtype == torch.float32 and torch.equal(v, before)


def test_a_rule_that_remembers_can_be_put_back():
    first, second = ExpGuard(of="probabilities"), ExpGuard(of="probabilities")
    first(votes(seed=1))
    second.load_state(first.state())
    assert torch.equal(first(votes(seed=2)), second(votes(seed=2)))
    assert Median().state() is None


def test_errors_teach():
    with pytest.raises(ValueError, match=r"wanted \(K, N, C\)"):
        Median()(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="of: found 'odds', wanted one of logits, probabilities, z-scores"):
        Mean(of="odds")
    with pytest.raises(ValueError, match=r"share is 0\.5"):
        TrimmedMean(0.5)
    with pytest.raises(ValueError, match="found 1 clients"):
        SpectralFilter()(votes(clients=1))
    guard = ExpGuard()
    guard(votes(clients=8))
    with pytest.raises(ValueError, match="an ExpGuard of its own"):
        guard(votes(clients=7))
    with pytest.raises(ValueError, match=r"found 'medain'.*Did you mean 'median'"):
        make_aggregation("medain")
