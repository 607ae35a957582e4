"""What can go wrong with a compiler, found before the first step and said clearly."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from normkd_explore import cli
from normkd_explore.training import CompileError, train
from normkd_explore.training.machine import compiling
from normkd_explore.training.planning import doctor
from tests.helpers.compiled import learner_of, small, take_steps
from tests.helpers.tensors import assert_same_tensors
from tests.helpers.toy import toy_dataset, toy_recipe
from tests.helpers.watchers import quiet

pytestmark = pytest.mark.usefixtures("fresh_compiler")


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
