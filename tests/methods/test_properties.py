"""What must hold for the neighbours of NormKD: identities, symmetries, who depends on the batch, and the extremes."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkd_explore import losses as L
from normkd_explore.divergence import KL, Correlation, Decoupled, Differences, GramMatrices, Normalized, Refined
from normkd_explore.temperature import Constant

ON_THE_SAMPLE = [
    L.RLD(),
    L.NormRLD(),
    L.ATLC(),
    L.DTKD(),
    L.DTKD(4.0, 3.0, 1.0),
    L.CTKD(),
    L.TTM(0.2),
    L.WTTM(0.2),
    L.NKD(),
    L.NKD(3.5, 3.0),
    L.BiLD(),
    L.NormBiLD(),
]
ON_THE_BATCH = [L.DIST(), L.NormDIST(), L.MLKD(), L.MLKD(as_coded=True), L.NormMLKD()]
ALL = ON_THE_SAMPLE + ON_THE_BATCH
NOT_SHIFT_INVARIANT = (L.DTKD,)
few = settings(deadline=None, max_examples=5)
seeds = st.integers(0, 10_000)


def random_inputs(batch=6, classes=12, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    s, t = rng.normal(0, [[[1.5]], [[3.0]]], (2, batch, classes))
    y = torch.from_numpy(rng.integers(0, classes, batch))
    return torch.from_numpy(s).to(dtype), torch.from_numpy(t).to(dtype), y


def gradient(loss, s, t, y):
    leaf = s.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(leaf, t, y), leaf)[0]


# Identities


@few
@given(seeds)
def test_rld_is_dkd_where_the_teacher_is_right_and_the_temperatures_agree(seed):
    s, t, _ = random_inputs(seed=seed)
    y = t.argmax(dim=1)
    torch.testing.assert_close(L.RLD(1, 8, 4, 4).per_sample(s, t, y), L.DKD(1, 8, 4).per_sample(s, t, y))
    torch.testing.assert_close(L.NormRLD(2, 3, 1.5).per_sample(s, t, y), L.NormDKD(2, 3, 1.5).per_sample(s, t, y))


def test_rld_is_not_dkd_where_the_teacher_is_wrong():
    s, t, _ = random_inputs()
    y = t.argsort(dim=1)[:, -2]
    assert (L.RLD(1, 8, 4, 4).per_sample(s, t, y) - L.DKD(1, 8, 4).per_sample(s, t, y)).abs().min() > 1e-3


def test_rld_does_not_pull_the_student_towards_classes_above_the_true_one():
    """The pull of DKD on the teacher's wrong top class is what RLD leaves out of its ranking part."""
    s, t = torch.zeros(1, 4).double(), torch.tensor([[3.0, 1.0, 0.5, 0.0]]).double()
    slope = gradient(L.RLD(0, 8), s, t, torch.tensor([1]))
    assert (slope[0, :2] == 0).all() and (slope[0, 2:] != 0).all()


@few
@given(seeds, st.floats(0.05, 3.0))
def test_ttm_is_a_temperature_on_the_teacher_alone(seed, exponent):
    s, t, _ = random_inputs(seed=seed)
    torch.testing.assert_close(L.TTM(exponent).per_sample(s, t), KL()(s, exponent * t))
    power_sum = (t.softmax(1) ** exponent).sum(1)
    torch.testing.assert_close(L.WTTM(exponent).per_sample(s, t), power_sum * L.TTM(exponent).per_sample(s, t))


@few
@given(seeds)
def test_nkd_has_the_gradient_of_dkds_other_classes(seed):
    s, t, y = random_inputs(seed=seed)
    torch.testing.assert_close(
        gradient(lambda *a: Normalized(0, 3.5)(*a).mean(), s, t, y),
        gradient(lambda *a: Decoupled(0, 3.5)(*a).mean(), s, t, y),
    )


def test_nkd_on_the_target_is_cross_entropy_times_the_teachers_confidence():
    s, t, y = random_inputs()
    want = t.softmax(1).gather(1, y[:, None]).squeeze(1) * L.CE().per_sample(s, None, y)
    torch.testing.assert_close(L.NKD(0.0).per_sample(s, t, y), want)


def test_atlc_is_lskd_at_its_own_temperature():
    s, t, _ = random_inputs()
    for i in range(6):
        one = slice(i, i + 1)
        peak = max(((z[i] - z[i].mean()) / z[i].std()).abs().max().item() for z in (s, t))
        tau = (1 + 3**0.5) / 2 * peak
        assert L.ATLC()(s[one], t[one]).item() == pytest.approx(L.LSKD(tau)(s[one], t[one]).item(), rel=1e-6)


def test_dtkd_is_kd_where_the_largest_logits_agree():
    s, t, _ = random_inputs()
    s, t = s - s.amax(1, keepdim=True) + 5, t - t.amax(1, keepdim=True) + 5
    torch.testing.assert_close(L.DTKD(4.0).per_sample(s, t), L.KD(4.0).per_sample(s, t))
    torch.testing.assert_close(L.DTKD(4.0, 0.0, 2.0)(s, t), 2 * L.KD(4.0)(s, t))


def test_ctkd_is_kd_at_the_temperature_it_has_reached():
    s, t, _ = random_inputs()
    T = 1 + 20 / (1 + np.exp(-1.0))
    assert abs(T - 15.62) < 0.005
    assert L.CTKD()(s, t).item() == pytest.approx(L.KD(T)(s, t).item(), rel=1e-9)


@few
@given(seeds, st.floats(0.05, 1))
def test_dist_asks_for_correlation_alone(seed, share):
    """A prediction mixed with the uniform one correlates fully with it, where the published eps is left out."""
    _, t, _ = random_inputs(seed=seed)
    mixed = (share * t.softmax(1) + (1 - share) / 12).log()
    np.testing.assert_allclose(Correlation(1, 1, eps=0)(mixed, t).numpy(), 0, atol=1e-9)
    assert KL()(0.5 * mixed, t).min() > 1e-5


def test_mlkd_is_kd_plus_its_gram_matrices():
    s, t, _ = random_inputs()
    want = sum(L.KD(T)(s, t) + GramMatrices()(s / T, t / T).mean() for T in (4, 2, 3, 5, 6))
    torch.testing.assert_close(L.MLKD()(s, t), want)
    torch.testing.assert_close(GramMatrices(2, 0)(s, t) + GramMatrices(0, 3)(s, t), GramMatrices(2, 3)(s, t))


def test_mlkd_as_coded_is_half_of_it_for_an_even_number_of_samples_and_classes():
    s, t, _ = random_inputs(6, 12)
    torch.testing.assert_close(L.MLKD(as_coded=True)(s, t), L.MLKD()(s, t) / 2)


def test_bild_sees_only_the_top_classes():
    s, t, _ = random_inputs(classes=30)
    low = torch.ones(6, 30).double().scatter(1, torch.cat([s.topk(8).indices, t.topk(8).indices], 1), 0.0)
    torch.testing.assert_close(L.BiLD()(s - 50 * low, t - 70 * low), L.BiLD()(s, t))
    assert abs(L.KD()(s - 50 * low, t - 70 * low) - L.KD()(s, t)) > 1e-3


# Symmetries


@pytest.mark.parametrize("loss", ALL, ids=repr)
@few
@given(seed=seeds)
def test_names_and_order_do_not_matter(loss, seed):
    s, t, y = random_inputs(seed=seed)
    rng = np.random.default_rng(seed)
    classes, samples = (torch.from_numpy(rng.permutation(n)) for n in (12, 6))
    renamed = classes.argsort()[y]
    torch.testing.assert_close(loss(s[:, classes], t[:, classes], renamed), loss(s, t, y), rtol=1e-9, atol=1e-11)
    reordered = loss.per_sample(s[samples], t[samples], y[samples])
    torch.testing.assert_close(reordered, loss.per_sample(s, t, y)[samples], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_shift_of_a_row_changes_nothing_but_in_dtkd(loss):
    s, t, y = random_inputs()
    shifted = loss(s + 7.0, t - 2.0, y).item()
    assert (shifted == pytest.approx(loss(s, t, y).item(), rel=1e-9)) is not isinstance(loss, NOT_SHIFT_INVARIANT)


@pytest.mark.parametrize("loss", [x for x in ALL if not isinstance(x, (L.NKD, L.TTM))], ids=repr)
def test_zero_in_agreement_alone(loss):
    s, t, _ = random_inputs()
    y = t.argmax(1)  # RLD agrees with a teacher that is right
    # The published eps of DIST leaves a correlation of 1 - 1e-5.
    np.testing.assert_allclose(loss.per_sample(t, t, y).detach().numpy(), 0, atol=2e-4)
    assert loss(s, t, y) > 1e-2


def test_nkd_and_ttm_keep_a_rest_in_agreement():
    """NKD is a cross-entropy; TTM asks the student to be softer than the teacher."""
    _, t, y = random_inputs()
    assert L.NKD()(t, t, y) > 0.1 and L.TTM(0.2)(t, t) > 0.1
    np.testing.assert_allclose(L.TTM(0.2).per_sample(0.2 * t, t).numpy(), 0, atol=1e-12)


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_a_step_down_the_gradient_helps_and_the_teacher_never_gets_one(loss):
    s, t, y = random_inputs()
    s.requires_grad_()
    t.requires_grad_()
    value = loss(s, t, y)
    value.backward()
    assert t.grad is None and s.grad.abs().max() > 1e-5
    step = 1e-3 * s.grad / s.grad.abs().max()
    assert loss(s - step, t, y) < value


# The batch


@pytest.mark.parametrize("loss", ON_THE_SAMPLE, ids=repr)
def test_a_sample_costs_the_same_in_any_company(loss):
    s, t, y = random_inputs()
    alone = torch.cat([loss.per_sample(s[i : i + 1], t[i : i + 1], y[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(loss.per_sample(s, t, y), alone)


@pytest.mark.parametrize("loss", ON_THE_BATCH, ids=repr)
def test_a_sample_costs_more_or_less_in_other_company(loss):
    s, t, y = random_inputs()
    halves = (loss(s[:3], t[:3], y[:3]) + loss(s[3:], t[3:], y[3:])) / 2
    assert abs(loss(s, t, y) / halves - 1) > 1e-4


def test_class_correlation_of_a_repeated_batch_grows_with_its_square():
    s, t, _ = random_inputs()
    once, twice = (GramMatrices(1, 0)(s.repeat(n, 1), t.repeat(n, 1)).mean() for n in (1, 2))
    torch.testing.assert_close(twice, 4 * once)


# Numbers


@pytest.mark.parametrize("loss", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32(loss, dtype):
    s, t, y = random_inputs(8, 50, dtype=dtype)
    want = loss(s.double(), t.double(), y).item()
    s.requires_grad_()
    found = loss(s, t, y)
    found.backward()
    assert found.dtype == torch.float32 and found.item() == pytest.approx(want, rel=1e-4, abs=1e-6)
    assert s.grad.dtype == dtype and torch.isfinite(s.grad).all() and s.grad.abs().max() > 0


CORNERS = torch.tensor([[1e4, -1e4, 0.0, 3.0], [-1e4, 1e4, 5.0, 5.0], [1e4, 1e4, -1e4, 1e4], [0.0, 0.0, 0.0, 1e4]])


@pytest.mark.parametrize("loss", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_extreme_confidence_stays_finite(loss, dtype):
    """Probabilities that underflow, for every label and every pairing of student and teacher."""
    for i in range(4):
        for label in range(4):
            s, t, y = CORNERS.to(dtype), CORNERS.roll(i, 0).to(dtype), torch.full((4,), label)
            assert torch.isfinite(loss.per_sample(s, t, y)).all()
            assert torch.isfinite(gradient(loss, s, t, y)).all()


@pytest.mark.parametrize("loss", ALL, ids=repr)
@pytest.mark.parametrize("fill", [0.0, 0.1, -7.3])
def test_rows_of_equal_logits_stay_finite(loss, fill):
    s, t, y = random_inputs(dtype=torch.float32)
    s[0], s[1], t[1], t[2] = fill, fill, fill, 0.1
    assert torch.isfinite(loss.per_sample(s, t, y)).all() and torch.isfinite(gradient(loss, s, t, y)).all()
    everything = torch.full_like(s, fill)
    assert torch.isfinite(gradient(loss, everything, t, y)).all()


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_ties_stay_finite_and_fair(loss):
    s, t, y = random_inputs(classes=6)
    s, t = s.round(), t.round()
    t[0, :], t[0, :3], y[0] = 0.0, 2.0, 0
    assert torch.isfinite(loss.per_sample(s, t, y)).all() and torch.isfinite(gradient(loss, s, t, y)).all()


def test_a_tie_of_the_true_class_leaves_the_tied_class_out():
    s, t = random_inputs(1, 4)[0], torch.tensor([[2.0, 2.0, 1.0, 0.0]]).double()
    slope = gradient(L.RLD(0, 1), s, t, torch.tensor([0]))
    assert (slope[0, :2] == 0).all() and (slope[0, 2:] != 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_rld_has_nothing_to_rank_below_the_teachers_lowest_class(dtype):
    s, t, _ = random_inputs(dtype=dtype)
    y = t.argmin(dim=1)
    assert (Refined(0, 1)(s, t, y) == 0).all() and (gradient(L.RLD(0.0, 8.0), s, t, y) == 0).all()
    y[0] = t[0].argmax()
    slope = gradient(L.RLD(0.0, 8.0), s, t, y)
    assert slope[0].abs().max() > 0 and (slope[1:] == 0).all()


CLASSICS = [L.KD(), L.NormKD(), L.DKD(), L.NormDKD(), L.LSKD()]


@pytest.mark.parametrize("loss", [*ALL, *CLASSICS], ids=repr)
def test_a_teacher_wrong_on_every_sample_is_survived(loss):
    s, t, _ = random_inputs(dtype=torch.float32)
    y = (t.argmax(dim=1) + 1) % 12
    t = t.scatter(1, t.argmax(dim=1, keepdim=True), 500.0)
    assert torch.isfinite(loss.per_sample(s, t, y)).all() and gradient(loss, s, t, y).abs().max() > 0


TWO = [L.RLD(), L.DTKD(), L.CTKD(), L.DIST(), L.MLKD(), L.TTM(0.5), L.WTTM(0.5), L.NKD()]
THREE = [L.NormRLD(), L.ATLC(), L.NormDIST(), L.NormMLKD(), L.BiLD(), L.NormBiLD()]


@pytest.mark.parametrize("loss", TWO, ids=repr)
def test_two_classes(loss):
    s, t, y = random_inputs(classes=2)
    assert torch.isfinite(loss(s, t, y)) and gradient(loss, s, t, y).abs().max() > 0


@pytest.mark.parametrize("loss", THREE, ids=repr)
def test_two_classes_are_refused_and_three_are_not(loss):
    with pytest.raises(ValueError, match=r"2 classes, wanted at least 3.*KD\(temperature"):
        loss(*random_inputs(classes=2))
    assert gradient(loss, *random_inputs(classes=3)).abs().max() > 0


def test_bild_takes_all_classes_where_there_are_fewer_than_k():
    s, t, _ = random_inputs(classes=5)
    torch.testing.assert_close(L.BiLD(8)(s, t), L.BiLD(5)(s, t))


# Words


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_words_and_copies(loss):
    inputs = random_inputs()
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), eval(repr(loss), vars(L))):
        assert repr(other) == repr(loss) and torch.equal(other(*inputs), loss(*inputs))
    assert [name for name, _ in loss.named_parameters()] == (["policy.theta"] if isinstance(loss, L.CTKD) else [])


def test_sums_leave_parts_without_weight_out():
    s, t, y = random_inputs()
    both = L.WeightedSum([(2.0, L.KD()), (0.5, L.DKD()), (0.0, L.NormKD())])
    torch.testing.assert_close(both(s, t, y), 2 * L.KD()(s, t) + 0.5 * L.DKD()(s, t, y))
    assert len(both.parts) == 2 and both.needs_target
    assert (gradient(L.WeightedSum([]), s, t, y) == 0).all()


@pytest.mark.parametrize("loss", [L.RLD(), L.NKD(), L.NormRLD()], ids=repr)
def test_missing_labels_name_the_loss(loss):
    with pytest.raises(TypeError, match=f"target is missing: {type(loss).__name__} compares"):
        loss(*random_inputs()[:2])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: L.RLD(alpha=-1), "alpha is -1"),
        (lambda: L.RLD(confidence_temperature=0), "temperature is 0"),
        (lambda: L.NKD(gamma=float("nan")), "gamma is nan"),
        (lambda: L.DIST(beta=-1), "beta is -1"),
        (lambda: L.TTM(0), "exponent is 0"),
        (lambda: L.BiLD(k=2), "k is 2, wanted a whole number of at least 3"),
        (lambda: Differences(7.5), "k is 7.5, wanted a whole number"),
        (lambda: L.DTKD(beta=-2.0), "beta is -2.0"),
        (lambda: L.MLKD(temperatures=(1.0, 0.0)), "temperature is 0.0"),
        (lambda: L.CTKD(start=0.0), "start is 0.0"),
        (lambda: GramMatrices(classes=-1.0), "classes is -1.0"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_bad_types_are_named():
    with pytest.raises(TypeError, match="k is '8'"):
        L.BiLD(k="8")
    assert L.BiLD(k=8.0).divergence.k == 8 and Constant(4) == L.DTKD(4, 0, 1).parts[0].policy
