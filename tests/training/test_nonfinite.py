"""A NaN in training: the images of its step, by position and by file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from normkd_explore.data import FileSplit, make_batches
from normkd_explore.training import NonFiniteError, make_fabric
from normkd_explore.training import learner as learner_module
from normkd_explore.training.learner import Learner
from normkd_explore.training.nonfinite import files_named
from tests.helpers.shared_runs import plain_student
from tests.helpers.toy import BATCH, CLASSES, toy_dataset, toy_recipe


def test_nan_of_the_teacher_names_the_images_of_the_step():
    """The message holds the positions in the split; a shorter step before it leaves none of its own behind."""
    fabric = make_fabric("cpu")
    learner = Learner(toy_recipe("normkd"), plain_student("", CLASSES, 0), fabric, 4)
    batches = list(make_batches(toy_dataset(), "train", BATCH, augment=True, seed=0).epoch(0))
    learner.step(batches[0], torch.randn(BATCH, CLASSES), 0, 0)
    bad = batches[3]  # the short one
    learner.step(bad, torch.full((len(bad.index_B), CLASSES), float("nan")), 0, 3)
    learner.step(batches[1], torch.randn(BATCH, CLASSES), 0, 4)
    with pytest.raises(NonFiniteError, match=r"epoch 1, step 3 .*training split: \d+") as caught:
        learner.raise_if_bad(0)
    assert caught.value.images == bad.index_B.tolist()


def test_images_from_files_are_named(tmp_path):
    files = FileSplit(tmp_path, np.array([b"a.png", b"b/c.png", b"d.png"]), torch.zeros(3, dtype=torch.long), 8)
    message = r"step 3\. Their files: .*d\.png, .*a\.png\."
    with (
        pytest.raises(NonFiniteError, match=message) as caught,
        files_named(replace(toy_dataset(), train=files)),
    ):
        raise NonFiniteError("step 3.", [2, 0])
    assert caught.value.images == [2, 0] and "c.png" not in str(caught.value)


def test_the_guard_holds_where_the_fused_kernel_takes_no_notice_of_it(monkeypatch):
    """As MPS's may. Not run there: PyTorch's plain update, which asks nobody, takes the kernel's place."""
    fabric = make_fabric("cpu")
    learner = Learner(toy_recipe("normkd"), plain_student("", CLASSES, 0), fabric, 4)
    monkeypatch.setattr(learner_module, "OBEYING", ("cuda",))
    plain = learner.optimizer.optimizer.step

    def careless():
        del learner.optimizer.optimizer.found_inf
        learner.optimizer.optimizer.param_groups[0]["fused"] = False
        return plain()

    monkeypatch.setattr(learner.optimizer, "step", careless)
    batch, *_ = make_batches(toy_dataset(), "train", BATCH, augment=True, seed=0).epoch(0)
    start = [parameter.clone() for parameter in learner.module.parameters()]
    learner.step(batch, torch.randn(BATCH, CLASSES), 0, 0)
    before = [parameter.clone() for parameter in learner.module.parameters()]
    assert not all(map(torch.equal, start, before))
    for logits_t in (torch.full((BATCH, CLASSES), float("nan")), torch.randn(BATCH, CLASSES)):
        learner.step(batch, logits_t, 0, 1)
        assert all(map(torch.equal, before, learner.module.parameters()))


def test_the_norm_is_that_of_all_gradients_together():
    learner = Learner(toy_recipe("ce"), plain_student("", CLASSES, 0), make_fabric("cpu"), 4)
    generator = torch.Generator().manual_seed(0)
    for parameter in learner.parameters[1:]:  # one has no gradient, like a layer that a method does not use
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    gradients = [parameter.grad for parameter in learner.parameters[1:]]
    norm = learner._guard(0, torch.arange(BATCH))
    assert torch.equal(norm, torch.nn.utils.get_total_norm(gradients))
    whole = torch.cat([gradient.flatten() for gradient in gradients]).double().norm()
    assert float(norm) == pytest.approx(float(whole), rel=1e-6)


def test_after_a_bad_step_no_step_counts_any_more():
    """Also one whose own gradient is finite."""
    learner = Learner(toy_recipe("kd"), plain_student("", CLASSES, 0), make_fabric("cpu"), 4)
    batches = list(make_batches(toy_dataset(), "train", BATCH, augment=True, seed=0).epoch(0))
    learner.step(batches[0], torch.randn(BATCH, CLASSES), 0, 0)
    before = [parameter.clone() for parameter in learner.parameters]
    learner.step(batches[1], torch.full((BATCH, CLASSES), float("nan")), 0, 1)
    learner.step(batches[2], torch.randn(BATCH, CLASSES), 0, 2)
    assert all(torch.equal(now, then) for now, then in zip(learner.parameters, before, strict=True))
    assert int(learner.first_bad_step) == 1
