"""Attacks against numpy written anew, and the identities that make them hard or easy to see."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkd_explore.federated import ATTACKS, FDLA, LMA, PCFDLA, Fixed, Insight, Random, forge, make_attack
from normkd_explore.losses import NormKD
from normkd_explore.temperature import Std

STRENGTHS = (0.01, 1.0, 7.5, 20.0, 300.0)


def logits(*shape, seed=0, scale=4.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rows(classes):
    """Distinct values, so that ranks are unambiguous."""
    return st.lists(st.integers(-1000, 1000), min_size=classes, max_size=classes, unique=True)


def fdla_by_hand(z_C):
    """Walk down the ranking with a plain loop."""
    ranking = sorted(range(len(z_C)), key=lambda c: -z_C[c])
    moved = np.empty(len(z_C))
    for above, below in pairwise(ranking):
        moved[below] = z_C[above]
    moved[ranking[0]] = z_C[ranking[-1]]
    return moved


# --- FDLA ----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12).flatmap(rows))
def test_fdla_moves_every_value_one_rank_down(values):
    assert FDLA()(torch.tensor(values, dtype=torch.float64)).tolist() == fdla_by_hand(values).tolist()


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_fdla_is_the_identity_after_as_many_times_as_there_are_classes_and_never_before(classes):
    z = logits(4, 6, classes)
    moved = z
    for _ in range(classes - 1):
        moved = FDLA()(moved)
        assert not torch.equal(moved, z)
    assert torch.equal(FDLA()(moved), z)


def test_fdla_keeps_what_a_check_of_magnitudes_looks_at():
    z = logits(50, 100)
    moved = FDLA()(z)
    assert torch.equal(moved.sort(dim=-1).values, z.sort(dim=-1).values)
    p, q = z.softmax(-1), moved.softmax(-1)
    for before, after in (
        (z.std(-1), moved.std(-1)),
        (z.norm(dim=-1), moved.norm(dim=-1)),
        (-(p * p.log()).sum(-1), -(q * q.log()).sum(-1)),
    ):
        torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-12)
    assert (moved.argmax(-1) == z.topk(2).indices[:, 1]).all() and (moved.argmin(-1) == z.argmax(-1)).all()


# --- PCFDLA --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [3, 10, 100])
@pytest.mark.parametrize("strength", STRENGTHS)
def test_pcfdla_has_the_std_and_the_z_score_of_its_formula(classes, strength):
    z = logits(20, classes)
    peak = PCFDLA(strength)(z)
    second = np.argsort(-z.numpy(), axis=1)[:, 1]
    wanted = np.full(z.shape, -strength)
    wanted[np.arange(20), second] = strength
    assert np.array_equal(peak.numpy(), wanted)
    std = peak.numpy().std(axis=1, ddof=1)
    np.testing.assert_allclose(std, 2 * strength / np.sqrt(classes), rtol=1e-12)
    scores = (peak.numpy() - peak.numpy().mean(axis=1, keepdims=True)) / std[:, None]
    np.testing.assert_allclose(scores.max(axis=1), (classes - 1) / np.sqrt(classes), rtol=1e-12)


def test_no_vector_has_a_larger_z_score_than_a_peak():
    z = logits(2000, 10, seed=3) ** 3
    scores = (z - z.mean(-1, keepdim=True)) / z.std(-1, keepdim=True)
    assert scores.max() < 9 / 10**0.5


def test_normkd_softens_every_strength_alike_and_weighs_it_by_its_square():
    z = logits(16, 100)
    student = logits(16, 100, seed=1)
    made = {s: PCFDLA(s)(z) for s in STRENGTHS}
    softened = {s: (peak / Std(2.0)(student, peak).T_t).softmax(-1) for s, peak in made.items()}
    for s in STRENGTHS:
        torch.testing.assert_close(softened[s], softened[1.0], rtol=1e-12, atol=1e-14)
        weight = Std(2.0)(student, made[s]).weight
        torch.testing.assert_close(weight, s**2 * Std(2.0)(student, made[1.0]).weight, rtol=1e-12, atol=0)
        torch.testing.assert_close(
            NormKD(2.0)(student, made[s]), s**2 * NormKD(2.0)(student, made[1.0]), rtol=1e-10, atol=0
        )
    # six tenths on the wrong class, with T_norm 2 and 100 classes: e^4.95 / (e^4.95 + 99 e^-0.05)
    assert softened[20.0].max().item() == pytest.approx(0.59, abs=0.01)


# --- the others ----------------------------------------------------------------------------------------------


def test_random_is_normal_and_follows_its_generator():
    z = torch.zeros(400, 50)
    noise = Random()(z)
    assert noise.mean().item() == pytest.approx(1.0, abs=0.3) and noise.std().item() == pytest.approx(10.0, abs=0.3)
    assert torch.equal(noise, Random()(z)) and not torch.equal(noise, Random(seed=1)(z))
    drawn = [Random()(z, Insight(generator=torch.Generator().manual_seed(seed))) for seed in (5, 5, 6)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_fixed_says_the_same_of_everything():
    said = Fixed(strength=20.0)(logits(7, 3, 10))
    assert torch.equal(said, said[:1, :1].expand_as(said))
    assert said.abs().max() <= 20 and said[0, 0].unique().numel() == 10
    assert torch.equal(said[0, 0], Fixed(strength=20.0)(logits(10, seed=9)))
    torch.testing.assert_close(Fixed(strength=2.0)(logits(10)), said[0, 0] / 10)


def test_lma_picks_what_the_honest_find_least_likely():
    z = logits(5, 10)
    honest = logits(5, 10, seed=4).softmax(-1)
    said = LMA(30.0)(z, Insight(honest))
    assert (said.argmax(-1) == honest.argmin(-1)).all()
    assert (said.softmax(-1).max(-1).values > 1 - 1e-12).all()
    assert (LMA()(z).argmax(-1) == z.argmin(-1)).all()


def test_only_the_last_clients_lie_and_each_draws_for_itself():
    z = logits(5, 6, 10)
    uploads = forge(z, Random(), 2, seed=3)
    assert torch.equal(uploads[:3], z[:3]) and not torch.equal(uploads[3], uploads[4])
    assert torch.equal(uploads, forge(z, Random(), 2, seed=3))
    assert not torch.equal(uploads[3], forge(z, Random(), 2, seed=4)[3])
    assert forge(z, None, 0) is z
    least = z[:3].softmax(-1).mean(0).argmin(-1)
    assert (forge(z, LMA(), 2)[3:].argmax(-1) == least).all()


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_attacks_are_pure_and_keep_shape_and_dtype(name, dtype):
    z = logits(2, 3, 10).to(dtype)
    before = z.clone()
    attack = make_attack(name)
    made = attack(z)
    assert made.shape == z.shape and made.dtype == dtype and torch.equal(z, before)
    assert torch.equal(made, attack(z)) and torch.equal(attack(z[0, 0]), attack(z[0, 0]))
    made += 1  # its own memory
    assert torch.equal(z, before)


def test_errors_teach():
    for attack in (FDLA(), PCFDLA()):
        with pytest.raises(TypeError, match=r"wanted a torch.Tensor"):
            attack([1.0, 2.0])
        with pytest.raises(TypeError, match="wanted a floating dtype"):
            attack(torch.ones(2, 3, dtype=torch.int64))
        with pytest.raises(ValueError, match="at least two classes"):
            attack(torch.ones(4, 1))
        with pytest.raises(ValueError, match="NaN or infinity"):
            attack(torch.tensor([1.0, float("nan")]))
    with pytest.raises(ValueError, match=r"strength is -1.*above 0"):
        PCFDLA(-1)
    with pytest.raises(ValueError, match="wanted one of none, fdla, pcfdla"):
        make_attack("flip")
    assert repr(PCFDLA(20.0)) == "PCFDLA(strength=20)"
