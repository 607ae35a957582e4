"""The table of policies and divergences: numbers held against the losses, and parts that appear by being registered."""

import numpy as np
import pytest
import torch

from normkd_explore.analysis.grid import evaluate_grid, formula, registered_parts, short_name
from normkd_explore.divergence import KL, Decoupled
from normkd_explore.losses import DIST, DKD, KD, LSKD, DistillationLoss, NormBiLD, NormDKD, NormKD
from normkd_explore.methods import METHODS, Method, Settings, register
from normkd_explore.temperature import Constant, Std, Unweighted
from tests.helpers.policies import Range

ORTHOGONAL = ["Std(2)", "Std(2, constant)", "MaxLogit", "Unweighted Std(2)"]


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    t, s = (scale * torch.randn((8, 11), generator=generator, dtype=torch.float64) for scale in (3.0, 1.5))
    return t, s, torch.randint(0, 11, (8,), generator=generator)


@pytest.fixture(scope="module")
def grid(batch):
    return evaluate_grid(*batch)


@pytest.mark.parametrize(
    ("place", "loss", "names"),
    [
        (("Constant(4)", "KL"), KD(4.0), ("kd",)),
        (("Constant(4)", "Decoupled(1, 8)"), DKD(), ("dkd",)),
        (("Std(2)", "KL"), NormKD(2.0), ("normkd",)),
        (("Std(2)", "Decoupled(1, 8)"), NormDKD(), ("normdkd",)),
        (("Std(2, constant)", "KL"), LSKD(2.0), ("lskd",)),
        (("Unweighted Std(2)", "Differences(8)"), NormBiLD(), ("normbild",)),
        (("Constant(4)", "Correlation(1, 1)"), DIST(temperature=4.0), ("like dist",)),
    ],
)
def test_cells_hold_the_named_losses_and_know_their_names(batch, grid, place, loss, names):
    t, s, y = batch
    cell = grid.cells[place]
    assert cell.methods == names and cell.problem is None
    student = s.clone().requires_grad_()
    loss(student, t, y).backward()
    assert cell.loss_B.mean() == pytest.approx(loss(s, t, y).item(), rel=1e-12)
    np.testing.assert_allclose(cell.loss_B, loss.per_sample(s, t, y).numpy(), rtol=1e-12)
    np.testing.assert_allclose(cell.gradient_BC, len(s) * student.grad.numpy(), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(cell.length_B, np.linalg.norm(cell.gradient_BC, axis=1))


def test_gradients_are_slopes_of_the_sum(batch, grid):
    """Central differences of the sum over the batch, for every combination, on one logit."""
    t, s, y = batch
    step = torch.zeros_like(s)
    step[3, 5] = 1e-5
    for (p, d), cell in grid.cells.items():
        # Constants for the gradient, though they move: the T of one, the target of the other.
        if p == "MaxLogit" or d == "Interpolated":
            continue
        loss = DistillationLoss(grid.policies[p], grid.divergences[d])
        slope = (loss.per_sample(s + step, t, y).sum() - loss.per_sample(s - step, t, y).sum()).item() / 2e-5
        assert cell.gradient_BC[3, 5] == pytest.approx(slope, rel=1e-5, abs=1e-6), (p, d)


def test_only_policies_that_follow_the_students_spread_have_gradients_at_right_angles(grid):
    largest = dict(zip(grid.policies, np.abs(grid.values("cosine")).max(axis=1), strict=True))
    assert [name for name, value in largest.items() if value < 1e-6] == ORTHOGONAL
    assert min(value for name, value in largest.items() if name not in ORTHOGONAL) > 0.2


def test_weights_and_temperatures_are_the_policys(batch, grid):
    t, s, _ = batch
    cell = grid.cells["Std(2)", "KL"]
    np.testing.assert_allclose(cell.temperature_t_B, 2 * t.numpy().std(axis=1, ddof=1))
    np.testing.assert_allclose(cell.temperature_s_B, 2 * s.numpy().std(axis=1, ddof=1))
    np.testing.assert_allclose(cell.weight_B, cell.temperature_t_B**2)
    assert (grid.cells["Unweighted Std(2)", "KL"].weight_B == 1).all()


@pytest.mark.parametrize("quantity", ["loss", "length", "weight", "cosine"])
def test_values_are_batch_means_in_the_order_of_the_names(grid, quantity):
    values = grid.values(quantity)
    assert values.shape == (len(grid.policies), len(grid.divergences))
    for i, p in enumerate(grid.policies):
        for j, d in enumerate(grid.divergences):
            assert values[i, j] == pytest.approx(getattr(grid.cells[p, d], f"{quantity}_B").mean())


def test_two_classes_are_refused_where_they_must_be(batch):
    t, s, y = batch
    grid = evaluate_grid(t[:, :2], s[:, :2], y % 2)
    refused = {place for place, cell in grid.cells.items() if cell.problem}
    assert refused == {(p, d) for p, d in grid.cells if p in ORTHOGONAL or d == "Differences(8)"}
    problem = grid.cells["Std(2)", "KL"]
    assert "at least 3" in problem.problem and np.isnan(problem.loss_B).all() and problem.gradient_BC.shape == (8, 2)


def test_every_registered_composition_and_every_exported_divergence_is_there():
    policies, divergences = registered_parts()
    names = {type(part).__name__ for part in (*policies.values(), *divergences.values())}
    assert {"Constant", "Std", "MaxLogit", "MaxRatio", "Learned", "Unweighted", "ReverseKL", "GramMatrices"} <= names
    for method in METHODS.values():
        loss = method.build(**method.cifar100.loss)
        for part in loss.modules():
            if isinstance(part, DistillationLoss):
                assert {type(part.policy).__name__, type(part.divergence).__name__} <= names


def test_a_policy_appears_by_being_registered(batch):
    known = dict(METHODS)
    try:
        guess = Settings({"share": 0.4}, published=False)
        register(Method("rangekd", "Range", lambda share: DistillationLoss(Range(share), KL()), guess))
        grid = evaluate_grid(*batch)
    finally:
        METHODS.clear()
        METHODS.update(known)
    t, s, _ = batch
    cells = [grid.cells["Range(0.4)", d] for d in grid.divergences]
    assert cells[0].methods == ("rangekd",) and cells[-1].methods == ()
    assert cells[0].loss_B.mean() == pytest.approx(DistillationLoss(Range(0.4), KL())(s, t).item())
    assert np.abs(grid.values("cosine")[-1]).max() < 1e-12  # a range scales with the logits too
    assert "Range(0.4)" not in evaluate_grid(*batch).policies


@pytest.mark.parametrize(
    ("part", "name", "words"),
    [
        (Std(2.0), "Std(2)", "T_s = T_norm"),
        (Std(0.5, "constant", 1e-7), "Std(0.5, constant)", "counts 0.25 times"),
        (Unweighted(Constant(3.0)), "Unweighted Constant(3)", "counts once"),
        (Decoupled(1.0, 0.5), "Decoupled(1, 0.5)", "alpha · TCKD + beta · NCKD"),
        (KL(), "KL", "KL(p_t || p_s) ="),
    ],
)
def test_names_and_formulas_come_from_the_parts(part, name, words):
    assert short_name(part) == name and words in formula(part)
    assert "Source" not in formula(part) and "Raises" not in formula(part)


def test_bad_batches_are_named(batch):
    t, s, y = batch
    with pytest.raises(ValueError, match="logits"):
        evaluate_grid(t[:, :5], s, y)
    with pytest.raises(ValueError, match="target"):
        evaluate_grid(t, s, y + 11)
