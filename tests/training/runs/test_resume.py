"""A run that was stopped and continued ends with the very weights of a run that was not."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from normkd_explore.training import Interrupted, RunFolder, train
from tests.helpers.tensors import assert_same_tensors
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import quiet, stop_at

STEPS = 4  # of an epoch: ceil(56 / 16)
RUNS = [("kd", "32-true"), ("normkd", "32-true"), ("dkd", "32-true"), ("normkd", "bf16-mixed")]


@pytest.fixture(scope="module")
def whole_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    where = toy_where(folder)
    for method, precision in RUNS:
        out = folder / method if precision == "32-true" else folder / f"{method}-{precision}"
        train(toy_recipe(method, precision=precision), out, where, watch=quiet, dataset=toy_dataset())
    return folder, where


@pytest.mark.parametrize("method, precision", RUNS)
@pytest.mark.parametrize("epoch, step", [(0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (1, 2), (1, 3)])
def test_resume_is_exact_at_every_step(whole_runs, tmp_path, method, precision, epoch, step):
    folder, where = whole_runs
    recipe, out = toy_recipe(method, precision=precision), tmp_path / "run"
    method += "" if precision == "32-true" else f"-{precision}"
    with pytest.raises(Interrupted) as stopped:
        train(recipe, out, where, watch=stop_at(epoch, step), dataset=toy_dataset())
    expected = (epoch, step) if step < STEPS else (epoch + 1, 0)
    assert (stopped.value.epoch, stopped.value.step) == expected
    assert not RunFolder(out).finished
    train(recipe, out, where, resume=True, watch=quiet, dataset=toy_dataset())
    assert_same_tensors(load_file(folder / method / "student.safetensors"), load_file(out / "student.safetensors"))
    for mine, theirs in zip(RunFolder(out).metrics(), RunFolder(folder / method).metrics(), strict=True):
        assert mine["train"] == theirs["train"] and mine["val"] == theirs["val"] and mine["epoch"] == theirs["epoch"]


def test_resume_twice_and_with_momentum_matters(whole_runs, tmp_path):
    """Two interruptions in one run; the optimiser's momentum is part of what is restored."""
    folder, where = whole_runs
    recipe, out = toy_recipe("normkd"), tmp_path / "run"
    for watch in (stop_at(0, 3), stop_at(1, 2)):
        with pytest.raises(Interrupted):
            train(recipe, out, where, resume=True, watch=watch, dataset=toy_dataset())
    train(recipe, out, where, resume=True, watch=quiet, dataset=toy_dataset())
    assert_same_tensors(load_file(folder / "normkd" / "student.safetensors"), load_file(out / "student.safetensors"))


def test_forgotten_momentum_would_be_noticed(whole_runs, tmp_path):
    """The comparison above can fail: without the saved momentum the final weights differ."""
    folder, where = whole_runs
    recipe, out = toy_recipe("kd"), tmp_path / "run"
    with pytest.raises(Interrupted):
        train(recipe, out, where, watch=stop_at(0, 2), dataset=toy_dataset())
    from normkd_explore.training.runs.checkpoint import latest_checkpoint, save_checkpoint

    point = latest_checkpoint(out / "checkpoints")
    for slot in point.state["optimizer"].values():
        slot["momentum_buffer"].zero_()
    save_checkpoint(out / "checkpoints", point.epoch, point.step, point.state, point.recipe)
    train(recipe, out, where, resume=True, watch=quiet, dataset=toy_dataset())
    whole, resumed = load_file(folder / "kd" / "student.safetensors"), load_file(out / "student.safetensors")
    assert any(not torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_resume_with_another_recipe_is_refused(whole_runs, tmp_path):
    _, where = whole_runs
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(toy_recipe("kd"), out, where, watch=stop_at(0, 2), dataset=toy_dataset())
    with pytest.raises(ValueError, match=r"another recipe .*lr: .* before, .* now.*--out"):
        train(toy_recipe("kd", lr=0.02), out, where, resume=True, watch=quiet, dataset=toy_dataset())


def test_a_run_is_never_overwritten(whole_runs):
    folder, where = whole_runs
    with pytest.raises(FileExistsError, match=r"finished run.*--resume.*--out"):
        train(toy_recipe("kd"), folder / "kd", where, watch=quiet, dataset=toy_dataset())


def test_resuming_a_finished_run_returns_its_summary(whole_runs):
    folder, where = whole_runs
    before = (folder / "kd" / "student.safetensors").stat().st_mtime_ns
    summary = train(toy_recipe("kd"), folder / "kd", where, resume=True, watch=quiet, dataset=toy_dataset())
    assert summary == RunFolder(folder / "kd").summary()
    assert (folder / "kd" / "student.safetensors").stat().st_mtime_ns == before


def test_resuming_a_finished_run_with_another_recipe_is_refused_too(whole_runs):
    """Its old summary would otherwise be taken for the new recipe's result."""
    folder, where = whole_runs
    with pytest.raises(ValueError, match=r"another recipe .*lr: 0.1 before, 0.2 now"):
        train(toy_recipe("kd", lr=0.2), folder / "kd", where, resume=True, watch=quiet, dataset=toy_dataset())
    with pytest.raises(ValueError, match=r"kd is finished: its 2 epochs .* no part of one of 3\. .* --out another"):
        train(toy_recipe("kd", epochs=3), folder / "kd", where, resume=True, watch=quiet, dataset=toy_dataset())
