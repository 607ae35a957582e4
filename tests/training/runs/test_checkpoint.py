"""Checkpoints survive being killed at any moment, and damaged ones are noticed and named."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from normkd_explore.files import writing
from normkd_explore.training.runs.checkpoint import (
    CheckpointError,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)

STATE = {
    "model": {"weight": torch.arange(600.0).reshape(20, 30), "steps": torch.tensor(3)},
    "optimizer": {0: {"momentum_buffer": torch.ones(4)}, 1: {"momentum_buffer": None}},
    "history": [{"epoch": 1, "train": {"loss": 0.1}}],
    "seconds": 1.5,
}


def test_what_was_saved_comes_back(tmp_path):
    save_checkpoint(tmp_path, 2, 5, STATE)
    point = latest_checkpoint(tmp_path)
    assert (point.epoch, point.step) == (2, 5)
    assert torch.equal(point.state["model"]["weight"], STATE["model"]["weight"])
    assert point.state["model"]["steps"].dtype == torch.int64
    assert torch.equal(point.state["optimizer"][0]["momentum_buffer"], torch.ones(4))
    assert point.state["optimizer"][1] == {"momentum_buffer": None}
    assert point.state["history"] == STATE["history"] and point.state["seconds"] == 1.5


def test_channels_last_and_shared_tensors_are_saved_by_value(tmp_path):
    weight = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path, 0, 1, {"a": weight, "b": weight})
    state = latest_checkpoint(tmp_path).state
    assert torch.equal(state["a"], weight) and torch.equal(state["b"], weight)


def test_no_checkpoint_is_no_error(tmp_path):
    assert latest_checkpoint(tmp_path / "nowhere") is None


def test_only_the_newest_two_are_kept(tmp_path):
    for step in range(5):
        save_checkpoint(tmp_path, 0, step, STATE)
    assert [load_checkpoint(path).step for path in list_checkpoints(tmp_path)] == [3, 4]
    assert len(list(tmp_path.iterdir())) == 4


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def damage_empty(path):
    path.write_bytes(b"")


def damage_one_bit(path):
    payload = bytearray(path.read_bytes())
    payload[-100] ^= 0b100
    path.write_bytes(payload)


def damage_delete(path):
    path.unlink()


def damage_header(path):
    path.with_suffix(".json").write_text('{"format": 1, "epo')


def damage_format(path):
    header = path.with_suffix(".json")
    header.write_text(json.dumps({**json.loads(header.read_text()), "format": 99}))


DAMAGES = {
    damage_truncate: "bytes",
    damage_empty: "bytes",
    damage_one_bit: "SHA-256",
    damage_delete: "cannot be read",
    damage_header: "header",
    damage_format: "format 99",
}


@pytest.mark.parametrize("damage, text", list(DAMAGES.items()), ids=lambda item: getattr(item, "__name__", ""))
def test_damage_is_named_and_the_checkpoint_before_is_taken(tmp_path, damage, text):
    save_checkpoint(tmp_path, 0, 1, STATE)
    newest = save_checkpoint(tmp_path, 0, 2, STATE)
    damage(newest)
    with pytest.raises(CheckpointError, match=text):
        load_checkpoint(newest.with_suffix(".json"))
    with pytest.warns(RuntimeWarning, match=newest.stem):
        assert latest_checkpoint(tmp_path).step == 1


def test_all_damaged_is_an_error_and_never_a_fresh_start(tmp_path):
    damage_one_bit(save_checkpoint(tmp_path, 0, 1, STATE))
    with pytest.warns(RuntimeWarning), pytest.raises(CheckpointError, match="no usable checkpoint"):
        latest_checkpoint(tmp_path)


@pytest.mark.parametrize("call", range(8))
@pytest.mark.parametrize("function", ["fsync", "replace", "open"])
def test_a_failing_system_call_costs_at_most_the_new_checkpoint(tmp_path, monkeypatch, function, call):
    """Every single system call of a save fails once; the state before stays loadable."""
    save_checkpoint(tmp_path, 0, 1, STATE)
    calls = iter(range(1000))
    real = getattr(os, function)

    def failing(*args, **kwargs):
        if next(calls) == call:
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(writing.os, function, failing)
    try:
        save_checkpoint(tmp_path, 0, 2, {**STATE, "seconds": 2.0})
        saved = 2
    except CheckpointError as error:
        assert str(tmp_path) in str(error) and "No space left" in str(error) and "--resume" in str(error)
        saved = 1
    monkeypatch.undo()
    point = latest_checkpoint(tmp_path)
    assert point.step >= saved and point.state["seconds"] in (1.5, 2.0)
    assert not list(tmp_path.glob("*.tmp-*"))


KILLER = """
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)
from pathlib import Path
from normkd_explore.training.runs.checkpoint import latest_checkpoint, save_checkpoint

def newest(folder):
    return max((int(path.stem.split("step")[1]) for path in folder.glob("epoch*.json")), default=0)

folder, kills, best = Path(sys.argv[1]), int(sys.argv[2]), 0
random.seed(0)
for kill in range(kills):
    child = os.fork()
    if child == 0:
        for step in range(best + 1, best + 100_000):
            save_checkpoint(folder, 0, step, {"weight": torch.full((300, 300), float(step))})
    deadline = time.monotonic() + 60
    while newest(folder) <= best and time.monotonic() < deadline:  # on a busy machine one save may take a while
        time.sleep(0.001)
    time.sleep(random.uniform(0.0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    point = latest_checkpoint(folder)
    if point is not None:
        assert torch.equal(point.state["weight"], torch.full((300, 300), float(point.step)))
        assert point.step >= best, (point.step, best)
        best = point.step
print("saves survived", best)
assert best >= kills
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_sixty_kills_at_random_moments_leave_a_usable_checkpoint(tmp_path):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", KILLER, str(tmp_path), "60"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
