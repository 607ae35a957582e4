"""The neighbours of NormKD as objects: copies, sums, and arguments that are named when they are wrong."""

import copy
import pickle

import pytest
import torch

from normkd_explore import losses as L
from normkd_explore.divergence import Differences, GramMatrices
from normkd_explore.temperature import Constant
from tests.helpers.neighbours import ALL, gradient, random_inputs


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
