"""Compiled training: the same numbers up to rounding, the same files, one graph a network, and clear refusals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch._dynamo.utils import counters

from normkd_explore import cli
from normkd_explore.data import make_batches
from normkd_explore.models.resnet import BasicBlock
from normkd_explore.training import (
    CompileError,
    Interrupted,
    Recipe,
    Teacher,
    Where,
    compare,
    evaluate,
    make_fabric,
    new_student,
    train,
)
from normkd_explore.training.learner import Learner
from normkd_explore.training.machine import compiling, processes
from normkd_explore.training.planning import doctor
from normkd_explore.training.planning.estimate import estimate
from tests.helpers.toy import BATCH, CLASSES, TRAIN, toy_dataset, toy_recipe, toy_where
from tests.training.runs.test_resume import assert_same_tensors, quiet, stop_at

needs_compiler = pytest.mark.skipif(compiling.missing("cpu") is not None, reason=str(compiling.missing("cpu")))
ROOT = Path(__file__).parents[3]
FULL_STEPS = TRAIN // BATCH  # the last step of an epoch is smaller


class Backend:
    """A compiler that changes nothing and counts: graphs made, and how often their forward pass ran, for how many."""

    def __init__(self) -> None:
        self.graphs, self.rows = 0, []

    def __call__(self, graph, inputs):
        self.graphs += 1

        def run(*values):
            self.rows.append(
                max(
                    len(value)
                    for value in values
                    if isinstance(value, torch.Tensor)
                    and value.dim() == 4
                    and value.shape[1] == 3
                    and value.shape[-1] > 3
                )
            )
            return graph(*values)

        return run


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    counters.clear()
    compiling._first_words.cache_clear()
    yield
    torch.compiler.reset()
    compiling._first_words.cache_clear()


@pytest.fixture
def backend(monkeypatch) -> Backend:
    """In place of inductor; the first line of code that is tried out is not counted."""
    quick = Backend()
    monkeypatch.setattr(compiling, "BACKEND", quick)
    monkeypatch.setattr(compiling, "_first_words", lambda device: None)
    monkeypatch.setattr(compiling, "missing", lambda kind: None)
    return quick


class Small(nn.Module):
    """A residual network that compiles in seconds, with dropout for what depends on random numbers."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.conv, self.norm, self.block = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), BasicBlock(8, 16, 2)
        self.fc, self.dropout = nn.Linear(16, CLASSES), dropout

    def forward(self, images_BCHW):
        map_BKHW = torch.relu(self.block(self.norm(self.conv(images_BCHW))))
        return self.fc(nn.functional.dropout(map_BKHW.mean((2, 3)), self.dropout, self.training))


def small(dropout: float = 0.5, seed: int = 0) -> Small:
    torch.manual_seed(seed)
    return Small(dropout)


def learner_of(model: nn.Module, **changes) -> tuple[Learner, list]:
    """A learner with cross-entropy, and the batches of an epoch."""
    batches = make_batches(toy_dataset(), "train", BATCH, augment=True)
    learner = Learner(toy_recipe("ce", lr=0.05, **changes), model, make_fabric("cpu"), len(batches))
    return learner, list(batches.epoch(0))


def take_steps(learner: Learner, batches: list, first: int = 0) -> list[float]:
    """Loss after each step."""
    losses = []
    for step, batch in enumerate(batches[first:], first):
        before = learner.totals.clone()
        learner.model.train()
        learner.step(batch, None, 0, step)
        losses.append(float((learner.totals - before)[0]) / len(batch.labels_B))
    return losses


# The real compiler.


@needs_compiler
def test_generated_code_trains_alike():
    """Inductor, once: losses and weights equal those of a run without compiling but for rounding."""
    eager, batches = learner_of(small(dropout=0.0))
    whole, _ = learner_of(small(dropout=0.0), compile=True)
    expected, losses = take_steps(eager, batches), take_steps(whole, batches)
    assert losses == pytest.approx(expected, rel=2e-4)
    assert counters["stats"]["unique_graphs"] == counters["aot_autograd"]["ok"] == 1
    for name, tensor in eager.module.state_dict().items():
        torch.testing.assert_close(whole.module.state_dict()[name], tensor, rtol=2e-3, atol=2e-4, msg=name)


@needs_compiler
def test_dropout_of_generated_code_depends_on_the_position_alone():
    """Resumed by another learner, which compiles anew before its first step, the run ends with the same bits."""
    whole, batches = learner_of(small(), compile=True)
    take_steps(whole, batches)
    first, _ = learner_of(small(), compile=True)
    take_steps(first, batches[:2])
    torch.compiler.reset()
    second, _ = learner_of(small(seed=1), compile=True)
    second.load_state(first.state())
    take_steps(second, batches, first=2)
    assert_same_tensors(whole.module.state_dict(), second.module.state_dict())
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(second.model(batches[0].images_BCHW))
    assert torch.equal(outputs[0], outputs[1]) and not torch.allclose(outputs[0], outputs[2])


# Everything around the compiler, with one that does nothing.


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
    with pytest.raises(ValueError, match="compile: found 'yes', wanted true or false"):
        toy_recipe("kd", compile="yes")


def test_trying_out_leaves_no_trace(backend):
    """The first call's extra pass moves no statistic, gradient or random number."""
    model = small().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    compiled, images_BCHW = compiling.Compiled(model), torch.randn(4, 3, 12, 12)
    torch.manual_seed(5)
    compiled._prepare(images_BCHW, (), {})
    assert_same_tensors(model.state_dict(), before)
    assert all(parameter.grad is None for parameter in model.parameters()) and compiled.seconds > 0
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3)) and backend.graphs == 1


def test_after_the_first_call_nothing_is_compiled(backend):
    model = small().train()
    compiled = compiling.Compiled(model)
    for rows, side in ((4, 12), (3, 12), (4, 16), (4, 12)):
        assert compiled(torch.randn(rows, 3, side, side)).shape == (rows, CLASSES)
    model.eval()
    compiled(torch.randn(4, 3, 12, 12))
    assert backend.graphs == 1 and backend.rows == [4] * 3


def test_a_run_that_goes_on_with_the_small_last_batch_compiles_for_full_ones(backend):
    student = compiling.CompiledInTraining(small(), rows=4)
    for rows in (3, 4, 3):
        student(torch.randn(rows, 3, 12, 12))
    with torch.no_grad():
        student(torch.randn(4, 3, 12, 12))
    assert backend.graphs == 1 and backend.rows == [4, 4]


@pytest.mark.parametrize("features", [False, True])
def test_a_graph_for_any_number_of_rows(backend, features):
    """As the teacher has it on a GPU: batches, what a table of logits lacks, with features or without."""
    model = new_student("resnet8", CLASSES, 0).eval()
    compiled = compiling.Compiled(model, any_rows=True)
    with torch.no_grad():
        for rows in (24, 16, 512, 40):
            images_BCHW = torch.randn(rows, 3, 12, 12)
            expected, found = (f(images_BCHW, *[True][:features]) for f in (model, compiled))
            expected, found = (compiling._tensors(output) for output in (expected, found))
            assert len(found) == len(expected) and all(map(torch.equal, expected, found))
    # PyTorch has other convolutions for fewer than 16 images on one thread: those run without the graph.
    assert backend.graphs == 1 and backend.rows == [24, 24, 16, 512, 40]


def test_a_teacher_is_compiled_where_it_is_not_folded(backend, monkeypatch):
    fabric, model = make_fabric("cpu"), new_student("resnet8", CLASSES, 0)
    images_BCHW = torch.randn(40, 3, 12, 12)
    expected = Teacher(model, fabric, compile=True).evaluate(images_BCHW)
    assert backend.graphs == 0
    monkeypatch.setattr(
        "normkd_explore.training.teacher.frozen.folded", lambda model, features: compiling.Compiled(model)
    )
    torch.testing.assert_close(Teacher(model, fabric).evaluate(images_BCHW), expected, rtol=1e-4, atol=1e-5)
    assert backend.graphs == 1


def test_evaluation_is_that_of_the_bare_model(backend):
    learner, batches = learner_of(new_student("resnet8", CLASSES, 0), compile=True)
    take_steps(learner, batches)
    graphs, calls = backend.graphs, len(backend.rows)
    assert evaluate(learner.model, batches) == evaluate(learner.module, batches)
    assert (backend.graphs, len(backend.rows)) == (graphs, calls) and learner.model.training


def test_a_probe_compiles_outside_the_clock(backend, monkeypatch):
    ticks = count()
    recipe = toy_recipe("kd", compile=True)
    monkeypatch.setattr("normkd_explore.training.planning.estimate.open_dataset", lambda recipe, root: toy_dataset())
    text = str(estimate(recipe, seconds=1e-3, clock=lambda: float(next(ticks))))
    assert "without --compile" in text and backend.graphs == 1


# What can go wrong.


def broken(graph, inputs):
    raise RuntimeError("the tile is too wide\nand much more")


def test_a_failing_compiler_ends_before_the_first_step(tmp_path, backend, monkeypatch):
    """Its reason is named, the model is as it was, and the run folder can be continued without compiling."""
    monkeypatch.setattr(compiling, "BACKEND", broken)
    learner, batches = learner_of(small(), compile=True)
    with pytest.raises(CompileError, match=r"Small could not be compiled: .*the tile is too wide.*compile: false"):
        take_steps(learner, batches)
    assert_same_tensors(learner.module.state_dict(), small().state_dict())
    out, recipe = tmp_path / "run", toy_recipe("ce", epochs=1, compile=True)
    with pytest.raises(CompileError):
        train(recipe, out, watch=quiet, dataset=toy_dataset())
    config = out / "config.yaml"
    config.write_text(config.read_text().replace("compile: true", "compile: false"))
    assert train(replace(recipe, compile=False), out, resume=True, watch=quiet, dataset=toy_dataset())["epochs"] == 1


def test_a_failing_backward_pass_is_found_before_the_first_step(monkeypatch):
    def forward_only(graph, inputs):
        from functorch.compile import make_boxed_func
        from torch._dynamo.backends.common import aot_autograd

        def refuse(graph, inputs):
            raise RuntimeError("no way back")

        return aot_autograd(fw_compiler=lambda graph, inputs: make_boxed_func(graph), bw_compiler=refuse)(graph, inputs)

    monkeypatch.setattr(compiling, "BACKEND", forward_only)
    learner, batches = learner_of(small(), compile=True)
    with pytest.raises(CompileError, match="no way back"):
        take_steps(learner, batches)
    assert_same_tensors(learner.module.state_dict(), small().state_dict())


def test_memory_that_runs_out_is_not_blamed_on_the_compiler(monkeypatch):
    def full(graph, inputs):
        def run(*values):
            raise torch.OutOfMemoryError("CUDA out of memory")

        return run

    monkeypatch.setattr(compiling, "BACKEND", full)
    with pytest.raises(torch.OutOfMemoryError):
        compiling.Compiled(small())(torch.randn(4, 3, 12, 12))


@pytest.mark.parametrize(
    "kind, tools, triton, message",
    [
        ("cpu", {}, True, "no C[+][+] compiler was found .looked for"),
        ("cuda", {"gcc"}, False, "Triton is not installed"),
        ("cuda", {}, True, "no C compiler was found .looked for gcc and clang"),
        ("cuda", {"clang"}, True, None),
    ],
)
def test_what_is_missing_is_named(monkeypatch, kind, tools, triton, message):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in tools else None)
    monkeypatch.setattr(compiling, "find_spec", lambda name: object() if triton else None)
    monkeypatch.setattr(compiling, "_first_words", lambda device: None)
    if message is None:
        compiling.require_compiler(torch.device(kind))
        return
    with pytest.raises(CompileError, match=rf"compile: {message}.*works without --compile"):
        compiling.require_compiler(torch.device(kind))


def test_the_compiler_of_the_environment_is_looked_for(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "looked for no-such-compiler" in compiling.missing("cpu")


def test_a_compiler_that_is_there_and_does_not_work_is_found_out(monkeypatch):
    monkeypatch.setattr(compiling, "missing", lambda kind: None)
    monkeypatch.setattr(compiling, "BACKEND", broken)
    with pytest.raises(CompileError, match=r"a first line of code could not be compiled for cpu: .*too wide"):
        compiling.require_compiler(torch.device("cpu"))


def test_the_command_refuses_before_it_makes_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("sys.argv", ["normkd", "train", "--compile", "--device", "cpu", "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2 and "normkd: compile: no C++ compiler was found" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "lacks, said", [(None, "possible: normkd train --compile"), ("no tools", "not possible: no tools")]
)
def test_doctor_says_whether_compiling_is_possible(monkeypatch, lacks, said):
    monkeypatch.setattr(doctor, "missing", lambda kind: lacks)
    assert f"compile    {said}" in doctor.diagnose(None)


if __name__ == "__main__":
    train_in_processes(Path(sys.argv[1]))
