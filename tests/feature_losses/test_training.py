"""Feature methods in training: beside others, interrupted, from the command line, and between unlike networks."""

from __future__ import annotations

import math
import os
import signal

import pytest
import torch
import torch.multiprocessing as mp
from safetensors.torch import load_file
from typer.testing import CliRunner

from normkd_explore import cli
from normkd_explore.feature_losses import CRD, introduce
from normkd_explore.methods import METHODS, Settings, settings_for
from normkd_explore.models import create_model
from normkd_explore.training import Interrupted, RunFolder, Where, compare, make_fabric, prepare, train
from normkd_explore.training.learner import Learner
from normkd_explore.training.objective import Objective
from normkd_explore.training.runs.checkpoint import latest_checkpoint, save_checkpoint
from tests.helpers.toy import CLASSES, toy_dataset, toy_recipe, toy_where

FEATURE_METHODS = [name for name, method in METHODS.items() if method.needs_features]
LEARNING = ["fitnet", "vid", "crd", "reviewkd", "ofd"]  # with parameters or buffers of their own
LABELS = toy_dataset().train.labels_N


def quiet(moment, runs):
    """A watcher that shows nothing."""


def recipe_of(method: str, **changes: object):
    return toy_recipe(method, lr=0.01, **changes)


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "student.safetensors")


def assert_same(first: dict, second: dict, name: str = "") -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items()), name


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


def stop_at(epoch: int, step: int):
    def watch(moment, runs):
        if (moment.epoch, moment.step) == (epoch, step):
            os.kill(os.getpid(), signal.SIGINT)

    return watch


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


@pytest.mark.parametrize(
    ("teacher", "student", "without"),
    [
        ("wrn_16_2", "ShuffleV1", ()),
        ("resnet8x4", "ShuffleV2", ()),
        ("vgg8", "MobileNetV2", ("ofd",)),
        ("resnet8", "vgg8", ("at", "nst", "vid", "reviewkd", "ofd")),
    ],
)
def test_unlike_networks_work_or_say_why_not(teacher, student, without):
    """Other widths, strides and numbers of stages: an adapter, pooling, or a message."""
    torch.manual_seed(0)
    models = [create_model(name, CLASSES) for name in (student, teacher)]
    couple = introduce(*models, 32, LABELS)
    images, labels, index = torch.randn(4, 3, 32, 32), LABELS[:4], torch.arange(4)
    (logits_s, features_s), (_, features_t) = (model(images, return_features=True) for model in models)
    for method in FEATURE_METHODS:
        settings = METHODS[method].cifar100
        if method in without:
            with pytest.raises(ValueError, match=r"stages: found|no pre-activations"):
                Objective(method, settings, 1, couple)(logits_s, None, labels, 1, seen(features_s, features_t, index))
            continue
        objective = Objective(method, settings, 1, couple)
        loss = objective(logits_s, None, labels, 1, seen(features_s, features_t, index))
        gradients = torch.autograd.grad(loss.kd, list(models[0].parameters()), retain_graph=True, allow_unused=True)
        assert torch.isfinite(loss.total) and any(g is not None and g.abs().sum() > 0 for g in gradients), method


def seen(features_s, features_t, index_B):
    from normkd_explore.feature_losses import Observation

    return Observation(features_s, features_t, LABELS[index_B], index_B)


def test_messages_before_training():
    with pytest.raises(ValueError, match=r"couple: found None; fitnet compares features.*introduce\("):
        Objective("fitnet", METHODS["fitnet"].cifar100, 1)
    couple = introduce(create_model("resnet8", CLASSES), create_model("resnet8", CLASSES), 12, LABELS)
    for hint in (4.0, -1.0, 1.5):
        with pytest.raises(ValueError, match=rf"hint: found {hint:g}, wanted a whole number from 0 to 3"):
            Objective("fitnet", Settings({"hint": hint}), 1, couple)
    with pytest.raises(ValueError, match="negatives: found 0, wanted a whole number of at least 1"):
        METHODS["crd"].build(negatives=0)
    with pytest.raises(ValueError, match=r"hands out no features.*return_features"):
        introduce(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), create_model("resnet8", CLASSES), 12, LABELS)


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


def normkd(*arguments: object) -> str:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_command_line(tmp_path, monkeypatch):
    where = toy_where(tmp_path)
    monkeypatch.setattr(prepare, "open_dataset", lambda recipe, root: toy_dataset())
    small = ("--epochs", 1, "--batch-size", 16, "--lr", 0.01, "--device", "cpu")
    small = (*small, "--teacher-weights", where.teacher_weights)
    preset = "glyphs/resnet8-resnet8"
    told = normkd("train", preset, "--method", "fitnet", "--set", "hint=1", *small, "--out", tmp_path / "one")
    assert "hint 1" in told and "last epoch" in told
    told = normkd("compare", preset, "--methods", "kd,fitnet,crd", "--seeds", 1, *small, "--out", tmp_path / "many")
    assert all(name in told for name in ("kd", "fitnet", "crd"))
    assert RunFolder(tmp_path / "many" / "crd-seed0").recipe().settings.loss["negatives"] == 16384


def test_settings_are_the_published_ones_or_marked():
    field = {"fitnet": 100, "at": 1000, "rkd": 1, "sp": 3000, "pkt": 30000, "nst": 50, "vid": 1, "crd": 0.8}
    for method, weight in field.items():
        settings = settings_for(method, "cifar100", "wrn_40_2", "wrn_16_2")
        assert (settings.ce_weight, settings.kd_weight, settings.published) == (1, weight, True), method
    review = {pair: settings_for("reviewkd", *pair.split("/")) for pair in REVIEW}
    assert {pair: (s.kd_weight, s.warmup_epochs, s.published) for pair, s in review.items()} == REVIEW
    for method in ("sdd", "sdddkd", "sddnormkd"):
        assert not settings_for(method, "cifar100", "vgg13", "vgg8").published
    assert settings_for("at", "imagenet", "resnet34", "resnet18").published
    assert not settings_for("crd", "imagenet", "resnet34", "resnet18").published
    shown = normkd("presets", "--method", "reviewkd")
    assert "middle=512" in shown and "mdistiller" in shown


REVIEW = {
    "cifar100/resnet32x4/resnet8x4": (5.0, 20, True),
    "cifar100/wrn_40_2/wrn_40_1": (1.0, 20, False),
    "imagenet/resnet34/resnet18": (1.0, 1, False),
    "imagenet/resnet50/mobilenetv1": (8.0, 1, False),
}


def one_of_two(rank: int, path: str, results) -> None:
    """A process of a distributed run: CRD on its share of four images."""
    store = torch.distributed.FileStore(path, 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.manual_seed(0)
    loss = CRD(3, 3, LABELS, embedding=4, negatives=5)
    pooled, index = torch.randn(4, 3), torch.tensor([7, 3, 9, 0])
    loss(pooled[rank::2], pooled[rank::2] + 1, index[rank::2])
    results[rank] = [loss.bank_s.tolist(), loss.bank_t.tolist(), loss.Z_s.item()]
    torch.distributed.destroy_process_group()


def test_the_banks_of_several_processes_stay_equal(tmp_path):
    with mp.get_context("spawn").Manager() as manager:
        results = manager.dict()
        mp.spawn(one_of_two, (str(tmp_path / "store"), results), nprocs=2)
        (bank_s, bank_t, Z), other = results[0], results[1]
    assert [bank_s, bank_t, Z] == other
    torch.manual_seed(0)
    alone = CRD(3, 3, LABELS, embedding=4, negatives=5)
    pooled = torch.randn(4, 3)
    alone(pooled, pooled + 1, torch.tensor([7, 3, 9, 0]))
    torch.testing.assert_close(torch.tensor(bank_s), alone.bank_s)
