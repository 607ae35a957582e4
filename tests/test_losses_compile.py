"""torch.compile takes each loss whole, and the compiled value and gradient equal the eager ones."""

import shutil

import numpy as np
import pytest
import torch

from normkd_explore.losses import CE, DKD, KD, LSKD, NormDKD, NormKD

ALL = [CE(), KD(), NormKD(), LSKD(), DKD(), NormDKD()]
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


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_traced_graph_is_whole_and_equal(loss):
    assert_compiled_equals_eager(loss, "aot_eager")


@needs_compiler
def test_generated_code_is_whole_and_equal():
    """Two losses in one graph: most of the time goes into the C++ compiler's start."""
    first, second = NormKD(), NormDKD()
    assert_compiled_equals_eager(lambda s, t, y: first(s, t, y) + second(s, t, y), "inductor")


def test_shapes_are_still_checked_while_compiling():
    compiled = torch.compile(KD(), backend="aot_eager")
    with pytest.raises(ValueError, match=r"logits_student has shape \(4, 10\) and logits_teacher \(4, 11\)"):
        compiled(torch.randn(4, 10), torch.randn(4, 11))
