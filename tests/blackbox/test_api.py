"""The black box gives answers, counts them, and leaves no other trace."""

import numpy as np
import pytest
import torch
from torch import nn

from normkd_explore.blackbox import BlackBox, BudgetError
from normkd_explore.models import create_model


@pytest.fixture
def images():
    return torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return create_model("resnet8", num_classes=7).train()


def by_numpy(network, images):
    """The same probabilities without torch's softmax."""
    with torch.no_grad():
        z = network.eval()(images).double().numpy()
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_soft_answers_are_the_softmax_rounded_to_digits(network, images):
    wanted = by_numpy(network, images)
    assert np.abs(BlackBox(network)(images).numpy() - wanted).max() < 1e-6
    for digits in (1, 2, 4):
        answer = BlackBox(network, digits=digits)(images).double().numpy()
        assert np.abs(answer - wanted).max() <= 0.5 * 10.0**-digits + 1e-6
        assert np.abs(answer * 10**digits - np.round(answer * 10**digits)).max() < 1e-3


def test_top_k_shows_the_largest_and_keeps_the_others_back(network, images):
    wanted = by_numpy(network, images)
    answer = BlackBox(network, answers="top3")(images).double().numpy()
    assert ((answer > 0).sum(axis=1) == 3).all()
    for row, probabilities in zip(answer, wanted, strict=True):
        best = np.argsort(-probabilities)[:3]
        assert set(np.flatnonzero(row)) == set(best)
        assert np.abs(row[best] - probabilities[best]).max() < 1e-6


def test_hard_answers_are_classes(network, images):
    answer = BlackBox(network, answers="hard")(images)
    assert answer.dtype == torch.int64
    assert answer.tolist() == by_numpy(network, images).argmax(axis=1).tolist()


def test_a_float64_network_answers_in_float64():
    box = BlackBox(nn.Linear(4, 5, dtype=torch.float64))
    assert box(torch.ones(2, 4, dtype=torch.float64)).dtype == torch.float64
    assert (
        BlackBox(nn.Linear(4, 5, dtype=torch.bfloat16))(torch.ones(2, 4, dtype=torch.bfloat16)).dtype == torch.float32
    )


def test_the_network_is_left_exactly_as_it_was(network, images):
    network.layer2.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [part.training for part in network.modules()]
    BlackBox(network)(images)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert [part.training for part in network.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in network.parameters())


def test_no_gradient_leaves_the_box(network, images):
    images.requires_grad_()
    assert not BlackBox(network)(images).requires_grad
    with pytest.raises(RuntimeError, match="does not require grad"):
        BlackBox(network)(images).sum().backward()


def test_queries_are_counted_and_the_budget_is_kept(network, images):
    box = BlackBox(network, budget=10)
    box(images)
    assert (box.queries, box.remaining) == (6, 4)
    with pytest.raises(BudgetError, match=r"6 pictures to answer and 4 of 10 queries left"):
        box(images)
    assert box.queries == 6, "a question that was refused is not counted"
    box(images[:4])
    assert box.remaining == 0 and repr(box) == "BlackBox(all probabilities in full precision; 10 of 10 queries)"


def test_a_question_that_failed_is_not_counted(network):
    box = BlackBox(network)
    with pytest.raises(RuntimeError):
        box(torch.zeros(2, 5, 32, 32))
    assert box.queries == 0 and all(part.training for part in network.modules())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"answers": "top0"}, "wanted 'soft', 'hard', or 'top' with a number"),
        ({"answers": "loud"}, "found 'loud'"),
        ({"answers": 5}, "found 5"),
        ({"digits": 0}, "from 1 to 15"),
        ({"digits": True}, "found True"),
        ({"digits": 3, "answers": "hard"}, "no numbers to round"),
        ({"budget": -1}, "whole number of queries"),
        ({"budget": 1.5}, "found 1.5"),
    ],
)
def test_arguments_are_explained(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        BlackBox(network, **arguments)


def test_more_classes_than_there_are_and_one_picture_without_a_batch(network, images):
    with pytest.raises(ValueError, match="found 'top9' for 7 classes, wanted at most 'top7'"):
        BlackBox(network, "top9")(images)
    with pytest.raises(ValueError, match=r"images.unsqueeze\(0\)"):
        BlackBox(lambda x: torch.zeros(1, 7))(images[0])
    with pytest.raises(ValueError, match="NaN"):
        BlackBox(lambda x: torch.full((len(x), 7), torch.nan))(images)


def test_fingerprints_tell_networks_apart(network):
    first = BlackBox(network).fingerprint()
    with torch.no_grad():
        network.conv1.weight[0, 0, 0, 0] += 1e-6
    assert BlackBox(network).fingerprint() != first
    assert BlackBox(nn.Linear(2, 3, dtype=torch.bfloat16)).fingerprint() != first
