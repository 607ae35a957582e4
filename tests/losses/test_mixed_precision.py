"""Every loss under autocast, in half precision, with a loss scale: the values and gradients of float64 up to rounding.

The gradient of a float16 tensor is rounded once, to eleven bits (bfloat16: eight), after the loss scale. What is off by
more than that was computed in half precision somewhere, or rounded before the scale came.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch

from normkd_explore import feature_losses, language, losses
from normkd_explore.divergence import ReverseKL
from normkd_explore.feature_losses import SDD, cell_logits
from normkd_explore.temperature import Constant
from tests.helpers.feature_cases import CASES, as_list, called, made, rand

SCALE = 65536.0
HALF = [torch.float16, torch.bfloat16]
NOT_ON_ROWS = ("LogitLoss", "WeightedSum", "PerPixel", "per_pixel")
LOGIT_LOSSES = {name: getattr(losses, name) for name in losses.__all__ if name not in NOT_ON_ROWS}
ARGUMENTS = {"TTM": (0.2,), "WTTM": (0.2,), "DistillationLoss": (Constant(2.0), ReverseKL())}
TOKEN_LOSSES = ["TokenKL", "TokenReverseKL", "TokenNormKD", "TokenBiLD"]


def logits(*shape: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Student, teacher and labels; the student knows something already."""
    t = 2 * rand(*shape, seed=1)
    s = 0.5 * t + rand(*shape, seed=2)
    return s.to(dtype), t.to(dtype), torch.arange(shape[0]) % shape[-1]


def slopes(call, module, students: list[torch.Tensor], autocast: bool = False) -> tuple[torch.Tensor, list]:
    """The loss, and its gradients for the student's tensors and its own parameters; with a loss scale if autocast."""
    leaves, scale = [x.detach().clone().requires_grad_() for x in students], SCALE if autocast else 1.0
    with torch.autocast("cpu", students[0].dtype) if autocast else nullcontext():
        loss = call(module, leaves)
    (scale * loss).backward()
    return loss.detach(), [x.grad.double() / scale for x in (*leaves, *module.parameters())]


def assert_as_in_float64(call, students: list[torch.Tensor], module: torch.nn.Module) -> None:
    """`call(module, students)` in half precision, its gradients times a scale, against a copy in float64.

    Where a sum cancels, float32 is off as well: four times that is allowed on top.
    """
    wanted, exact = slopes(call, copy.deepcopy(module).double(), [x.double() for x in students])
    _, single = slopes(call, copy.deepcopy(module), [x.float() for x in students])
    found, ours = slopes(call, module, students, autocast=True)
    assert found.dtype == torch.float32 and found.item() == pytest.approx(wanted.item(), rel=2e-5, abs=1e-7)
    kept = [*(torch.finfo(x.dtype) for x in students), *(torch.finfo(p.dtype) for p in module.parameters())]
    for limits, mine, theirs, plain in zip(kept, ours, exact, single, strict=True):
        allowed = limits.eps * theirs.abs() + limits.smallest_normal * limits.eps / SCALE
        allowed += 2e-5 * theirs.abs().max() + 4 * (plain - theirs).abs().max()
        assert ((mine - theirs).abs() <= allowed).all()


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_losses_on_logits(name, dtype):
    s, t, y = logits(128, 50, dtype=dtype)
    loss = LOGIT_LOSSES[name](*ARGUMENTS.get(name, ()))
    assert_as_in_float64(lambda module, at: module(at[0], t.to(at[0].dtype), y), [s], loss)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_losses_on_features(name, dtype):
    build, student, teacher, rest = CASES[name]
    students = [x.to(dtype) for x in as_list(student)]
    teachers = [x.to(dtype) for x in as_list(teacher)]
    # A part of 1/1024, so that no gradient times the scale is beyond float16.
    assert_as_in_float64(
        lambda module, at: called(module, at, [x.to(at[0].dtype) for x in teachers], rest, student) / 1024,
        students,
        made(build).float(),
    )


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_cells_of_a_map(dtype):
    """SDD's logits of cells come from the classifier itself, in float32 as well."""
    classifier, target = torch.nn.Linear(6, 4), torch.tensor([1, 3, 0])
    map_BKHW, cells_t = rand(3, 6, 4, 4).to(dtype), rand(3, 5, 4).to(dtype)

    def call(module, at):
        return SDD(losses.KD(4.0))(cell_logits(at[0], module), cells_t.to(at[0].dtype), target)

    assert_as_in_float64(call, [map_BKHW], classifier)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("consume", [False, True], ids=["new memory", "teacher consumed"])
@pytest.mark.parametrize("name", TOKEN_LOSSES)
def test_losses_on_tokens(name, consume, dtype):
    """4,096 positions of a vocabulary: the gradient of one is divided by their number, and most of it is tiny."""
    s, t, _ = logits(4, 1024, 200, dtype=dtype)
    make = getattr(language, name)

    def call(module, at):
        return module(at[0], t.to(at[0].dtype, copy=True)) if at[0].dtype == dtype else make()(at[0], t.double())

    assert_as_in_float64(call, [s], make(consume_teacher=consume))


def test_positions_that_do_not_count_and_one_that_is_certain():
    """A row whose gradient is 0 has no unit to be kept in."""
    s, t, _ = logits(64, 30, dtype=torch.float16)
    mask = torch.arange(64) % 3 > 0
    s[1] = t[1]
    assert_as_in_float64(lambda module, at: module(at[0], t.to(at[0].dtype), mask), [s], language.TokenKL())


def test_every_loss_is_here():
    named = {name for name in feature_losses.__all__ if isinstance(getattr(feature_losses, name), type)}
    helpers = {"Regressor", "MultiScale", "Head", "FeatureMethod", "FeatureShapes", "Couple", "Observation"}
    covered = {name.partition("-")[0] for name in CASES}
    assert {name.lower() for name in named - helpers} == covered
    assert {name for name in vars(language) if name.startswith("Token")} == {*TOKEN_LOSSES, "TokenLoss"}
