"""One rule for labels of -100: every loss leaves such rows out, as if they were not in the batch."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from normkd_explore import checks, losses
from normkd_explore.divergence import GramMatrices
from normkd_explore.feature_losses import SDD
from normkd_explore.losses import CE, DKD, KD, DistillationLoss
from normkd_explore.temperature import Constant
from tests.helpers.feature_cases import rand

ARGUMENTS = {"TTM": (0.2,), "WTTM": (0.2,), "DistillationLoss": (Constant(2.0), GramMatrices())}
LOSSES = [
    getattr(losses, name)(*ARGUMENTS.get(name, ()))
    for name in losses.__all__
    if name not in ("LogitLoss", "WeightedSum", "MLKD", "PerPixel", "per_pixel")
] + [losses.MLKD(), losses.MLKD(as_coded=True)]
S, T = rand(12, 7, seed=1) + 0.5 * rand(12, 7, seed=2), 2 * rand(12, 7, seed=2)
LABELS = torch.arange(12) % 7
LEFT_OUT = torch.tensor([0, 4, 5, 11])
COUNTED = torch.tensor([1, 2, 3, 6, 7, 8, 9, 10])
MARKED = LABELS.index_fill(0, LEFT_OUT, -100)


@pytest.fixture(params=[True, False], ids=["values are read", "as on a GPU"])
def reading(request, monkeypatch):
    """On a GPU nobody looks at the labels, so there the rows are masked without knowing whether there are any."""
    if not request.param:
        monkeypatch.setattr(checks, "_may_read_values", lambda tensor: False)


def slope(loss, s, t, y):
    leaf = s.clone().requires_grad_()
    value = copy.deepcopy(loss)(leaf, t, y)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_marked_rows_are_as_if_they_were_not_there(loss, reading):
    value, slope_BC = slope(loss, S, T, MARKED)
    wanted, wanted_BC = slope(loss, S[COUNTED], T[COUNTED], LABELS[COUNTED])
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(slope_BC[COUNTED], wanted_BC)
    assert (slope_BC[LEFT_OUT] == 0).all()
    per_sample = loss.per_sample(S, T, MARKED)
    assert (per_sample[LEFT_OUT] == 0).all()
    torch.testing.assert_close(per_sample[COUNTED].mean(), wanted)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_without_marked_rows_nothing_changes(loss, monkeypatch):
    wanted, wanted_BC = slope(loss, S, T, LABELS)
    monkeypatch.setattr(checks, "_may_read_values", lambda tensor: False)
    value, slope_BC = slope(loss, S, T, LABELS)
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(slope_BC, wanted_BC)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_nothing_but_marked_rows_costs_nothing(loss, reading):
    value, slope_BC = slope(loss, S, T, torch.full((12,), -100))
    assert value == 0 and (slope_BC == 0).all()


@pytest.mark.parametrize("average", [True, False])
def test_cells_of_marked_images(average, reading):
    cells_s, cells_t = rand(12, 5, 7, seed=3), rand(12, 5, 7, seed=4)
    for base in (KD(), DKD(), losses.MLKD()):
        value, slope_BPC = slope(SDD(base, average), cells_s, cells_t, MARKED)
        wanted, wanted_BPC = slope(SDD(base, average), cells_s[COUNTED], cells_t[COUNTED], LABELS[COUNTED])
        torch.testing.assert_close(value, wanted)
        torch.testing.assert_close(slope_BPC[COUNTED], wanted_BPC)
        assert (slope_BPC[LEFT_OUT] == 0).all()


def test_cross_entropy_is_torchs_own():
    torch.testing.assert_close(CE()(S, None, MARKED), torch.nn.functional.cross_entropy(S, MARKED))


def test_other_labels_below_zero_are_still_refused():
    with pytest.raises(ValueError, match="from -1 to"):
        DKD()(S, T, MARKED.index_fill(0, torch.tensor([1]), -1))


@pytest.mark.parametrize(
    "labels", [torch.eye(7)[LABELS], LABELS.float(), [0] * 12, "none"], ids=["soft", "float", "list", "text"]
)
def test_a_loss_without_need_of_labels_takes_anything_in_their_place(labels):
    assert KD()(S, T, labels) == KD()(S, T)


@dataclass
class OnTarget:
    """A divergence of one's own that indexes with the label."""

    needs_target: ClassVar[bool] = True

    def __call__(self, soft_s, soft_t, target):
        return (soft_s - soft_t).square().gather(1, target[:, None]).squeeze(1)


def test_a_divergence_of_ones_own_need_not_know_the_rule(reading):
    loss = DistillationLoss(Constant(1.0), OnTarget())
    squares_B = (S - T).square()[COUNTED, LABELS[COUNTED]]
    torch.testing.assert_close(loss(S, T, MARKED), squares_B.mean())
