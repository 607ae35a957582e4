"""Compiled runs: the same files as without compiling, one graph a network, alone and in two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch._dynamo.utils import counters

from normkd_explore.training import Interrupted, Recipe, Where, compare, make_fabric, train
from normkd_explore.training.machine import compiling, processes
from normkd_explore.training.planning.estimate import estimate
from tests.helpers.compiled import FULL_STEPS, Backend
from tests.helpers.tensors import assert_same_tensors
from tests.helpers.toy import BATCH, toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import quiet, stop_at

pytestmark = pytest.mark.usefixtures("fresh_compiler")

ROOT = Path(__file__).parents[3]


def test_one_graph_for_full_batches_of_all_epochs(tmp_path, backend):
    train(
        toy_recipe("normkd", epochs=3, compile=True),
        tmp_path / "run",
        toy_where(tmp_path),
        watch=quiet,
        dataset=toy_dataset(),
    )
    assert backend.graphs == counters["stats"]["unique_graphs"] == 1
    assert backend.rows == [BATCH] * (1 + 3 * FULL_STEPS)  # once to try it out; smaller batches and evaluation not


def test_students_in_lockstep_share_a_graph(tmp_path, backend):
    recipes = [toy_recipe(method, epochs=1, compile=True) for method in ("ce", "kd", "normkd")]
    compare(recipes, [tmp_path / r.method for r in recipes], toy_where(tmp_path), watch=quiet, dataset=toy_dataset())
    assert backend.graphs == 1 and len(backend.rows) == 3 * (1 + FULL_STEPS)


@pytest.mark.parametrize("method, precision", [("normkd", "32-true"), ("fitnet", "32-true"), ("kd", "bf16-mixed")])
def test_files_are_those_of_a_run_without_compiling(tmp_path, backend, method, precision):
    """Names, bits and checkpoints: with a compiler that changes nothing, nothing changes."""
    for compiled in (False, True):
        recipe = toy_recipe(method, compile=compiled, precision=precision)
        train(recipe, tmp_path / str(compiled), toy_where(tmp_path), watch=quiet, dataset=toy_dataset())
    assert backend.graphs == 1 and len(backend.rows) > FULL_STEPS
    plain, compiled = (load_file(tmp_path / folder / "student.safetensors") for folder in ("False", "True"))
    assert_same_tensors(plain, compiled)
    first, second = (json.loads((tmp_path / folder / "summary.json").read_text()) for folder in ("False", "True"))
    assert first["test"] == second["test"] and first["budget"] == second["budget"]
    assert "compile: true" in (tmp_path / "True" / "config.yaml").read_text()


def test_two_processes_compile_inside_what_averages_their_gradients(tmp_path):
    """Under torchrun: the same bits as without compiling, in both processes; one graph each, for half a batch."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", __name__, str(tmp_path)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=one_thread, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    plain, compiled = (load_file(tmp_path / folder / "student.safetensors") for folder in ("False", "True"))
    assert_same_tensors(plain, compiled)
    for rank in range(2):
        graphs, rows = json.loads((tmp_path / f"rank{rank}.json").read_text())
        assert graphs == 1 and rows == [BATCH // 2] * (1 + 2 * FULL_STEPS)
    assert done.stderr.count("compiling ResNet for batches of 8") == 1


def train_in_processes(folder: Path) -> None:
    """What each process of the test above does."""
    compiling.BACKEND, compiling._first_words = Backend(), lambda device: None
    make_fabric("cpu")
    for compiled in (False, True):
        recipe = toy_recipe("ce", compile=compiled)
        train(recipe, folder / str(compiled), Where(device="cpu"), watch=quiet, dataset=toy_dataset())
    quick = compiling.BACKEND
    (folder / f"rank{processes.rank()}.json").write_text(json.dumps([quick.graphs, quick.rows]))


def test_a_run_continues_with_the_setting_it_was_started_with(tmp_path, backend):
    """The other one is refused, and config.yaml can be told to change; then the checkpoint fits."""
    where, dataset, out = toy_where(tmp_path), toy_dataset(), tmp_path / "run"
    recipe = toy_recipe("kd", compile=True)
    with pytest.raises(Interrupted):
        train(recipe, out, where, watch=stop_at(0, 2), dataset=dataset)
    plain = replace(recipe, compile=False)
    with pytest.raises(ValueError, match="compile: True before, False now"):
        train(plain, out, where, resume=True, watch=quiet, dataset=dataset)
    config = out / "config.yaml"
    config.write_text(config.read_text().replace("compile: true", "compile: false"))
    train(plain, out, where, resume=True, watch=quiet, dataset=dataset)
    train(plain, tmp_path / "whole", where, watch=quiet, dataset=dataset)
    assert_same_tensors(load_file(out / "student.safetensors"), load_file(tmp_path / "whole" / "student.safetensors"))


def test_recipes_of_before_are_read_as_not_compiled():
    text = toy_recipe("kd").to_yaml()
    assert "compile: false\n" in text and not Recipe.from_yaml(text.replace("compile: false\n", "")).compile
    assert toy_recipe("kd", compile=True).budget() == toy_recipe("kd").budget()
    with pytest.raises(ValueError, match="compile: found 'yes', wanted true, false or 'auto'"):
        toy_recipe("kd", compile="yes")


def test_a_probe_compiles_outside_the_clock(backend, monkeypatch):
    ticks = count()
    recipe = toy_recipe("kd", compile=True)
    monkeypatch.setattr("normkd_explore.training.planning.estimate.open_dataset", lambda recipe, root: toy_dataset())
    text = str(estimate(recipe, seconds=1e-3, clock=lambda: float(next(ticks))))
    assert "without --compile" in text and backend.graphs == 1


if __name__ == "__main__":
    train_in_processes(Path(sys.argv[1]))
