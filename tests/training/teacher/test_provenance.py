"""Weights are never taken for other classes, another order or another normalisation than those of their training."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from normkd_explore.analysis import model_logits, pictures
from normkd_explore.data import ArraySplit, load_dataset, make_batches
from normkd_explore.models import create_model, load_checkpoint, save_weights
from normkd_explore.models.origin import Origin, origin_of, remember_origin
from normkd_explore.training import Teacher, Where, evaluate, get_preset, load_teacher, make_fabric, train
from normkd_explore.training.machine.processes import say_once
from normkd_explore.training.measure import measure, open_trained
from normkd_explore.training.teacher.provenance import as_trained, origin_here
from tests.helpers.toy import CLASSES, toy_dataset, toy_recipe


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("NORMKD_CACHE", str(tmp_path / "cache"))
    say_once.cache_clear()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A teacher trained on the toy data for an epoch, and its folder."""
    out = tmp_path_factory.mktemp("run") / "teacher"
    train(toy_recipe("ce", epochs=1), out, Where(device="cpu"), watch=lambda *_: None, dataset=toy_dataset())
    return out


def reordered(dataset, order):
    """The same images with the classes in another order."""
    place = torch.tensor([order.index(c) for c in range(len(order))])
    parts = {
        name: ArraySplit(part.images_NHWC, place[part.labels_N])
        for name in ("train", "val", "test")
        if (part := getattr(dataset, name))
    }
    return replace(dataset, **parts, class_names=tuple(dataset.class_names[c] for c in order))


def test_a_runs_weights_say_what_they_belong_to(run):
    with safe_open(run / "student.safetensors", "pt") as file:
        texts = file.metadata()
    dataset, inputs = toy_dataset(), json.loads((run / "inputs.json").read_text())
    assert json.loads(texts["class_names"]) == list("abcde")
    assert (json.loads(texts["mean"]), json.loads(texts["std"])) == ([0.5] * 3, [0.25] * 3)
    assert (json.loads(texts["image_size"]), json.loads(texts["data"])) == (12, inputs["data"])
    assert origin_of(load_teacher("resnet8", dataset, run)) == origin_here(dataset, inputs["data"])


@torch.no_grad()
def test_a_teacher_of_the_same_classes_in_another_order_is_put_in_order(run, capsys):
    order = [3, 0, 4, 1, 2]
    dataset, other = toy_dataset(), reordered(toy_dataset(), order)
    plain, fitted = load_teacher("resnet8", dataset, run).eval(), load_teacher("resnet8", other, run).eval()
    images = torch.randn(4, 3, 12, 12)
    torch.testing.assert_close(fitted(images), plain(images)[:, order])
    assert origin_of(fitted).class_names == other.class_names
    assert "has the classes of toy in another order" in capsys.readouterr().err

    def top1(model, data):
        return evaluate(model, make_batches(data, "test", 64, augment=False).epoch(0))["top1"]

    assert top1(fitted, other) == top1(plain, dataset) != top1(plain, other)


def test_a_student_of_an_order_learns_from_a_teacher_of_another(run, tmp_path):
    """To the last bit as from a teacher whose file was in that order."""
    other = reordered(toy_dataset(), [3, 0, 4, 1, 2])
    in_order = tmp_path / "in order.safetensors"
    save_weights(load_teacher("resnet8", other, run), in_order, origin_here(other, None).texts())
    results = []
    for weights in (run, in_order):
        out = tmp_path / str(len(results))
        where = Where(device="cpu", teacher_weights=weights)
        train(toy_recipe("kd", epochs=1), out, where, watch=lambda *_: None, dataset=other)
        results.append((out / "student.safetensors").read_bytes())
    assert results[0] == results[1]


def test_other_classes_are_refused_with_the_way_out(run, tmp_path):
    other = replace(toy_dataset(), class_names=("a", "b", "c", "d", "x"))
    with pytest.raises(ValueError) as caught:
        load_teacher("resnet8", other, run)
    text = str(caught.value)
    assert "student.safetensors was trained on other classes: only the data has x; only the weights know e" in text
    assert "`normkd teacher PRESET`" in text and "--teacher-weights" in text


def test_another_number_of_classes_names_the_way_out_that_exists(tmp_path):
    torch.save(create_model("resnet8", 7).state_dict(), tmp_path / "foreign.pth")
    with pytest.raises(ValueError) as caught:
        load_teacher("resnet8", toy_dataset(), tmp_path / "foreign.pth")
    text = str(caught.value)
    assert f"teacher: {tmp_path / 'foreign.pth'} knows 7 classes, and toy has 5" in text
    assert "`normkd teacher PRESET`" in text and "num_classes" not in text


def test_of_foreign_weights_it_is_said_once_that_nobody_can_check(tmp_path, capsys):
    torch.save(create_model("resnet8", CLASSES).state_dict(), tmp_path / "foreign.pth")
    for _ in range(2):
        load_teacher("resnet8", toy_dataset(), tmp_path / "foreign.pth")
    said = capsys.readouterr().err
    assert said.count("foreign.pth does not say what classes its outputs are") == 1
    assert "nobody can check" in said and "the 5 of toy in their order" in said


@torch.no_grad()
def test_a_teacher_sees_pixels_as_in_its_training(run):
    dataset = toy_dataset()
    other = replace(dataset, mean=(0.1, 0.2, 0.3), std=(0.5, 0.2, 0.1))
    fabric, constants = make_fabric("cpu"), (other.mean, other.std)
    model = load_teacher("resnet8", other, run)
    teacher = Teacher(model, fabric, seen=constants)
    pixels_NHWC = dataset.test.images_NHWC
    expected = Teacher(model, fabric).evaluate(dataset.normalize(pixels_NHWC))
    torch.testing.assert_close(teacher.evaluate(other.normalize(pixels_NHWC)), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(Teacher(model, fabric).evaluate(other.normalize(pixels_NHWC)), expected, atol=1e-1)
    assert teacher.fingerprint() != Teacher(model, fabric).fingerprint()


def test_a_teacher_of_the_same_normalisation_is_the_very_same(run):
    dataset, fabric = toy_dataset(), make_fabric("cpu")
    model = load_teacher("resnet8", dataset, run)
    one, other = Teacher(model, fabric), Teacher(model, fabric, seen=(dataset.mean, dataset.std))
    assert other.change is None and one.fingerprint() == other.fingerprint()


def write_split(root, split, random, count, low, size):
    for label, name in enumerate(("ant", "bee")):
        (root / split / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(low, low + 60, (size, size, 3)) + 60 * label
            Image.fromarray(pixels.astype(np.uint8)).save(root / split / name / f"{number}.png")


@pytest.fixture
def folders(tmp_path):
    """Two folders with the same test images; the second's training images are brighter, and larger."""
    for name, low, size in (("a", 0, 12), ("b", 130, 20)):
        write_split(tmp_path / name, "train", np.random.default_rng(0), 12, low, size)
        write_split(tmp_path / name, "test", np.random.default_rng(1), 9, 0, 12)
    recipe = replace(get_preset("folder/resnet8-resnet8", "ce"), epochs=1, batch_size=8)
    train(recipe, tmp_path / "run", Where(data_root=tmp_path / "a", device="cpu"), watch=lambda *_: None)
    return tmp_path


def test_evaluation_sees_pixels_as_the_training_did_whatever_folder_is_opened(folders, capsys):
    opened = load_dataset("imagefolder", folders / "b")
    assert opened.mean[0] > 0.5 and opened.image_size == 20
    ours = measure(folders / "run", data_root=folders / "a", device="cpu")
    theirs = measure(folders / "run", data_root=folders / "b", device="cpu")
    assert ours == theirs
    said = capsys.readouterr().err
    assert "was trained on pixels normalised by mean" in said and "was trained with other data" in said
    file = folders / "run" / "student.safetensors"
    assert measure(file, "resnet8", "imagefolder", folders / "b", device="cpu") == ours


def test_the_data_is_described_before_training_and_the_folder_of_the_run_is_no_class(folders, capsys):
    recipe = replace(get_preset("folder/resnet8-resnet8", "ce"), epochs=1, batch_size=8)
    (folders / "a" / "test" / "ant" / "movie.gif").write_bytes(b"GIF89a")
    where = Where(data_root=folders / "a", device="cpu")
    train(recipe, folders / "a" / "runs" / "ce", where, watch=lambda *_: None)
    said = capsys.readouterr().err
    assert "imagefolder: 2 classes, 12x12 pixels; 22 train / 2 val / 18 test" in said
    assert "left out: files of another kind: 1 .gif (in test)" in said
    say_once.cache_clear()
    train(recipe, folders / "again", where, watch=lambda *_: None)
    assert "left out: folders of this package's own training runs: runs" in capsys.readouterr().err


@torch.no_grad()
def test_analysis_sees_pixels_and_classes_as_the_training_did(run):
    dataset, order = toy_dataset(), [3, 0, 4, 1, 2]
    model = load_checkpoint("resnet8", run / "student.safetensors")
    images = pictures(dataset.test, torch.arange(6))
    expected = model_logits(model, dataset, images)
    other = replace(reordered(dataset, order), mean=(0.1, 0.2, 0.3), std=(0.5, 0.2, 0.1))
    torch.testing.assert_close(model_logits(model, other, images), expected[:, order])
    with pytest.raises(ValueError, match="the model was trained on other classes"):
        model_logits(model, replace(dataset, class_names=tuple("abcdx")), images)


def test_a_run_is_opened_with_the_classes_of_its_training(run, folders):
    _, network, data = open_trained(folders / "run", data_root=folders / "b")
    assert (data.mean, data.std, data.image_size) == (origin_of(network).mean, origin_of(network).std, 12)
    (folders / "b" / "test" / "bee").rename(folders / "b" / "test" / "cow")
    (folders / "b" / "train" / "bee").rename(folders / "b" / "train" / "cow")
    with pytest.raises(ValueError, match=r"only the data has cow; only the weights know bee. Name the data"):
        measure(folders / "run", data_root=folders / "b", device="cpu")


def test_a_handed_teacher_that_knows_its_classes_is_checked_too(run, tmp_path):
    model = load_checkpoint("resnet8", run / "student.safetensors")
    other = replace(toy_dataset(), class_names=tuple("abcdx"))
    with pytest.raises(ValueError, match=r"teacher: the network that was handed over was trained on other classes"):
        train(toy_recipe("kd", epochs=1), tmp_path / "x", Where(device="cpu"), dataset=other, teacher=model)


def test_folders_that_are_not_wordnet_numbers_are_mentioned(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("normkd_explore.training.teacher.sources.pretrained_imagenet", lambda name: name)
    dataset = replace(toy_dataset(), name="imagenet", class_names=tuple(f"class {i}" for i in range(1000)))
    assert load_teacher("resnet34", dataset, None) == "resnet34"
    assert "the order of the sorted WordNet numbers" in capsys.readouterr().err
    load_teacher("resnet34", replace(dataset, class_names=tuple(f"n{i:08}" for i in range(1000))), None)
    assert capsys.readouterr().err == ""


def test_unknown_parts_are_left_open():
    assert Origin(class_names=("a", "b")).texts() == {"class_names": '["a", "b"]'}


@pytest.mark.parametrize("known", [{"mean": (0.1, 0.2, 0.3)}, {"std": (0.1, 0.2, 0.3)}, {}])
def test_half_a_normalisation_is_none(known):
    model = create_model("resnet8", CLASSES)
    remember_origin(model, Origin(**known))
    dataset = toy_dataset()
    assert as_trained(dataset, model, "it") is dataset
