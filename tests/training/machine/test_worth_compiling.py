"""compile "auto": tried where a run is long enough, taken where it pays, recorded, and repeated when a run goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from normkd_explore.training import Interrupted, RunFolder, make_fabric, material, train, worth_compiling
from normkd_explore.training.machine import compiling, processes
from normkd_explore.training.machine.compiling import CompileError
from normkd_explore.training.teacher.sources import new_student
from normkd_explore.training.worth_compiling import choose_compile
from tests.helpers.tensors import assert_same_tensors
from tests.helpers.toy import CLASSES, toy_dataset, toy_recipe
from tests.helpers.watchers import quiet, stop_at

pytestmark = pytest.mark.usefixtures("fresh_compiler")


@pytest.fixture
def times(monkeypatch):
    """Pretend how long steps take: as they are, and compiled; gives the trials that were made."""
    made = []

    def pretend(eager: float, compiled: float | None = None):
        def seconds(learners, batch):
            made.append([learner.recipe.compile for learner in learners])
            return [compiled if own else eager for own in made[-1]]

        monkeypatch.setattr(worth_compiling, "_seconds", seconds)
        monkeypatch.setattr(worth_compiling, "require_compiler", lambda device: None)
        return made

    processes.say_once.cache_clear()
    return pretend


def choose(epochs: int, students: int = 1) -> bool:
    recipes = [toy_recipe("ce", epochs=epochs, compile="auto")] * students
    return choose_compile(recipes, toy_dataset(), make_fabric("cpu"), lambda r: new_student(r.student, CLASSES, r.seed))


@pytest.mark.parametrize(
    ("eager", "compiled", "epochs", "students", "chosen", "said"),
    [
        (0.1, 0.05, 900, 1, False, "some 360 s, too few"),  # 4 steps an epoch: 0.15 x 360 s are less than a minute
        (0.1, 0.05, 900, 2, True, "50 ms compiled and 100 ms as it is"),  # two students take as long again
        (0.1, 0.09, 2000, 1, True, "90 ms compiled"),
        (0.1, 0.098, 2000, 1, False, "98 ms compiled"),  # no more than noise
        (0.1, 0.2, 2000, 1, False, "compile off: a step takes 200 ms compiled"),
    ],
)
def test_what_pays_is_taken(backend, times, capsys, eager, compiled, epochs, students, chosen, said):
    made = times(eager, compiled)
    assert choose(epochs, students) is chosen
    assert said in capsys.readouterr().err
    assert made == ([[False]] if "too few" in said else [[False], [False, True]])


def test_where_there_is_no_compiler_training_goes_on_and_says_why(times, monkeypatch, capsys):
    times(0.1)

    def missing(device):
        raise CompileError("compile: no C++ compiler was found.")

    monkeypatch.setattr(worth_compiling, "require_compiler", missing)
    assert choose(2000) is False
    assert "compile off: no C++ compiler was found." in capsys.readouterr().err


def test_a_network_that_cannot_be_compiled_is_trained_as_it_is(backend, times, monkeypatch, capsys):
    times(0.1, 0.05)

    def fail(*_):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(compiling.Compiled, "_try_out", fail)
    assert choose(2000) is False
    assert "compile off: ResNet could not be compiled: RuntimeError: no such kernel" in capsys.readouterr().err


def test_the_trial_itself_runs_and_leaves_random_numbers_alone(backend, monkeypatch):
    monkeypatch.setattr(worth_compiling, "COMPILING", 0.0)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert choose(2) in (True, False)
    assert torch.equal(before, torch.get_rng_state())
    assert backend.graphs == 1 and len(backend.rows) >= worth_compiling.STEPS // 2


@pytest.mark.parametrize("chosen", [True, False])
def test_the_choice_is_kept_and_no_trial_is_made_again(backend, tmp_path, monkeypatch, chosen):
    tried = []
    monkeypatch.setattr(material, "choose_compile", lambda *_: tried.append(1) or chosen)
    recipe, out = toy_recipe("ce", compile="auto"), tmp_path / "run"
    with pytest.raises(Interrupted):
        train(recipe, out, watch=stop_at(0, 2), dataset=toy_dataset())
    train(recipe, out, resume=True, watch=quiet, dataset=toy_dataset())
    assert tried == [1] and RunFolder(out).recipe().compile is chosen
    assert bool(backend.graphs) is chosen
    train(replace(recipe, compile=chosen), tmp_path / "named", watch=quiet, dataset=toy_dataset())
    assert RunFolder(tmp_path / "named").recipe() == RunFolder(out).recipe()
    assert_same_tensors(*(load_file(folder / "student.safetensors") for folder in (out, tmp_path / "named")))


def test_a_trial_changes_no_number_of_the_run(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(worth_compiling, "COMPILING", 0.0)
    monkeypatch.setattr(worth_compiling, "WORTH", 1.0)  # whatever the clock says
    for name, compiled in (("tried", "auto"), ("plain", False)):
        train(toy_recipe("ce", compile=compiled), tmp_path / name, watch=quiet, dataset=toy_dataset())
    assert_same_tensors(*(load_file(tmp_path / name / "student.safetensors") for name in ("tried", "plain")))
