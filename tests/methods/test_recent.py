"""The methods of recent years in training: TAID's target is moved, saved and resumed; WKD asks the teacher once."""

from __future__ import annotations

import pytest
import torch

from normkd_explore.divergence import class_distances, tell_step
from normkd_explore.losses import TAID, WKD
from normkd_explore.methods import METHODS
from normkd_explore.models import create_model, load_checkpoint
from normkd_explore.training import train
from normkd_explore.training.objective import Objective
from tests.helpers.toy import CLASSES, toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import quiet


def test_the_moving_target_is_saved_and_resumed_exactly(tmp_path):
    """Stopped after one epoch and a step of three and resumed, TAID ends with the same weights as in one go."""
    where, recipe = toy_where(tmp_path), toy_recipe("taid", epochs=3, lr=0.05)
    seen: dict[str, list[float]] = {"whole": [], "parts": []}

    def watch_into(key, stop_at=None):
        def watch(moment, runs):
            seen[key].append(runs[0].learner.objective.distillation.divergence.t.item())
            if stop_at == (moment.epoch, moment.step):
                raise KeyboardInterrupt

        return watch

    train(recipe, tmp_path / "whole", where, watch=watch_into("whole"), dataset=toy_dataset())
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "parts", where, watch=watch_into("parts", (1, 1)), dataset=toy_dataset())
    del seen["parts"][-1]  # the interrupted step was not saved
    train(recipe, tmp_path / "parts", where, True, watch_into("parts"), dataset=toy_dataset())
    assert seen["parts"] == seen["whole"] == sorted(seen["whole"]) and len(seen["whole"]) == 12
    assert seen["whole"][0] == pytest.approx(0.4) and seen["whole"][-1] == pytest.approx(1.0)
    states = [weights(tmp_path / name) for name in seen]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def weights(folder):
    model = create_model("resnet8", num_classes=CLASSES)
    load_checkpoint(model, folder / "student.safetensors")
    return model.state_dict()


def test_wkd_takes_its_costs_from_the_teacher(tmp_path):
    found = []

    def watch(moment, runs):
        found.append(runs[0].learner.objective.distillation.parts[0].divergence.cost)

    where = toy_where(tmp_path)
    train(toy_recipe("wkd", epochs=1, lr=0.01), tmp_path / "run", where, watch=watch, dataset=toy_dataset())
    teacher = create_model("resnet8", num_classes=CLASSES)
    load_checkpoint(teacher, where.teacher_weights)
    torch.testing.assert_close(found[-1], class_distances(teacher.get_submodule("fc").weight))


def test_a_teacher_without_a_linear_classifier_is_refused_before_a_folder_is_made(tmp_path):
    class Conv(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, CLASSES, 3)

        def forward(self, images_BCHW):
            return self.conv(images_BCHW).mean((2, 3))

    with pytest.raises(ValueError, match=r"method wkd on toy: teacher is .*no linear classifier"):
        train(toy_recipe("wkd"), tmp_path / "run", toy_where(tmp_path), quiet, dataset=toy_dataset(), teacher=Conv())
    assert not (tmp_path / "run").exists()


def test_losses_that_do_not_change_are_not_asked_after_every_step():
    assert not Objective("kd", METHODS["kd"].cifar100, 1)._follows_steps
    assert Objective("taid", METHODS["taid"].cifar100, 1)._follows_steps


def test_a_loop_of_ones_own_moves_the_target():
    """As the docstring of TAID says."""
    loss, s, t = TAID(), torch.randn(4, 6), torch.randn(4, 6)
    for step in range(10):
        tell_step(loss, (step + 1) / 10, loss(s, t))
    assert loss.divergence.t == 1
    tell_step(WKD(), 0.5, torch.tensor(1.0))  # nothing in it follows the steps
