"""Several seeds on one stream of batches: each student ends as alone, and the teacher looks at each batch once."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
import yaml
from safetensors.torch import load_file

from normkd_explore.cli import main
from normkd_explore.training import Interrupted, Recipe, RunFolder, Teacher, compare, train
from normkd_explore.training.runs.report import format_report
from normkd_explore.training.where import Where, default_folder, run_name
from tests.helpers.tensors import assert_same_tensors
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import quiet, stop_at

RECIPES = [toy_recipe(method, seed=seed, data_seed=3) for seed in (0, 1) for method in ("ce", "kd", "normkd")]
STEPS = 4  # of an epoch


def weights(folder):
    return load_file(folder / "student.safetensors")


@pytest.fixture
def looks(monkeypatch):
    """Every batch that a teacher was asked about."""
    asked, logits = [], Teacher.logits
    monkeypatch.setattr(Teacher, "logits", lambda self, batch: (asked.append(batch.index_B), logits(self, batch))[1])
    return asked


def test_each_seed_ends_as_alone_and_the_teacher_looks_once(tmp_path, looks):
    where = toy_where(tmp_path)
    outs = [tmp_path / "together" / run_name(recipe) for recipe in RECIPES]
    with pytest.raises(Interrupted):  # a stop in the midst changes nothing
        compare(RECIPES, outs, where, watch=stop_at(1, 2), dataset=toy_dataset())
    compare(RECIPES, outs, where, resume=True, watch=quiet, dataset=toy_dataset())
    assert len(looks) == RECIPES[0].epochs * STEPS
    for recipe, out in zip(RECIPES, outs, strict=True):
        train(recipe, tmp_path / "alone" / out.name, where, watch=quiet, dataset=toy_dataset())
        assert_same_tensors(weights(tmp_path / "alone" / out.name), weights(out))
    ends = [weights(out)["fc.weight"] for out in outs]
    assert all(not torch.equal(a, b) for i, a in enumerate(ends) for b in ends[:i])


def test_the_data_seed_decides_batches_and_nothing_else(tmp_path):
    """A data seed equal to the seed is as none; another one changes what the same first weights become."""
    for name, data_seed in (("same", 5), ("none", None), ("other", 6)):
        train(toy_recipe("ce", seed=5, data_seed=data_seed), tmp_path / name, watch=quiet, dataset=toy_dataset())
    assert_same_tensors(weights(tmp_path / "same"), weights(tmp_path / "none"))
    assert not torch.equal(weights(tmp_path / "other")["fc.weight"], weights(tmp_path / "none")["fc.weight"])


def test_seeds_with_other_batches_are_refused_with_the_way_out(tmp_path):
    recipes = [toy_recipe("ce", seed=seed) for seed in (0, 1)]
    with pytest.raises(ValueError, match=r"seeds \[0, 1\] decide other batches.*seed by seed.*--data-seed"):
        compare(recipes, [tmp_path / "a", tmp_path / "b"], watch=quiet, dataset=toy_dataset())


def test_recipes_without_the_field_load_and_keep_their_digest():
    """The digest of the committed tables' runs is checked in test_results; here: the field changes it only when set."""
    recipe = toy_recipe("kd")
    values = yaml.safe_load(recipe.to_yaml())
    del values["data_seed"]
    assert Recipe.from_yaml(yaml.safe_dump(values)) == recipe
    set_ = replace(recipe, data_seed=0)
    assert Recipe.from_yaml(set_.to_yaml()) == set_
    assert len({recipe.budget(), set_.budget(), replace(recipe, data_seed=1).budget()}) == 3
    assert set_.budget() == replace(set_, seed=4).budget()
    assert default_folder(recipe, Where()) != default_folder(set_, Where())


@pytest.mark.parametrize("value", [-1, 1.5, True])
def test_data_seed_is_checked(value):
    with pytest.raises(ValueError, match=r"data_seed: found .* wanted a whole number of at least 0, or None"):
        toy_recipe("ce", data_seed=value)


def test_the_command_line_trains_all_seeds_together(tmp_path, monkeypatch, capsys):
    calls = []

    def fake(recipes, outs, where, resume):
        calls.append((recipes, outs))
        return []

    monkeypatch.setattr("normkd_explore.training.compare", fake)
    monkeypatch.setattr("normkd_explore.training.runs.report.format_report", lambda summaries: "")
    for options in ([], ["--data-seed", "7"]):
        words = ["normkd", "compare", "--seeds", "2", "--methods", "ce,kd", "--out", str(tmp_path), *options]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit):
            main()
    together = calls.pop()
    assert [[(r.method, r.seed, r.data_seed) for r in recipes] for recipes, _ in calls] == [
        [("ce", 0, None), ("kd", 0, None)],
        [("ce", 1, None), ("kd", 1, None)],
    ]
    assert [(r.method, r.seed, r.data_seed) for r in together[0]] == [
        (method, seed, 7) for seed in (0, 1) for method in ("ce", "kd")
    ]
    assert [out.name for out in together[1]][:2] == ["ce-seed0-data7", "kd-seed0-data7"]


def test_a_report_pools_them_apart_from_seeds_with_batches_of_their_own(tmp_path):
    recipes = [toy_recipe("ce", epochs=1, seed=seed, data_seed=data) for seed, data in ((0, 3), (1, 3), (1, None))]
    found = [train(r, tmp_path / run_name(r), watch=quiet, dataset=toy_dataset()) for r in recipes]
    counts = [line.split()[2] for line in format_report(found).splitlines()[2:]]
    assert counts == ["2", "1"] and RunFolder(tmp_path / "ce-seed0-data3").recipe() == recipes[0]
