"""The federated recipe: what it refuses, what the learners get, and what its file gives back."""

from dataclasses import replace

import pytest
import yaml

from normkd_explore.federated import FederatedRecipe, federated_preset

PRESET = "glyphs/resnet20-resnet8"
ATTACKED = {"malicious": 2, "attack": "pcfdla", "strength": 20.0}


def test_clients_are_the_student_and_no_teacher_takes_part():
    recipe = federated_preset(PRESET, "dkd", seed=3, clients=5)
    assert (recipe.student, recipe.teacher, recipe.clients, recipe.seed) == ("resnet8", None, 5, 3)
    local, distil = recipe.local(2), recipe.distil(2)
    assert (local.method, local.settings.ce_weight, local.epochs) == ("ce", 1.0, 2 + 9)
    assert (distil.method, distil.settings.ce_weight, distil.epochs) == ("dkd", 0.0, 10)
    assert len({recipe.local(k).seed for k in range(5)}) == 5 and local.seed == distil.seed


def test_local_epochs_follow_one_another():
    recipe = federated_preset(PRESET, first_epochs=4, epochs=3, rounds=5)
    assert [n for r in range(5) for n in recipe.local_epochs(r)] == list(range(4 + 4 * 3))


def test_its_file_gives_it_back():
    recipe = federated_preset(PRESET, "normdkd", aggregate="median", milestones=(3,), **ATTACKED)
    assert FederatedRecipe.from_yaml(recipe.to_yaml()) == recipe
    assert yaml.safe_load(recipe.to_yaml())["attack"] == "pcfdla"


def test_budgets_are_equal_where_a_comparison_is_fair():
    recipe = federated_preset(PRESET, **ATTACKED)
    same = [recipe.clean(), replace(recipe, aggregate="median"), replace(recipe, seed=1), replace(recipe, strength=1.0)]
    assert {other.budget() for other in same} == {recipe.budget()}
    assert replace(recipe, alpha=1.0).budget() != recipe.budget() != replace(recipe, rounds=3).budget()


def test_victims_are_those_who_do_not_lie():
    assert federated_preset(PRESET, **ATTACKED).victims == range(6)
    assert federated_preset(PRESET, **ATTACKED).clean().victims == range(8)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"malicious": 2}, r"found 2 with attack 'none', wanted both or neither"),
        ({"attack": "fdla"}, r"found 0 with attack 'fdla'.*--malicious 2"),
        ({"malicious": 8, "attack": "fdla"}, "somebody must be a victim"),
        ({"malicious": 1, "attack": "fdla", "strength": 3.0}, "strength: found 3.0, wanted None"),
        ({"malicious": 1, "attack": "pcfdla"}, "strength: found None, wanted a number above 0"),
        ({"malicious": 1, "attack": "pcfdla", "strength": -2.0}, "strength is -2.0"),
        ({"malicious": 1, "attack": "bite"}, "wanted one of none, fdla"),
        ({"aggregate": "medain"}, "Did you mean 'median'"),
        ({"rounds": 0}, "rounds: found 0"),
        ({"alpha": 0.0}, "alpha: found 0.0"),
        ({"compile": True}, "a federation is not compiled"),
    ],
)
def test_what_does_not_fit_is_named(changes, words):
    with pytest.raises(ValueError, match=words):
        federated_preset(PRESET, **changes)


def test_methods_that_look_at_features_are_refused():
    with pytest.raises(ValueError, match="fitnet compares features, and clients share predictions alone"):
        federated_preset(PRESET, "fitnet")
