"""A run goes on, and is pooled and paired, only with the same teacher and the same images, wherever they lie."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from normkd_explore.data import ArraySplit, Dataset, FileSplit, Views
from normkd_explore.models import create_model, save_weights
from normkd_explore.training import Interrupted, RunFolder, Teacher, Where, compare, load_teacher, make_fabric, train
from normkd_explore.training.runs.inputs import SIZES, data_digest, describe_inputs
from normkd_explore.training.runs.report import format_report
from tests.helpers.reports import rows, summary
from tests.helpers.toy import CLASSES, toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import quiet, stop_at


def other_teacher(folder) -> Where:
    torch.manual_seed(8)
    path = folder / "other.safetensors"
    save_weights(create_model("resnet8", num_classes=CLASSES), path, metadata={})
    return Where(teacher_weights=path, device="cpu")


def one_pixel_off(name: str) -> Dataset:
    dataset = toy_dataset()
    split = getattr(dataset, name)
    images_NHWC = split.images_NHWC.clone()
    images_NHWC[3, 4, 5, 1] ^= 1
    return replace(dataset, **{name: ArraySplit(images_NHWC, split.labels_N)})


@pytest.fixture
def stopped(tmp_path):
    """A NormKD run that was stopped, and where its teacher lies."""
    where = toy_where(tmp_path)
    with pytest.raises(Interrupted):
        train(toy_recipe("normkd"), tmp_path / "run", where, watch=stop_at(0, 2), dataset=toy_dataset())
    return tmp_path / "run", where


def resume(out, where, dataset=None, method="normkd"):
    return train(toy_recipe(method), out, where, resume=True, watch=quiet, dataset=dataset or toy_dataset())


def test_another_teacher_is_refused_with_the_remedy(stopped, tmp_path):
    out, _ = stopped
    with pytest.raises(ValueError, match=r"another teacher \(teacher: digest \w{16} .*--teacher-weights.*--out"):
        resume(out, other_teacher(tmp_path))


def test_one_other_pixel_to_learn_from_is_refused(stopped):
    out, where = stopped
    with pytest.raises(ValueError, match=r"other images \(data: digest .*--data-root"):
        resume(out, where, one_pixel_off("train"))


@pytest.mark.parametrize("split", ["val", "test"])
def test_one_other_pixel_to_measure_on_is_said_and_recorded_until_the_run_is_over(stopped, split, capsys):
    out, where = stopped
    changed = one_pixel_off(split)
    inputs = resume(out, where, changed)["inputs"]
    said = f"data digest {data_digest(toy_dataset())} before, {data_digest(changed)} now"
    assert f"{out}: validation or test images changed: {said}" in capsys.readouterr().err
    assert inputs["data"] == data_digest(changed)
    assert inputs["changed"] == RunFolder(out).summary()["inputs"]["changed"]
    assert [line for line in inputs["changed"] if said in line] == inputs["changed"] != []
    with pytest.raises(ValueError, match=r"other images \(data: digest .*--data-root"):
        resume(out, where)
    assert resume(out, where, changed)["inputs"] == inputs and capsys.readouterr().err == ""


def test_a_run_that_does_not_say_what_it_learned_from_is_held_to_all_images(stopped):
    out, where = stopped
    before = json.loads((out / "inputs.json").read_text())
    (out / "inputs.json").write_text(json.dumps({name: before[name] for name in ("data", "teacher")}))
    with pytest.raises(ValueError, match="other images"):
        resume(out, where, one_pixel_off("test"))


def test_the_same_contents_elsewhere_are_welcome(stopped, tmp_path):
    out, where = stopped
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(where.teacher_weights.read_bytes())
    found = resume(out, replace(where, teacher_weights=moved))["inputs"]
    kept = json.loads((out / "inputs.json").read_text())
    assert found == {name: kept[name] for name in ("data", "teacher")} and all(kept.values())
    with pytest.raises(ValueError, match="another teacher"):  # a finished run is no result of that teacher either
        resume(out, other_teacher(tmp_path))


def test_a_run_of_an_older_version_goes_on_and_claims_nothing(stopped):
    out, where = stopped
    (out / "inputs.json").unlink()
    assert resume(out, where)["inputs"] == {} and RunFolder(out).finished


def test_damaged_inputs_are_named(stopped):
    out, where = stopped
    (out / "inputs.json").write_text('{"data": ')
    with pytest.raises(ValueError, match=r"inputs\.json is damaged"):
        resume(out, where)


def test_cross_entropy_has_no_teacher_even_beside_others(tmp_path):
    recipes = [toy_recipe(method, epochs=1) for method in ("ce", "kd")]
    outs = [tmp_path / recipe.method for recipe in recipes]
    ce, kd = compare(recipes, outs, toy_where(tmp_path), watch=quiet, dataset=toy_dataset())
    assert ce["inputs"] == {"data": data_digest(toy_dataset()), "teacher": None}
    assert kd["inputs"]["teacher"] and kd["inputs"]["data"] == ce["inputs"]["data"]


def test_digests_follow_contents():
    dataset = toy_dataset()
    labels_N = dataset.train.labels_N.flip(0)
    others = [
        *(one_pixel_off(split) for split in ("train", "val", "test")),
        replace(dataset, train=ArraySplit(dataset.train.images_NHWC, labels_N)),
        replace(dataset, val=None),
        replace(dataset, views=Views(pad=2, flip=False)),
        replace(dataset, mean=(0.4, 0.5, 0.5)),
        replace(dataset, train=dataset.val, val=dataset.train),
    ]
    digests = [data_digest(other) for other in others]
    assert len({data_digest(dataset), *digests}) == len(others) + 1
    assert data_digest(dataset) == data_digest(toy_dataset())
    teacher = Teacher(create_model("resnet8", num_classes=CLASSES), make_fabric("cpu"))
    before = describe_inputs(dataset, teacher)
    next(teacher.model.buffers()).add_(1e-3)  # a batch norm statistic
    assert before["teacher"] != describe_inputs(dataset, teacher)["teacher"]


def files_dataset(folder, sizes: dict[str, int]) -> Dataset:
    folder.mkdir(exist_ok=True)
    for name, size in sizes.items():
        (folder / name).write_bytes(bytes(size))
    names_N = np.array([name.encode() for name in sizes])
    split = FileSplit(folder, names_N, torch.arange(len(sizes)) % 2, 8)
    return replace(toy_dataset(), train=split, val=None, test=split)


def test_image_files_count_by_name_size_and_label_but_not_by_place(tmp_path):
    sizes = {"a.jpg": 10, "b.jpg": 20, "c.jpg": 30}
    first = data_digest(files_dataset(tmp_path / "here", sizes))
    assert first == data_digest(files_dataset(tmp_path / "there", sizes))
    assert first != data_digest(files_dataset(tmp_path / "larger", {**sizes, "b.jpg": 21}))
    assert first != data_digest(files_dataset(tmp_path / "renamed", {"a.jpg": 10, "bb.jpg": 20, "c.jpg": 30}))
    relabelled = files_dataset(tmp_path / "here", sizes)
    split = replace(relabelled.train, labels_N=1 - relabelled.train.labels_N)
    assert first != data_digest(replace(relabelled, train=split))
    assert data_digest(files_dataset(tmp_path / "here", {**sizes, "d.jpg": 0})) != first


def test_sizes_of_very_many_files_are_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr("normkd_explore.training.runs.inputs.SIZES", 4)
    asked = []
    monkeypatch.setattr("normkd_explore.training.runs.inputs._size", lambda path: asked.append(path.name))
    data_digest(files_dataset(tmp_path, {f"{number:02d}.jpg": 1 for number in range(31)}))
    assert asked == ["00.jpg", "10.jpg", "20.jpg", "30.jpg"] * 2 and SIZES == 10_000  # of train and of test


def with_inputs(method: str, seed: int, top1: float, teacher: str | None, data: str = "D") -> dict:
    return {**summary(method, seed, top1), "inputs": {"data": data, "teacher": teacher}}


def test_reports_pool_and_pair_equal_inputs_alone():
    runs = [with_inputs("ce", seed, 0.1, None) for seed in (0, 1)]
    runs += [with_inputs("kd", 0, 0.2, "A"), with_inputs("kd", 1, 0.4, "B"), with_inputs("normkd", 1, 0.5, "B")]
    runs += [with_inputs("kd", 1, 0.9, "A", data="E")]
    text = format_report(runs)
    assert [row[-1:] for row in rows(text)] and "kd (teacher A, data D)" in text and "kd (teacher A, data E)" in text
    pairs = [line.split("  ") for line in text.partition("Paired")[2].splitlines() if line.startswith("toy/")]
    found = {tuple(part.strip() for part in pair if part.strip())[1:4] for pair in pairs}
    assert found == {
        ("kd (teacher A, data D) - ce", "1", "+10.00"),
        ("kd (teacher B, data D) - ce", "1", "+30.00"),
        ("normkd - ce", "1", "+40.00"),
    }
    without_ce = format_report(runs[2:])
    assert "normkd - kd (teacher B, data D)" in without_ce and "normkd - kd (teacher A" not in without_ce


def test_runs_without_inputs_are_pooled_as_before():
    runs = [summary("kd", 0, 0.2), {**summary("kd", 1, 0.4), "inputs": {}}, summary("ce", 0, 0.1)]
    assert [row[2] for row in rows(format_report(runs))[:2]] == ["2", "1"]


def test_torchvisions_teacher_is_not_taken_for_other_classes(monkeypatch):
    dataset = replace(toy_dataset(), name="imagenet")
    monkeypatch.setattr("normkd_explore.training.teacher.sources.pretrained_imagenet", lambda name: "torchvision's")
    with pytest.raises(FileNotFoundError, match=r"1,000 classes, this folder has 5.*normkd teacher.*--teacher-weights"):
        load_teacher("resnet34", dataset, None)
    full = replace(dataset, class_names=tuple(map(str, range(1000))))
    assert load_teacher("resnet34", full, None) == "torchvision's"


def test_a_teacher_trained_for_the_folders_classes_is_taken(tmp_path):
    dataset = replace(toy_dataset(), name="imagenet")
    model = create_model("resnet18", num_classes=CLASSES)
    save_weights(model, tmp_path / "student.safetensors", metadata={})
    assert torch.equal(load_teacher("resnet18", dataset, None, tmp_path).fc.weight, model.fc.weight)
