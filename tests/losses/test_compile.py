"""torch.compile takes each loss whole, and the compiled value and gradient equal the eager ones."""

import shutil

import numpy as np
import pytest
import torch

from normkd_explore.losses import ABKD, CE, DKD, DTKD, JSD, KD, LSKD, SKL, SRKL, TAID, WKD, NormDKD, NormKD

ALL = [CE(), KD(), NormKD(), LSKD(), DKD(), NormDKD(), DTKD()]
RECENT = [JSD(), SKL(), SRKL(), ABKD(), TAID(), WKD()]
needs_compiler = pytest.mark.skipif(
    shutil.which("gcc") is None and shutil.which("g++") is None, reason="inductor needs a C++ compiler"
)


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def inputs_with_flat_rows() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    s, t = torch.from_numpy(rng.normal(0, [[[1.5]], [[3.0]]], (2, 6, 33))).float()
    s[1], s[4], t[3], t[4] = 0.0, 0.1, 0.1, 0.0
    return s, t, torch.from_numpy(rng.integers(0, 33, 6))


def value_and_gradient(loss, s, t, y):
    leaf = s.clone().requires_grad_()
    value = loss(leaf, t, y)
    value.backward()
    return value.detach(), leaf.grad


def assert_compiled_equals_eager(loss, backend):
    inputs = inputs_with_flat_rows()
    value, gradient = value_and_gradient(loss, *inputs)
    compiled_value, compiled_gradient = value_and_gradient(
        torch.compile(loss, fullgraph=True, backend=backend), *inputs
    )
    assert torch.isfinite(compiled_value) and torch.isfinite(compiled_gradient).all()
    torch.testing.assert_close(compiled_value, value, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(compiled_gradient, gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", [*ALL, *RECENT], ids=repr)
def test_traced_graph_is_whole_and_equal(loss):
    assert_compiled_equals_eager(loss, "aot_eager")


def hard_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ties of the largest logit, with the target among them and without; rows that are large, far off or tied."""
    s, t, y = inputs_with_flat_rows()
    s[0, [2, 7, 9]], t[0, [2, 5]] = 6.0, 9.0
    y[0] = 2
    s[2], t[2] = 300 * s[2], -200 * t[2]
    s[3] += 1e3
    t[5], s[5] = 0.25 * torch.round(t[5]), torch.round(s[5])  # many ties at every height
    return s, t, y


@needs_compiler
def test_generated_code_is_right_for_ties_and_large_logits():
    """Every loss on logits of its own, all in one piece of code, since the C++ compiler is slow to start."""

    def all_losses(logits_s_LBC, t, y):
        return torch.stack([loss(logits_BC, t, y) for loss, logits_BC in zip(ALL, logits_s_LBC, strict=True)])

    s, t, y = hard_inputs()
    found = {}
    for name, function in (("eager", all_losses), ("compiled", torch.compile(all_losses, fullgraph=True))):
        leaf = s.expand(len(ALL), *s.shape).clone().requires_grad_()
        values_L = function(leaf, t, y)
        values_L.sum().backward()
        found[name] = (values_L.detach(), leaf.grad)
    for loss, value, expected in zip(ALL, found["compiled"][0], found["eager"][0], strict=True):
        assert float(value) == pytest.approx(float(expected), rel=1e-5), repr(loss)
    for loss, gradient, expected in zip(ALL, found["compiled"][1], found["eager"][1], strict=True):
        assert torch.isfinite(gradient).all(), repr(loss)
        # A row shifted by 1000 has lost four digits in float32 before any loss sees it: both round it their own way.
        assert (gradient - expected).abs().max() <= 1e-4 * expected.abs().max(), repr(loss)


def test_shapes_are_still_checked_while_compiling():
    compiled = torch.compile(KD(), backend="aot_eager")
    with pytest.raises(ValueError, match=r"logits_student has shape \(4, 10\) and logits_teacher \(4, 11\)"):
        compiled(torch.randn(4, 10), torch.randn(4, 11))
