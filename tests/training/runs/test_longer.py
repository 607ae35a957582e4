"""A finished run and more epochs: what to do is said, and both ways work."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from normkd_explore.training import RunFolder, Where, train
from normkd_explore.training.material import gather
from normkd_explore.training.runs.report import format_report
from normkd_explore.training.settle import begun
from tests.helpers.toy import toy_dataset, toy_recipe
from tests.helpers.watchers import quiet

HERE = Where(device="cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "ce"
    train(toy_recipe("ce", epochs=1), out, HERE, watch=quiet, dataset=toy_dataset())
    return out


@pytest.mark.parametrize("epochs", [3, 2])
def test_more_epochs_of_a_finished_run_name_both_ways(finished, epochs):
    before = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()}
    with pytest.raises(ValueError) as caught:
        train(toy_recipe("ce", epochs=epochs), finished, HERE, resume=True, watch=quiet, dataset=toy_dataset())
    text = str(caught.value)
    assert f"{finished} is finished: its 1 epochs are a whole schedule" in text
    assert f"For a run of {epochs} epochs, give --out another folder and leave --resume out." in text
    assert f"--student-weights {finished}" in text and "learning rate begins anew" in text
    assert {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()} == before


def test_fewer_epochs_are_no_continuation(tmp_path):
    out = tmp_path / "ce"
    train(toy_recipe("ce", epochs=2), out, HERE, watch=quiet, dataset=toy_dataset())
    with pytest.raises(ValueError) as caught:
        train(toy_recipe("ce", epochs=1), out, HERE, resume=True, watch=quiet, dataset=toy_dataset())
    assert "For a run of 1 epochs" in str(caught.value) and "--student-weights" not in str(caught.value)


def test_a_continuation_begins_with_the_weights_and_keeps_their_digest(finished, tmp_path):
    where = Where(device="cpu", student_weights=finished)
    recipes = begun([toy_recipe("ce", epochs=1)], where)
    student = gather(recipes, where, toy_dataset()).new_student(recipes[0])
    before = load_file(finished / "student.safetensors")
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
    assert all(parameter.requires_grad for parameter in student.parameters())
    out = tmp_path / "more"
    summary = train(toy_recipe("ce", epochs=1), out, where, watch=quiet, dataset=toy_dataset())
    assert RunFolder(out).recipe().begin_with == recipes[0].begin_with
    fresh = json.loads((finished / "summary.json").read_text())
    assert summary["budget"] != fresh["budget"]  # so a report never pools the two
    assert fresh["preset"] == summary["preset"] and format_report([fresh, summary]).count(fresh["preset"]) >= 2
    with pytest.raises(ValueError, match=r"begin_with: '[0-9a-f]{16}' before, None now"):
        train(toy_recipe("ce", epochs=1), out, HERE, resume=True, watch=quiet, dataset=toy_dataset())


def test_weights_of_other_classes_do_not_begin_a_run(finished, tmp_path):
    other = replace(toy_dataset(), class_names=tuple("abcdx"))
    with pytest.raises(ValueError, match=r"student: .* was trained on other classes: .*Leave --student-weights out"):
        train(
            toy_recipe("ce", epochs=1),
            tmp_path / "x",
            Where(device="cpu", student_weights=finished),
            watch=quiet,
            dataset=other,
        )
    assert not (tmp_path / "x").exists()
