"""Where a stopped training goes on: after a NaN, a kill between two saves, damage, and in a folder with other runs."""

from __future__ import annotations

import json
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from normkd_explore.training import (
    CheckpointError,
    Interrupted,
    NonFiniteError,
    RunFolder,
    compare,
    learner,
    loop,
    make_fabric,
    train,
)
from normkd_explore.training.machine.environment import describe_environment, record_environment
from normkd_explore.training.runs import folder as run_folder
from normkd_explore.training.runs.checkpoint import latest_checkpoint, list_checkpoints, position_of
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import quiet, stop_at

METHODS = ("ce", "kd")
STEPS = 4  # of an epoch


def race(out, where, epochs=3, methods=METHODS, **options):
    """Lockstep training of `methods`, each in its own folder below `out`."""
    recipes = [toy_recipe(method, epochs=epochs) for method in methods]
    folders = [out / method for method in methods]
    return compare(recipes, folders, where, **{"watch": quiet, "dataset": toy_dataset(), **options})


def positions(folder) -> list[tuple[int, int]]:
    """The saves in a run folder."""
    return [position_of(path) for path in list_checkpoints(folder / "checkpoints")]


def assert_same_end(out, whole, methods=METHODS, epochs=3):
    for method in methods:
        ours, theirs = (load_file(folder / method / "student.safetensors") for folder in (out, whole))
        assert all(torch.equal(tensor, ours[name]) for name, tensor in theirs.items()), method
        assert [line["epoch"] for line in RunFolder(out / method).metrics()] == list(range(1, epochs + 1))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two students in lockstep, never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    race(folder, toy_where(folder))
    return folder


class Killed(BaseException):
    """Stands for kill -9: nothing that catches errors sees it."""


def kill_at_save(monkeypatch, number: int) -> None:
    """The save with this number, over both runs, never happens."""
    real, calls = loop.save_checkpoint, []

    def save(*arguments):
        calls.append(arguments)
        if len(calls) == number:
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(loop, "save_checkpoint", save)


@pytest.mark.parametrize("save, said", [(2, "starting from the first step"), (4, "continuing after epoch 1")])
def test_a_kill_between_two_saves_of_a_lockstep_training(whole, tmp_path, monkeypatch, capsys, save, said):
    """One run is a save ahead: all go on from the save before, and what comes after it is forgotten."""
    where = toy_where(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at_save(patch, save)
        race(tmp_path, where)
    ahead, behind = (positions(tmp_path / method) for method in METHODS)
    assert len(ahead) == len(behind) + 1
    (tmp_path / "ce" / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')  # of the epoch that is made again
    with pytest.raises(Interrupted):
        race(tmp_path, where, resume=True, watch=stop_at(save // 2 - 1, 2))
    errors = capsys.readouterr().err
    assert len(RunFolder(tmp_path / "ce").metrics()) == save // 2 - 1
    assert said in errors and f"ce: the save after epoch {save // 2} is not used" in errors
    assert positions(tmp_path / "ce") == positions(tmp_path / "kd") and positions(tmp_path / "ce")[-1][1] == 2
    race(tmp_path, where, resume=True)
    assert_same_end(tmp_path, whole)


def test_the_damaged_newest_save_of_one_run_takes_both_one_save_back(whole, tmp_path, capsys):
    where = toy_where(tmp_path)
    with pytest.raises(Interrupted):
        race(tmp_path, where, watch=stop_at(1, STEPS))
    damaged = list_checkpoints(tmp_path / "kd" / "checkpoints")[-1]
    damaged.write_text(damaged.read_text().replace('"epoch": 2', '"epoch": 3', 1))
    with pytest.warns(RuntimeWarning, match=r"kd.*epoch0002.*checksum.*before it"):
        race(tmp_path, where, resume=True)
    assert "continuing after epoch 1" in capsys.readouterr().err
    assert_same_end(tmp_path, whole)


def test_runs_without_a_common_position_are_not_started_again_without_a_word(tmp_path):
    where = toy_where(tmp_path)
    with pytest.raises(Interrupted):
        train(toy_recipe("ce", epochs=3), tmp_path / "ce", where, watch=stop_at(1, STEPS), dataset=toy_dataset())
    with pytest.raises(CheckpointError, match=r"ce .*after epoch 1 and after epoch 2; kd .*has none.*Finish first"):
        race(tmp_path, where, resume=True)
    assert positions(tmp_path / "ce") == [(1, 0), (2, 0)]


def test_a_method_added_to_finished_ones_trains_without_them(whole, tmp_path, capsys):
    where = toy_where(tmp_path)
    first = race(tmp_path, where, methods=("ce",))
    before = (tmp_path / "ce" / "student.safetensors").stat().st_mtime_ns
    both = race(tmp_path, where, resume=True)
    assert "finished before and left as they are" in capsys.readouterr().err
    assert both[0] == first[0] and both[1]["method"] == "kd"
    assert (tmp_path / "ce" / "student.safetensors").stat().st_mtime_ns == before
    assert_same_end(tmp_path, whole)


def test_a_checkpoint_of_another_run_is_not_loaded(tmp_path):
    """Two methods with the same student: the shapes alone would not tell."""
    where = toy_where(tmp_path)
    for method in METHODS:
        with pytest.raises(Interrupted):
            train(toy_recipe(method), tmp_path / method, where, watch=stop_at(0, 2), dataset=toy_dataset())
    for theirs in (tmp_path / "kd" / "checkpoints").iterdir():
        (tmp_path / "ce" / "checkpoints" / theirs.name).write_bytes(theirs.read_bytes())
    with pytest.warns(RuntimeWarning), pytest.raises(CheckpointError, match="belongs to another run"):
        train(toy_recipe("ce"), tmp_path / "ce", where, resume=True, watch=quiet, dataset=toy_dataset())


# ------------------------------------------------------------------------------------------------------------- NaN


def poison(monkeypatch, step: int, method: str = "ce") -> None:
    """`method`'s forward number `step` (from 0) sees NaN; as on a GPU, nobody asks after each step."""

    def train_batch(runs, teacher, batch, epoch, number):
        for run in runs:
            run.learner.step(batch, teacher and teacher.logits(batch), epoch, number)

    calls, real = [], learner.Learner._forward

    def forward(self, batch, features_t):
        if self.recipe.method == method and self.model.training:
            calls.append(batch)
            if len(calls) == step + 1:
                batch = batch._replace(images_BCHW=batch.images_BCHW * float("nan"))
        return real(self, batch, features_t)

    monkeypatch.setattr(loop, "_train_batch", train_batch)
    monkeypatch.setattr(learner.Learner, "_forward", forward)


def test_a_nan_is_not_saved_on_sigterm_and_the_message_names_the_good_checkpoint(tmp_path, monkeypatch):
    poison(monkeypatch, STEPS + 1)
    message = (
        r"epoch 2, step 1 .*--resume would meet it again.*--out.*lower --lr.*last good .*, after epoch 1, is .*0001"
    )
    with pytest.raises(NonFiniteError, match=message):
        train(toy_recipe("ce"), tmp_path / "run", watch=stop_at(1, 3, signal.SIGTERM), dataset=toy_dataset())
    assert positions(tmp_path / "run") == [(1, 0)]
    state = latest_checkpoint(tmp_path / "run" / "checkpoints").state
    assert all(tensor.isfinite().all() for tensor in state["model"].values()) and state["totals"].isfinite().all()


def test_saves_on_the_clock_never_push_a_good_checkpoint_out(tmp_path, monkeypatch):
    """A save after each step, and the second of two runs goes wrong: the first is not saved beyond that step either."""
    poison(monkeypatch, 2, "kd")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(NonFiniteError, match=r"with kd: .*step 2 .*in epoch 1 after step 2, is .*step0000002\.safe"):
        race(tmp_path, toy_where(tmp_path))
    assert positions(tmp_path / "ce") == positions(tmp_path / "kd") == [(0, 1), (0, 2)]


def test_without_any_checkpoint_the_message_says_so(tmp_path, monkeypatch):
    poison(monkeypatch, 1)
    with pytest.raises(NonFiniteError, match="No checkpoint was written before"):
        train(toy_recipe("ce"), tmp_path / "run", watch=quiet, dataset=toy_dataset())
    assert positions(tmp_path / "run") == []


@pytest.mark.parametrize("precision", ["16-mixed", "16"])
def test_scaled_half_precision_is_refused_before_anything_is_written(tmp_path, precision):
    """Fabric's gradient scaler owns the switch by which the guard holds back an update."""
    with pytest.raises(ValueError, match=r"precision: found '16.*bf16-mixed"):
        train(replace(toy_recipe("ce"), precision=precision), tmp_path / "run", watch=quiet, dataset=toy_dataset())
    assert not (tmp_path / "run").exists()
    assert make_fabric("cpu", "bf16-mixed").device.type == "cpu"


# ----------------------------------------------------------------------------------------------- what a resume says


def test_resume_says_from_where(tmp_path, capsys):
    out, where = tmp_path / "run", toy_where(tmp_path)
    with pytest.raises(Interrupted):
        train(toy_recipe("ce"), out, where, resume=True, watch=stop_at(1, 2), dataset=toy_dataset())
    assert f"{out}: no checkpoint there, starting from the first step" in capsys.readouterr().err
    train(toy_recipe("ce"), out, where, resume=True, watch=quiet, dataset=toy_dataset())
    assert f"{out}: continuing in epoch 2 after step 2" in capsys.readouterr().err


def test_the_environment_of_every_part_is_kept(tmp_path, monkeypatch, capsys):
    out, where = tmp_path / "run", toy_where(tmp_path)
    with pytest.raises(Interrupted):
        train(toy_recipe("ce"), out, where, watch=stop_at(0, 2), dataset=toy_dataset())
    here = describe_environment("cpu")
    other = {**here, "packages": {**here["packages"], "torch": "9.9"}, "processes": 3}
    monkeypatch.setattr(run_folder, "describe_environment", lambda device: other)
    with pytest.raises(Interrupted):
        train(toy_recipe("ce"), out, where, resume=True, watch=stop_at(1, 2), dataset=toy_dataset())
    own = here["packages"]["torch"]
    said = f"{out}: processes: 1 before, 3 now; torch: {own} before, 9.9 now: numbers may differ in the last bits"
    assert said in capsys.readouterr().err
    train(toy_recipe("ce"), out, where, resume=True, watch=quiet, dataset=toy_dataset())
    assert "numbers may" not in capsys.readouterr().err
    kept = json.loads((out / "environment.json").read_text())
    assert kept["packages"]["torch"] == own and kept["device"] == "cpu"
    assert [part["packages"]["torch"] for part in kept["resumed"]] == ["9.9", "9.9"]


def test_an_unreadable_environment_stops_nothing(tmp_path):
    path = tmp_path / "environment.json"
    path.write_text("{")
    assert record_environment(path, {"processes": 1}, resume=True) is None
    assert json.loads(path.read_text()) == {"processes": 1}
    assert record_environment(path, {"processes": 1, "cpu": {"threads": 2}}, resume=True) is None
