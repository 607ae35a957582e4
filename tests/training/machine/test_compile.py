"""Compiled networks: the same numbers up to rounding, a graph for every batch that is worth one."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.utils import counters

from normkd_explore.training import Teacher, evaluate, make_fabric, new_student
from normkd_explore.training.machine import compiling
from tests.helpers.compiled import learner_of, small, take_steps
from tests.helpers.tensors import assert_same_tensors
from tests.helpers.toy import CLASSES

pytestmark = pytest.mark.usefixtures("fresh_compiler")

needs_compiler = pytest.mark.skipif(compiling.missing("cpu") is not None, reason=str(compiling.missing("cpu")))


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
