"""What must hold for the neighbours of NormKD: symmetries, agreement, and who depends on the batch."""

import numpy as np
import pytest
import torch
from hypothesis import given

from normkd_explore import losses as L
from normkd_explore.divergence import GramMatrices
from tests.helpers.neighbours import ALL, ON_THE_BATCH, ON_THE_SAMPLE, few, random_inputs, seeds

NOT_SHIFT_INVARIANT = (L.DTKD,)


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


@pytest.mark.parametrize("loss", [x for x in ALL if not isinstance(x, (L.NKD, L.TTM, L.WKD))], ids=repr)
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
