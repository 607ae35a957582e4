"""What must hold for any logits: invariances, orthogonal gradients, rows without spread, half precision."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normkd_explore.divergence import KL
from normkd_explore.losses import CE, DKD, KD, LSKD, DistillationLoss, NormDKD, NormKD
from normkd_explore.temperature import Std

ALL = [CE(), KD(), NormKD(), LSKD(), DKD(), NormDKD()]
WITH_TEACHER = ALL[1:]
BY_STD = [NormKD(), LSKD(), NormDKD()]
few = settings(deadline=None, max_examples=15)
seeds, batches, class_counts = st.integers(0, 10_000), st.integers(1, 12), st.integers(3, 40)


def random_inputs(batch=6, classes=10, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    s, t = rng.normal(0, [[[1.5]], [[3.0]]], (2, batch, classes))
    y = torch.from_numpy(rng.integers(0, classes, batch))
    return torch.from_numpy(s).to(dtype), torch.from_numpy(t).to(dtype), y


def gradient(loss, s, t, y):
    leaf = s.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(leaf, t, y), leaf)
    return found


@few
@given(batches, class_counts, seeds)
def test_normkd_is_lskd_times_the_teachers_variance(batch, classes, seed):
    s, t, _ = random_inputs(batch, classes, seed)
    lskd_without_eps = DistillationLoss(Std(2.0, weight="constant"), KL())
    want = lskd_without_eps.per_sample(s, t) * t.var(dim=1)
    torch.testing.assert_close(NormKD(2.0).per_sample(s, t), want, rtol=1e-9, atol=1e-12)


def test_normkd_is_lskd_times_the_teachers_variance_up_to_its_eps():
    s, t, _ = random_inputs(32, 100)
    torch.testing.assert_close(
        NormKD(2.0).per_sample(s, t), LSKD(2.0).per_sample(s, t) * t.var(dim=1), rtol=1e-6, atol=0
    )


@few
@given(batches, class_counts, seeds)
def test_dkd_with_the_teachers_own_factor_is_kd(batch, classes, seed):
    s, t, y = random_inputs(batch, classes, seed)
    rest_t = 1 - torch.softmax(t / 4, dim=1).gather(1, y[:, None]).squeeze(1)
    parts = DKD(1, 0).per_sample(s, t, y) + rest_t * DKD(0, 1).per_sample(s, t, y)
    torch.testing.assert_close(KD(4.0).per_sample(s, t), parts, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", ALL, ids=repr)
@few
@given(seed=seeds, shift=st.floats(-50, 50))
def test_shift_of_a_row_changes_nothing(loss, seed, shift):
    s, t, y = random_inputs(seed=seed)
    torch.testing.assert_close(loss(s + shift, t - 2 * shift, y), loss(s, t, y), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("loss", ALL, ids=repr)
@few
@given(seed=seeds)
def test_names_and_order_do_not_matter(loss, seed):
    s, t, y = random_inputs(seed=seed)
    rng = np.random.default_rng(seed)
    classes, samples = (torch.from_numpy(rng.permutation(n)) for n in (10, 6))
    renamed = classes.argsort()[y]
    torch.testing.assert_close(loss(s[:, classes], t[:, classes], renamed), loss(s, t, y), rtol=1e-9, atol=1e-12)
    reordered = loss.per_sample(s[samples], t[samples], y[samples])
    torch.testing.assert_close(reordered, loss.per_sample(s, t, y)[samples], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", BY_STD, ids=repr)
@few
@given(seed=seeds, scale=st.floats(0.05, 50))
def test_scale_of_the_student_changes_nothing(loss, seed, scale):
    s, t, y = random_inputs(seed=seed)
    torch.testing.assert_close(loss(scale * s, t, y), loss(s, t, y), rtol=2e-5, atol=1e-9)


@few
@given(seed=seeds, scale=st.floats(0.05, 50))
def test_scale_of_the_teacher_enters_squared_in_normkd_and_not_at_all_in_lskd(seed, scale):
    s, t, _ = random_inputs(seed=seed)
    torch.testing.assert_close(NormKD()(s, scale * t), scale**2 * NormKD()(s, t), rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(LSKD()(s, scale * t), LSKD()(s, t), rtol=2e-5, atol=1e-9)


def test_scale_of_the_student_does_matter_in_kd():
    s, t, y = random_inputs()
    for loss in (KD(), DKD()):
        assert abs(loss(2 * s, t, y).item() / loss(s, t, y).item() - 1) > 0.01


@pytest.mark.parametrize("loss", ALL, ids=repr)
@few
@given(batch=batches, classes=class_counts, seed=seeds)
def test_gradient_rows_sum_to_zero(loss, batch, classes, seed):
    s, t, y = random_inputs(batch, classes, seed)
    found = gradient(loss, s, t, y)
    np.testing.assert_allclose(found.sum(dim=1).numpy(), 0, atol=1e-12 * max(1.0, found.abs().max().item()))


@pytest.mark.parametrize("loss", BY_STD, ids=repr)
@few
@given(batch=batches, classes=class_counts, seed=seeds)
def test_gradient_rows_are_orthogonal_to_the_students_logits(loss, batch, classes, seed):
    s, t, y = random_inputs(batch, classes, seed)
    along_s = (gradient(loss, s, t, y) * s).sum(dim=1)
    # An eps beside std breaks the scale invariance by eps / std² times the slope at fixed std, at most 2 T max|z|.
    allowed = 1e-11 + loss.policy.eps * 4 * s.abs().amax(dim=1) / s.var(dim=1)
    assert (along_s.abs() <= allowed).all()


@pytest.mark.parametrize("loss", WITH_TEACHER, ids=repr)
@few
@given(seed=seeds)
def test_never_negative_and_zero_only_in_agreement(loss, seed):
    s, t, y = random_inputs(seed=seed)
    assert (loss.per_sample(s, t, y) > 0).all()
    np.testing.assert_allclose(loss.per_sample(t + 5, t, y).numpy(), 0, atol=1e-10)
    np.testing.assert_allclose(gradient(loss, t + 5, t, y).numpy(), 0, atol=1e-10)


@pytest.mark.parametrize("loss", WITH_TEACHER, ids=repr)
def test_a_step_down_the_gradient_helps(loss):
    s, t, y = random_inputs()
    step = gradient(loss, s, t, y)
    assert step.abs().max() > 1e-3
    assert loss(s - 0.1 * step, t, y) < loss(s, t, y)


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_teacher_never_receives_a_gradient(loss):
    s, t, y = random_inputs()
    s.requires_grad_()
    t.requires_grad_()
    loss(s, t, y).backward()
    assert t.grad is None and s.grad is not None


def test_labels_are_ignored_where_they_do_not_matter():
    s, t, y = random_inputs()
    for loss in (KD(), NormKD(), LSKD()):
        assert loss(s, t) == loss(s, t, y) == loss(s, t, y + 1000)
    assert CE()(s, None, y) == CE()(s, t, y)


ROWS = {
    "student zero": (0.0, None),
    "student 0.1": (0.1, None),
    "teacher zero": (None, 0.0),
    "teacher 0.1": (None, 0.1),
    "both": (0.1, -7.3),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("fill_s", "fill_t"), ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_a_row_of_equal_logits_is_finite_and_leaves_the_others_alone(loss, fill_s, fill_t, dtype):
    s, t, y = random_inputs(5, 100, dtype=dtype)
    others = [0, 1, 3, 4]
    want = loss.per_sample(s[others].double(), t[others].double(), y[others])
    want_gradient = gradient(loss, s[others].double(), t[others].double(), y[others])
    if fill_s is not None:
        s[2] = fill_s
    if fill_t is not None:
        t[2] = fill_t
    parts, found = loss.per_sample(s, t, y), gradient(loss, s, t, y)
    assert torch.isfinite(parts).all() and torch.isfinite(found).all()
    torch.testing.assert_close(parts[others].double(), want, rtol=1e-6, atol=0)
    scale = want_gradient.abs().amax()
    torch.testing.assert_close(found[others].double() * 5 / 4 / scale, want_gradient / scale, rtol=0, atol=1e-6)


@pytest.mark.parametrize("loss", BY_STD, ids=repr)
def test_a_zero_initialised_student_learns_from_the_first_step(loss):
    s, t, y = random_inputs(8, 100, dtype=torch.float32)
    found = gradient(loss, torch.zeros_like(s), t, y)
    assert (found.abs().amax(dim=1) > 1e-5).all()
    assert loss(-found, t, y) < loss(torch.zeros_like(s), t, y)


def test_a_teacher_without_opinion_counts_nothing_in_normkd():
    s, t, y = random_inputs()
    t[3] = 1.7
    for loss in (NormKD(), NormDKD()):
        assert loss.per_sample(s, t, y)[3] == 0 and (gradient(loss, s, t, y)[3] == 0).all()
    uniform = LSKD(2.0).per_sample(s, t)[3].item()
    q = torch.softmax((s[3] - s[3].mean()) / s[3].std() / 2, dim=0)
    assert uniform == pytest.approx(4 * (0.1 * torch.log(0.1 / q)).sum().item(), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("autocast", [False, True], ids=["plain", "autocast"])
@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_half_precision_logits_are_computed_in_float32(loss, autocast, dtype):
    s, t, y = random_inputs(16, 100, dtype=dtype)
    want = loss(s.double(), t.double(), y).item()
    s.requires_grad_()
    with torch.autocast("cpu", dtype=dtype, enabled=autocast):
        result = loss(s, t, y)
    result.backward()
    assert result.dtype == torch.float32 and result.item() == pytest.approx(want, rel=1e-5)
    assert s.grad.dtype == dtype and torch.isfinite(s.grad).all() and s.grad.abs().max() > 0


@pytest.mark.parametrize("autocast", [False, True], ids=["plain", "autocast"])
@pytest.mark.parametrize("loss", WITH_TEACHER, ids=repr)
def test_dtype_of_the_result(loss, autocast):
    s, t, y = random_inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        assert loss(s, t, y).dtype == torch.float64
        assert loss(s.float(), t.half(), y).dtype == torch.float32
        assert loss(s.float(), t.float(), y).item() == pytest.approx(loss(s, t, y).item(), rel=1e-5)


@pytest.mark.parametrize("loss", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_enormous_logits_stay_finite(loss, dtype):
    s, t, y = (torch.tensor([[1e4, -1e4, 0.0, 3.0], [-1e4, 1e4, 5.0, 5.0]], dtype=dtype) for _ in range(3))
    t, y = t.flip(0), torch.tensor([0, 0])
    assert torch.isfinite(loss.per_sample(s, t, y)).all() and torch.isfinite(loss.per_sample(t, t, y)).all()
    assert torch.isfinite(gradient(loss, s.float(), t, y)).all()


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_values_are_never_read_off_the_cpu(loss):
    """Meta tensors have no values: reading one, which on a GPU would stall the step, raises here."""
    s, t = torch.empty(4, 10, device="meta", requires_grad=True), torch.empty(4, 10, device="meta")
    result = loss(s, t, torch.empty(4, dtype=torch.int64, device="meta"))
    result.backward()
    assert result.shape == () and s.grad.shape == s.shape


def test_words_and_copies():
    assert [repr(loss) for loss in ALL] == [
        "CE()",
        "KD(temperature=4.0)",
        "NormKD(t_norm=2.0)",
        "LSKD(temperature=2.0)",
        "DKD(alpha=1.0, beta=8.0, temperature=4.0)",
        "NormDKD(alpha=1.0, beta=8.0, t_norm=2.0)",
    ]
    kd, s_t_y = KD(3), random_inputs()
    assert repr(DistillationLoss(kd.policy, kd.divergence)) == (
        "DistillationLoss(policy=Constant(temperature=3.0, weight='alike'), divergence=KL())"
    )
    for loss in ALL:
        assert loss.state_dict() == {} and list(loss.parameters()) == []
        for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), eval(repr(loss))):
            assert repr(other) == repr(loss) and other(*s_t_y) == loss(*s_t_y)


def test_importing_the_losses_loads_nothing_but_torch():
    code = (
        "import sys, torch; before = set(sys.modules); import normkd_explore.losses; "
        "new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "['normkd_explore']"
