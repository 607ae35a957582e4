"""Losses on (positions, vocabulary) logits: equal to the plain ones on the positions that count, in little memory."""

import pytest
import torch

from benchmarks.language_memory import STORED, WAYS, peak
from normkd_explore.divergence import KL, Correlation, Decoupled, ReverseKL
from normkd_explore.language import TokenBiLD, TokenKL, TokenLoss, TokenNormKD, TokenReverseKL
from normkd_explore.losses import BiLD, DistillationLoss, NormKD
from normkd_explore.temperature import Constant, Learned, Unweighted

PLAIN = [
    (TokenKL, DistillationLoss(Unweighted(Constant(3.0)), KL())),
    (TokenReverseKL, DistillationLoss(Unweighted(Constant(3.0)), ReverseKL())),
    (TokenNormKD, NormKD(3.0)),
    (TokenBiLD, BiLD(8, 3.0)),
]


def inputs(shape=(3, 50, 40), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    s, t = (scale * torch.randn(shape, generator=generator, dtype=torch.float64) for scale in (1.5, 3.0))
    return s.to(dtype).requires_grad_(), t.to(dtype), torch.rand(shape[:-1], generator=generator) < 0.6


@pytest.mark.parametrize("consume", [False, True], ids=["new memory", "teacher consumed"])
@pytest.mark.parametrize(("make", "plain"), PLAIN)
def test_equals_the_plain_loss_of_the_positions_that_count(make, plain, consume):
    """Sequences of different length are not averaged first: the mean is over all positions with mask."""
    s, t, mask = inputs()
    want = plain(s[mask], t[mask])
    (want_slope,) = torch.autograd.grad(3 * want, s)
    given = t.clone()
    found = make(consume_teacher=consume)(s, given, mask)
    (3 * found).backward()
    torch.testing.assert_close(found, want)
    torch.testing.assert_close(s.grad, want_slope)
    assert (s.grad[~mask] == 0).all() and torch.equal(given, t) is not consume


@pytest.mark.parametrize(("make", "plain"), PLAIN)
def test_slices_and_any_number_of_axes(make, plain):
    """A slice of a larger tensor, two axes of positions or one: the same value and gradient, nothing copied."""
    s, t, mask = inputs()
    want = plain(s[:, 1:][mask[:, 1:]], t[:, 1:][mask[:, 1:]])
    (want_slope,) = torch.autograd.grad(want, s)
    found = make()(s[:, 1:], t[:, 1:], mask[:, 1:])
    torch.testing.assert_close(found, want)
    torch.testing.assert_close(torch.autograd.grad(found, s)[0], want_slope)
    torch.testing.assert_close(make()(s[0, 1:], t[0, 1:]), plain(s[0, 1:], t[0, 1:]))
    four = make()(s.unflatten(1, (5, 10)), t.unflatten(1, (5, 10)), mask.unflatten(1, (5, 10)))
    torch.testing.assert_close(four, make()(s, t, mask))


@pytest.mark.parametrize(("make", "plain"), PLAIN)
def test_half_precision_is_computed_in_float32(make, plain):
    s, t, mask = inputs(dtype=torch.bfloat16)
    found = make()(s, t, mask)
    found.backward()
    want = plain(s.detach().float()[mask], t.float()[mask])
    assert found.dtype == torch.float32 and found.item() == pytest.approx(want.item(), rel=1e-5)
    assert s.grad.dtype == torch.bfloat16 and s.grad.abs().max() > 0


@pytest.mark.parametrize("positions", [1, 63, 64, 65, 200])
def test_any_number_of_positions(positions):
    s, t, _ = inputs((positions, 12))
    found = TokenKL()(s, t)
    torch.testing.assert_close(found, PLAIN[0][1](s, t))


def test_without_a_gradient_only_the_value_is_computed():
    s, t, mask = inputs()
    want = TokenKL()(s, t, mask)
    with torch.no_grad():
        torch.testing.assert_close(TokenKL()(s, t, mask), want.detach())


def test_positions_that_do_not_count_may_hold_anything():
    s, t, mask = inputs()
    want = TokenKL()(s, t, mask).item()
    with torch.no_grad():
        s[~mask], t[~mask] = float("nan"), float("inf")
    found = TokenKL(consume_teacher=True)(s, t, mask)
    found.backward()
    assert found.item() == want and torch.isfinite(s.grad).all()


def test_no_position_that_counts_costs_nothing():
    s, t, mask = inputs()
    loss = TokenNormKD()(s, t, torch.zeros_like(mask))
    loss.backward()
    assert loss.item() == 0 and (s.grad == 0).all()


def test_gradient_is_handed_out_once():
    s, t, _ = inputs()
    loss = TokenKL()(s, t)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="backward was called twice"):
        loss.backward()


@pytest.mark.parametrize("make", [TokenNormKD, TokenBiLD])
def test_memory_stays_near_the_logits_themselves(make):
    """Forward and backward of a vocabulary of 150,000, against 1.5 for the gradient in memory of its own."""
    assert peak(make.__name__, WAYS[2], 96, 150_000) < 1.3


def test_a_stored_top_k_takes_little_beside_the_student_and_its_gradient():
    """Which are 1.0 in this unit; the teacher's share is read from a file."""
    assert peak("TokenNormKD", STORED, 96, 150_000) < 1.25


def test_memory_of_the_composed_loss_does_not():
    assert peak("TokenKL", WAYS[0], 96, 150_000) > 1.6


@pytest.mark.parametrize(
    ("policy", "divergence"),
    [(Constant(1.0), Correlation(1, 1)), (Constant(1.0), Decoupled(1, 8)), (Learned(), KL())],
    ids=repr,
)
def test_losses_that_are_not_of_one_position_are_refused(policy, divergence):
    with pytest.raises(ValueError, match="wanted a loss of each position alone"):
        TokenLoss(policy, divergence)


BAD = {
    "list": (lambda s, t, m: ([1.0], t, m), TypeError, r"logits_student is list, wanted a floating tensor"),
    "integers": (lambda s, t, m: (s, t.long(), m), TypeError, "logits_teacher is torch.int64"),
    "other vocabulary": (lambda s, t, m: (s, t[..., :-1], m), ValueError, r"\(3, 50, 39\).*same tokenizer"),
    "one row": (lambda s, t, m: (s[0, 0], t[0, 0], None), ValueError, r"shape \(40,\)"),
    "labels for a mask": (lambda s, t, m: (s, t, m.long()), TypeError, "mask must be a bool tensor"),
    "other mask": (lambda s, t, m: (s, t, m[0]), ValueError, r"mask has shape \(50,\), wanted \(3, 50\)"),
    "nan": (lambda s, t, m: (s * float("nan"), t, m), ValueError, "the loss is nan, wanted a finite number"),
}


@pytest.mark.parametrize(("spoil", "error", "words"), BAD.values(), ids=BAD)
def test_bad_inputs_are_named(spoil, error, words):
    with pytest.raises(error, match=words):
        TokenKL()(*spoil(*inputs()))


@pytest.mark.parametrize("spoil", [lambda t: t.half(), lambda t: t.transpose(0, 1).contiguous().transpose(0, 1)])
def test_a_teacher_that_cannot_be_consumed_is_refused(spoil):
    s, t, mask = inputs()
    with pytest.raises(ValueError, match="consume_teacher: found logits_teacher of dtype"):
        TokenKL(consume_teacher=True)(s, spoil(t), mask)
