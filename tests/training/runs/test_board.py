"""`--log tensorboard`: every epoch once on the board, also after a stop, and a board that fails costs nothing."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from normkd_explore.training import Interrupted, RunFolder, compare, train
from normkd_explore.training.runs import board
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import quiet, stop_at

tensorboard = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def curves(folder) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads from the event files of a run."""
    found = tensorboard.EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def logged(folder, log="tensorboard"):
    from dataclasses import replace

    return replace(toy_where(folder), log=log)


def test_the_board_has_what_metrics_jsonl_has(tmp_path):
    train(toy_recipe("normkd"), tmp_path / "run", logged(tmp_path), watch=quiet, dataset=toy_dataset())
    records, drawn = RunFolder(tmp_path / "run").metrics(), curves(tmp_path / "run")
    for tag, value in [("train/kd", lambda r: r["train"]["kd"]), ("val/top1", lambda r: r["val"]["top1"])]:
        expected = [(record["epoch"], pytest.approx(value(record), rel=1e-6)) for record in records]
        assert drawn[tag] == expected
    assert "epoch" not in drawn and {"lr", "images_per_second", "val/loss"} <= set(drawn)


@pytest.mark.parametrize("first", ["tensorboard", None])
def test_a_resumed_run_shows_each_epoch_once(tmp_path, first):
    """Also where the log was asked for only when the run went on."""
    out, recipe = tmp_path / "run", toy_recipe("kd", epochs=3)
    with pytest.raises(Interrupted):
        train(recipe, out, logged(tmp_path, first), watch=stop_at(1, 2), dataset=toy_dataset())
    train(recipe, out, logged(tmp_path), resume=True, watch=quiet, dataset=toy_dataset())
    assert [epoch for epoch, _ in curves(out)["val/top1"]] == [1, 2, 3]


def test_students_in_lockstep_have_a_board_each(tmp_path):
    outs = [tmp_path / name for name in ("ce", "kd")]
    recipes = [toy_recipe("ce", epochs=1), toy_recipe("kd", epochs=1)]
    compare(recipes, outs, logged(tmp_path), watch=quiet, dataset=toy_dataset())
    ce, kd = (curves(out)["train/kd"][0][1] for out in outs)
    assert ce == 0 and kd > 0


def test_a_board_that_fails_is_left_alone(tmp_path, monkeypatch):
    def full(self, epoch, numbers):
        raise OSError("no space left on device")

    monkeypatch.setattr(board._TensorBoard, "draw", full)
    with pytest.warns(RuntimeWarning, match="left alone from epoch 1 on: no space left on device"):
        train(toy_recipe("kd"), tmp_path / "run", logged(tmp_path), watch=quiet, dataset=toy_dataset())
    assert len(RunFolder(tmp_path / "run").metrics()) == 2


def test_a_board_that_is_missing_is_named_before_a_folder_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(board, "find_spec", lambda name: None)
    for kind, way in [("tensorboard", r"\[log\]"), ("wandb", "pip install wandb")]:
        with pytest.raises(ModuleNotFoundError, match=way):
            train(toy_recipe("kd"), tmp_path / "run", logged(tmp_path, kind), watch=quiet, dataset=toy_dataset())
    with pytest.raises(ValueError, match=r"no 'paper'; choose one of tensorboard, wandb"):
        train(toy_recipe("kd"), tmp_path / "run", logged(tmp_path, "paper"), watch=quiet, dataset=toy_dataset())
    assert not (tmp_path / "run").exists()


def test_wandb_goes_on_behind_what_the_server_has(tmp_path, monkeypatch):
    """A stand-in with the calls of wandb 0.31: the id is the same again, and known steps are not sent twice."""
    began, sent = [], []

    def init(**given):
        began.append(given)
        return SimpleNamespace(step=len({step for step, _ in sent}) + bool(sent), log=log)

    def log(values, step):
        sent.append((step, values))

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    monkeypatch.setattr(board, "find_spec", lambda name: True)
    out, recipe = tmp_path / "run", toy_recipe("kd", epochs=3)
    with pytest.raises(Interrupted):
        train(recipe, out, logged(tmp_path, "wandb"), watch=stop_at(1, 2), dataset=toy_dataset())
    train(recipe, out, logged(tmp_path, "wandb"), resume=True, watch=quiet, dataset=toy_dataset())
    assert [step for step, _ in sent] == [1, 2, 3]
    assert began[0]["id"] == began[1]["id"] and began[0]["project"] == "normkd_explore"
    assert sent[0][1]["val/top1"] == RunFolder(out).metrics()[0]["val"]["top1"]
