"""Feature methods in training: lockstep, exact resume, adapters that learn."""

from __future__ import annotations

import math

import pytest
import torch

from normkd_explore.feature_losses import introduce
from normkd_explore.methods import METHODS
from normkd_explore.models import create_model
from normkd_explore.training import Interrupted, RunFolder, Where, compare, make_fabric, train
from normkd_explore.training.learner import Learner
from normkd_explore.training.objective import Objective
from normkd_explore.training.runs.checkpoint import latest_checkpoint, save_checkpoint
from tests.helpers.feature_runs import FEATURE_METHODS, LABELS, LEARNING, assert_same, recipe_of, weights
from tests.helpers.toy import CLASSES, toy_dataset, toy_where
from tests.helpers.watchers import quiet, stop_at


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """All feature methods, and two that need logits or nothing, in one lockstep."""
    folder = tmp_path_factory.mktemp("together")
    where, methods = toy_where(folder), ["kd", *FEATURE_METHODS, "ce"]
    outs = [folder / method for method in methods]
    compare([recipe_of(m) for m in methods], outs, where, watch=quiet, dataset=toy_dataset())
    return folder, where


def test_the_promised_methods_exist():
    promised = "fitnet at rkd sp pkt nst vid crd reviewkd ofd sdd sdddkd sddnormkd"
    assert promised.split() == FEATURE_METHODS


@pytest.mark.parametrize("method", ["kd", "ce", *FEATURE_METHODS])
def test_lockstep_students_end_as_they_would_alone(together, tmp_path, method):
    folder, where = together
    train(recipe_of(method), tmp_path, where, watch=quiet, dataset=toy_dataset())
    assert_same(weights(tmp_path), weights(folder / method), method)
    for mine, theirs in zip(RunFolder(tmp_path).metrics(), RunFolder(folder / method).metrics(), strict=True):
        assert mine["train"] == theirs["train"] and mine["val"] == theirs["val"]


def test_students_differ_between_methods(together):
    folder, _ = together
    ends = [weights(folder / method)["fc.weight"] for method in ("ce", "kd", *FEATURE_METHODS)]
    assert not any(torch.equal(a, b) for i, a in enumerate(ends) for b in ends[:i])


def interrupted(method: str, out, where, at: tuple[int, int] = (0, 3)) -> None:
    with pytest.raises(Interrupted):
        train(recipe_of(method), out, where, watch=stop_at(*at), dataset=toy_dataset())


@pytest.mark.parametrize("method", [*LEARNING, "sdd"])
@pytest.mark.parametrize("at", [(0, 1), (0, 4), (1, 2)])
def test_resume_is_exact(together, tmp_path, method, at):
    folder, where = together
    interrupted(method, tmp_path, where, at)
    train(recipe_of(method), tmp_path, where, resume=True, watch=quiet, dataset=toy_dataset())
    assert_same(weights(tmp_path), weights(folder / method))
    ends = [latest_checkpoint(run / "checkpoints").state for run in (tmp_path, folder / method)]
    assert_same(ends[0]["objective"], ends[1]["objective"])
    assert (len(ends[0]["objective"]) > 0) == (method in LEARNING)


@pytest.mark.parametrize(("method", "forgotten"), [("crd", "bank_t"), ("crd", "Z_s"), ("fitnet", "weight")])
def test_forgotten_state_would_be_noticed(together, tmp_path, method, forgotten):
    """The comparison above can fail: banks, constants and adapters matter for what follows."""
    folder, where = together
    interrupted(method, tmp_path, where)
    point = latest_checkpoint(tmp_path / "checkpoints")
    for name, tensor in point.state["objective"].items():
        if name.endswith(forgotten):
            tensor.fill_(0.5)
    save_checkpoint(tmp_path / "checkpoints", point.epoch, point.step, point.state, point.recipe)
    train(recipe_of(method), tmp_path, where, resume=True, watch=quiet, dataset=toy_dataset())
    whole, other = weights(folder / method), weights(tmp_path)
    assert any(not torch.equal(tensor, other[name]) for name, tensor in whole.items())


def make_learner(method: str, seed: int = 0) -> Learner:
    torch.manual_seed(1)
    student, teacher = create_model("resnet8", CLASSES), create_model("resnet8", CLASSES)
    recipe = recipe_of(method, seed=seed)
    return Learner(recipe, student, make_fabric("cpu"), 4, introduce(student, teacher, 12, LABELS))


@pytest.mark.parametrize("method", LEARNING)
def test_adapters_are_trained_with_the_student(together, method):
    folder, _ = together
    learner = make_learner(method)
    optimised = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
    names = {name for name, parameter in learner.objective.named_parameters() if id(parameter) in optimised}
    assert names == {name for name, _ in learner.objective.named_parameters()} != set()
    end = latest_checkpoint(folder / method / "checkpoints").state["objective"]
    start = learner.objective.state_dict()
    assert end.keys() == start.keys()
    moved = {name for name in names if not torch.equal(start[name], end[name])}
    # A bias before a batch norm has no effect, so it need not move.
    assert moved >= {name for name in names if not name.endswith("0.bias")}


def test_the_variances_of_vid_are_trained(together):
    folder, _ = together
    state = latest_checkpoint(folder / "vid" / "checkpoints").state["objective"]
    first = math.log(math.expm1(5 - 1e-5))
    parts = [tensor for name, tensor in state.items() if name.endswith(".a")]
    assert len(parts) == 3 and all((part != first).all() for part in parts)


def test_adapters_follow_the_seed_alone():
    before = torch.random.get_rng_state()
    torch.manual_seed(3)
    one = make_learner("crd").objective.state_dict()
    torch.rand(5)
    assert_same(one, make_learner("crd").objective.state_dict())
    other = make_learner("crd", seed=1).objective.state_dict()
    assert not torch.equal(one["distillation.loss.bank_s"], other["distillation.loss.bank_s"])
    torch.random.set_rng_state(before)
    couple = introduce(create_model("resnet8", CLASSES), create_model("resnet8", CLASSES), 12, LABELS)
    state = torch.random.get_rng_state()
    Objective("vid", METHODS["vid"].cifar100, 1, couple)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_dry_run_changes_neither_network():
    student, teacher = create_model("resnet8", CLASSES).train(), create_model("wrn_16_1", CLASSES).eval()
    before = [{k: v.clone() for k, v in model.state_dict().items()} for model in (student, teacher)]
    couple = introduce(student, teacher, 32, LABELS)
    assert student.training and not teacher.training
    for state, model in zip(before, (student, teacher), strict=True):
        assert_same(state, model.state_dict())
    assert couple.student.stages == ((16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8))
    assert couple.student.pre_activation == couple.student.stages and couple.teacher.pooled == 64


@pytest.mark.parametrize("method", ["kd", "normkd", "ctkd"])
def test_logit_methods_are_not_asked_for_features(method, tmp_path, monkeypatch):
    calls = []
    forward = type(create_model("resnet8", CLASSES)).forward

    def spy(self, images, **options):
        calls.append(options)
        return forward(self, images, **options)

    monkeypatch.setattr(type(create_model("resnet8", CLASSES)), "forward", spy)
    train(recipe_of(method, epochs=1), tmp_path / "run", toy_where(tmp_path), watch=quiet, dataset=toy_dataset())
    assert calls and not any(calls)
    assert not Objective(method, METHODS[method].cifar100, 1).needs_features


@pytest.mark.parametrize("method", ["vid", "crd", "ofd", "sdd"])
def test_bfloat16_training(tmp_path, method):
    recipe = recipe_of(method, epochs=1, precision="bf16-mixed")
    summary = train(recipe, tmp_path / "run", toy_where(tmp_path), watch=quiet, dataset=toy_dataset())
    assert math.isfinite(summary["test"]["loss"])


def test_a_teacher_cache_is_left_aside(together, tmp_path):
    from normkd_explore.training.teacher.cache import TeacherCache

    folder, where = together
    told: list[str] = []
    cached = Where(teacher_weights=where.teacher_weights, device="cpu", teacher_cache=TeacherCache(tell=told.append))
    train(recipe_of("fitnet"), tmp_path, cached, watch=quiet, dataset=toy_dataset())
    assert_same(weights(tmp_path), weights(folder / "fitnet"))
    assert any("features" in line for line in told)
