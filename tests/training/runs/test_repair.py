"""Results that are missing or damaged: whoever reads them says so, and --resume writes the same ones again."""

from __future__ import annotations

import json
import shutil

import pytest

from normkd_explore.models import load_checkpoint
from normkd_explore.training import RunFolder, compare, train
from normkd_explore.training.runs.report import collect
from normkd_explore.training.teacher.sources import weights_file
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where


def quiet(moment, runs):
    """A watcher that shows nothing."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two finished runs."""
    root = tmp_path_factory.mktemp("finished")
    recipes = [toy_recipe(method, epochs=1) for method in ("ce", "normkd")]
    compare(recipes, [root / "ce", root / "normkd"], toy_where(root), watch=quiet, dataset=toy_dataset())
    return root


@pytest.fixture
def runs(finished, tmp_path):
    """A copy of them that may be damaged."""
    shutil.copytree(finished, tmp_path / "runs")
    return tmp_path / "runs"


def resume(runs, methods=("normkd",)):
    recipes = [toy_recipe(method, epochs=1) for method in methods]
    return compare(recipes, [runs / m for m in methods], toy_where(runs), True, quiet, toy_dataset())


def flip(path):
    content = bytearray(path.read_bytes())
    content[-50] ^= 4
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


def exchange(path):
    shutil.copy(path.parents[1] / "ce" / path.name, path)


def better(path):
    summary = json.loads(path.read_text())
    summary["test"]["top1"] += 0.01
    path.write_text(json.dumps(summary))


def of_another_kind(path):
    path.write_text('{"colour": "red"}')


STUDENT = {
    flip: "is damaged: its SHA-256 does not match",
    cut: "is damaged",
    empty: "is damaged",
    remove: "is missing|has no student.safetensors",
    exchange: "holds other weights than",
}
SUMMARY = {
    better: "was changed or damaged after it was written",
    cut: "is no JSON",
    empty: "is empty",
    of_another_kind: "is missing",
    flip: "damaged",
}
DAMAGES = [
    *(("student.safetensors", damage, words) for damage, words in STUDENT.items()),
    *(("summary.json", damage, words) for damage, words in SUMMARY.items()),
]
damages = pytest.mark.parametrize(("name", "damage", "words"), DAMAGES, ids=lambda x: getattr(x, "__name__", None))


@damages
def test_resume_says_what_is_wrong_and_writes_the_same_results_again(runs, finished, capsys, name, damage, words):
    damage(runs / "normkd" / name)
    assert name in RunFolder(runs / "normkd").damage()
    (summary,) = resume(runs)
    said = capsys.readouterr().err
    assert str(runs / "normkd" / name) in said and "It is written again from the last checkpoint." in said
    for result in ("student.safetensors", "summary.json", "metrics.jsonl"):
        assert (runs / "normkd" / result).read_bytes() == (finished / "normkd" / result).read_bytes()
    assert summary == RunFolder(finished / "normkd").summary() and RunFolder(runs / "normkd").damage() is None


@damages
def test_readers_refuse_with_one_line_that_names_file_and_remedy(runs, name, damage, words):
    folder = runs / "normkd"
    damage(folder / name)
    with pytest.raises((ValueError, OSError), match=words) as error:
        if name == "summary.json":
            collect([runs])
        else:
            load_checkpoint("resnet8", weights_file(folder))
    (line,) = str(error.value).splitlines()
    assert str(folder) in line and "--resume" in line


def test_a_damaged_summary_is_met_by_whoever_takes_the_weights(runs):
    better(runs / "normkd" / "summary.json")
    with pytest.raises(ValueError, match=r"summary.json was changed.*Delete it if student.safetensors alone matters"):
        weights_file(runs / "normkd")
    (runs / "normkd" / "summary.json").unlink()
    load_checkpoint("resnet8", weights_file(runs / "normkd"))


@pytest.mark.parametrize("name", ["student.safetensors", "summary.json"])
def test_without_a_checkpoint_nothing_is_trained_again(runs, name):
    flip(runs / "normkd" / name)
    shutil.rmtree(runs / "normkd" / "checkpoints")
    with pytest.raises(ValueError, match=rf"{name}.*no checkpoint to write it from again.*a copy"):
        resume(runs)
    assert not (runs / "normkd" / "checkpoints").exists()


def test_the_last_checkpoint_may_be_damaged_too(runs, finished):
    """Then the last steps are made again, with the same end."""
    last = max((runs / "normkd" / "checkpoints").glob("*.safetensors"))
    flip(last)
    remove(runs / "normkd" / "student.safetensors")
    if len(list(last.parent.glob("*.safetensors"))) > 1:
        with pytest.warns(RuntimeWarning, match="Trying the checkpoint before"):
            resume(runs)
        names = ("student.safetensors",)
        assert all((runs / "normkd" / n).read_bytes() == (finished / "normkd" / n).read_bytes() for n in names)
    else:
        with pytest.warns(RuntimeWarning), pytest.raises(RuntimeError, match="no usable checkpoint"):
            resume(runs)


def test_of_several_only_the_damaged_one_is_written(runs, capsys):
    before = (runs / "ce" / "student.safetensors").stat().st_mtime_ns
    remove(runs / "normkd" / "student.safetensors")
    assert len(resume(runs, ("ce", "normkd"))) == 2
    assert (runs / "ce" / "student.safetensors").stat().st_mtime_ns == before
    assert f"finished before and left as they are: {runs / 'ce'}" in capsys.readouterr().err


def test_results_of_older_versions_are_taken_as_they_are(runs):
    """No checksum and no names of weights: nothing to compare with."""
    path = runs / "normkd" / "summary.json"
    summary = json.loads(path.read_text())
    for name in ("checksum", "weights"):
        del summary[name]
    path.write_text(json.dumps(summary))
    assert RunFolder(runs / "normkd").damage() is None
    assert resume(runs)[0]["test"] == summary["test"]


def test_a_run_that_is_whole_is_left_alone(runs):
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    train(toy_recipe("normkd", epochs=1), runs / "normkd", toy_where(runs.parent), True, quiet, toy_dataset())
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before
