"""Feature losses on hostile input: half precision, dead features, a batch of one, and tensors that do not fit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from normkd_explore.feature_losses import AT, CRD, RKD, VID, FitNet, Regressor, ReviewKD
from tests.helpers.feature_cases import CASES, INDEX, MAPS_S, MAPS_T, POOLED, SHAPES, as_list, called, cases, crd, made


@cases
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, dtype):
    build, student, teacher, rest = CASES[name]
    sides = [[x.to(dtype) for x in as_list(side)] for side in (student, teacher)]
    loss = made(build).float()
    exact = called(copy.deepcopy(loss), *([x.float() for x in side] for side in sides), rest, student)
    learning = [x.requires_grad_() for x in sides[0]]
    value = called(loss, learning, sides[1], rest, student)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, exact, rtol=1e-6, atol=1e-6)
    value.backward()
    assert all(x.grad.dtype == dtype and torch.isfinite(x.grad).all() for x in learning)


@pytest.mark.parametrize("name", ["at", "rkd", "sp", "pkt", "nst", "vid", "crd", "reviewkd", "ofd", "fitnet"])
def test_dead_features_have_a_finite_and_moderate_gradient(name):
    """Samples whose features are all 0, two of them: norms, distances and angles have no derivative there."""
    build, student, teacher, rest = CASES[name]
    inputs = [x.clone().index_fill(0, torch.tensor([0, 1]), 0.0).requires_grad_() for x in as_list(student)]
    value = called(made(build), inputs, as_list(teacher), rest, student)
    value.backward()
    assert torch.isfinite(value) and all(x.grad.abs().max() < 1e3 for x in inputs)


@cases
def test_a_batch_of_one_is_finite(name):
    """The last batch of an epoch may be that small; batch norm has nothing to average over then."""
    build, student, teacher, rest = CASES[name]
    loss = made(build)
    sides = [[x[:1].clone().requires_grad_() for x in as_list(side)] for side in (student, teacher)]
    for _ in range(2):
        value = called(loss, *sides, [r[:1] for r in rest], student)
        value.backward()
        assert torch.isfinite(value) and all(torch.isfinite(x.grad).all() for x in sides[0])


@pytest.mark.parametrize("name", ["fitnet", "at", "rkd", "sp", "pkt", "nst", "vid", "crd", "reviewkd", "ofd"])
def test_wrong_tensors_teach(name):
    build, student, teacher, rest = CASES[name]
    loss, s, t = made(build), as_list(student), as_list(teacher)
    with pytest.raises(ValueError, match=r"batch: found 2 samples of the student and 3"):
        called(loss, [x[:2] for x in s], t, [r[:2] for r in rest], student)
    with pytest.raises(ValueError, match=r"found shape .*wanted \(B, "):
        called(loss, [x[..., 0] for x in s], t, rest, student)
    with pytest.raises(TypeError, match=r"student's features: found torch.int64, wanted a floating tensor"):
        called(loss, [x.long() for x in s], t, rest, student)
    with pytest.raises(TypeError, match=r"teacher's features: found ndarray"):
        called(loss, s, [x.numpy() for x in t], rest, student)


@pytest.mark.parametrize("name", ["at", "nst", "vid", "reviewkd", "ofd"])
def test_other_numbers_of_stages_teach(name):
    build = CASES[name][0]
    with pytest.raises(ValueError, match=r"found 3 of the student and 2 of the teacher.*rkd, sp, pkt, crd"):
        made(build)(MAPS_S, MAPS_T[:2])
    for make in (lambda: VID([1, 2], [1]), lambda: ReviewKD(SHAPES[0], SHAPES[1][:1])):
        with pytest.raises(ValueError, match="one by one"):
            make()


def test_other_errors_teach():
    with pytest.raises(ValueError, match=r"hint: found a map of the student of 5x5 .* 8x8.*--set hint"):
        Regressor((2, 5, 5), (2, 8, 8))
    with pytest.raises(ValueError, match=r"regressor: its output has shape \(3, 2, 6, 6\), wanted .*\(3, 3, 6, 6\)"):
        FitNet(nn.Identity())(MAPS_S[0], MAPS_T[0])
    with pytest.raises(ValueError, match="power"):
        AT(0.0)
    with pytest.raises(ValueError, match="angle"):
        RKD(angle=-1)
    with pytest.raises(ValueError, match="variance"):
        VID([1], [1], variance=0.0)
    with pytest.raises(ValueError, match="found one class"):
        CRD(2, 2, torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match=r"found positions from 0 to 9, wanted 0 to 8"):
        made(crd)(*POOLED, torch.tensor([0, 9, 1]))
    with pytest.raises(ValueError, match=r"index: wanted .* an int64 tensor of shape \(3,\).*Batch.index_B"):
        made(crd)(*POOLED, INDEX[:2])
