"""Which folders are splits, which are classes, and what is left out: said, never guessed in silence."""

import os
import shutil
import unicodedata

import pytest

from normkd_explore.data import load_dataset
from normkd_explore.data.split_folders import role_of
from tests.helpers.image_files import write_folder, write_image


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NORMKD_CACHE", str(tmp_path / "cache"))


def values(split):
    return split.images_NHWC[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Train", "Valid", "TEST"),
        ("Training", "validation", "Testing"),
        ("training_set", "validation-set", "test_set"),
        ("TrainSet", "val", "test data"),
        ("train", "valid", "test_images"),
    ],
)
def test_common_names_are_understood_whatever_their_case(tmp_path, train, val, test):
    dataset = load_dataset("imagefolder", write_folder(tmp_path / "d", {train: 3, val: 1, test: 2}))
    assert (values(dataset.train), values(dataset.val), values(dataset.test)) == (
        [0, 1, 2, 10, 11, 12],
        [0, 10],
        [0, 1, 10, 11],
    )
    assert dataset.class_names == ("ant", "bee")
    assert f"train: 6 images of {train}/, 3 of each class" in dataset.describe()


@pytest.mark.parametrize("name", ["trainer", "vale", "contest", "set", "data", "latest", "Trains", "attest"])
def test_other_words_are_no_splits(name):
    assert role_of(name) is None


@pytest.mark.parametrize("names", [("seg_train", "seg_test"), ("train2017", "val2017"), ("Train (1)", "Eval")])
def test_what_looks_like_splits_is_refused_by_name(tmp_path, names):
    root = write_folder(tmp_path / "d", dict.fromkeys(names, 2))
    with pytest.raises(ValueError) as caught:
        load_dataset("imagefolder", root)
    assert f"{root} has folders that look like splits, not classes: " in str(caught.value)
    assert all(name in str(caught.value) for name in (*names, "train, val and test"))


def test_flat_splits_are_not_two_classes(tmp_path):
    for name in ("Training", "Testing"):
        write_image(tmp_path / "d" / name / "0.png")
    with pytest.raises(ValueError, match="look like splits, not classes: Testing, Training"):
        load_dataset("imagefolder", tmp_path / "d")


def test_an_unknown_split_beside_known_ones_is_refused(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 2, "test": 1, "val_extra": 1})
    with pytest.raises(ValueError, match="beside test, train that look like splits: val_extra"):
        load_dataset("imagefolder", root)


def test_two_folders_for_one_split_are_refused(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 2, "valid": 1, "validation": 1})
    with pytest.raises(ValueError, match="several folders for the val split: valid, validation"):
        load_dataset("imagefolder", root)


def test_a_class_may_be_called_train(tmp_path):
    root = write_folder(tmp_path / "d", {".": 10}, classes=("bus", "train"))
    dataset = load_dataset("imagefolder", root)
    assert dataset.class_names == ("bus", "train")
    assert len(dataset.train) + len(dataset.val) + len(dataset.test) == 20


def test_what_is_found_and_left_out_is_said(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 3, "test": 2})
    write_image(root / "train" / "ant" / "more.png", 7)
    write_image(root / "train" / "ant" / "photo.jfif.jpg", 7)
    for name in ("a.gif", "b.GIF", "c.heic", "notes.txt", "README"):
        (root / "train" / "bee" / name).write_bytes(b"?")
    (root / "train" / "bee" / ".DS_Store").write_bytes(b"?")
    write_folder(root / "old", {".": 1})
    lines = load_dataset("imagefolder", root, protocol="paper").describe().splitlines()
    assert lines[0].startswith("imagefolder: 2 classes, 16x16 pixels; 8 train / 0 val / 4 test; 162 views an image")
    assert [line.strip() for line in lines[1:]] == [
        "classes: ant, bee",
        "train: 8 images of train/, from 3 (bee) to 5 (ant) of a class",
        "test: 4 images of test/, 2 of each class",
        "left out: folders that are no split: old",
        "left out: files of another kind: 2 .gif, 1 .heic, 1 .txt, 1 without an ending (in train)",
    ]


def test_a_val_folder_that_the_protocol_does_not_use_is_named(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 3, "valid": 1, "test": 1})
    assert "valid is not used" in load_dataset("imagefolder", root, protocol="paper").describe()
    assert "not used" not in load_dataset("imagefolder", root).describe()


@pytest.mark.parametrize("marks", [("config.yaml", "environment.json"), ("cache.json", "checks.i32")])
def test_own_runs_in_the_data_root_are_no_classes(tmp_path, marks):
    root = write_folder(tmp_path / "d", {".": 5})
    run = root / "runs" / "folder-d" / "teacher-resnet20"
    for name in marks:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("{}")
    write_image(run / "my plot.png")
    dataset = load_dataset("imagefolder", root)
    assert dataset.class_names == ("ant", "bee")
    assert "left out: folders of this package's own training runs: runs" in dataset.describe()
    split = write_folder(tmp_path / "e", {"train": 3, "test": 1})
    shutil.copytree(root / "runs", split / "runs")
    assert (
        "left out: folders of this package's own training runs: runs" in load_dataset("imagefolder", split).describe()
    )


def test_nobody_is_told_to_remove_a_folder_that_holds_something(tmp_path):
    root = write_folder(tmp_path / "d", {".": 3})
    (root / "notes").mkdir()
    (root / "notes" / "weights.pth").write_bytes(b"precious")
    with pytest.raises(ValueError) as caught:
        load_dataset("imagefolder", root)
    assert "notes; they hold other files (1 .pth)" in str(caught.value)
    assert "or remove the folders" not in str(caught.value)


def test_a_class_may_be_empty_outside_train(tmp_path):
    root = write_folder(tmp_path / "d", {"train": 3, "val": 1, "test": 2})
    shutil.rmtree(root / "test" / "ant")
    with pytest.raises(ValueError, match=r"only .*train has ant; .*add an empty folder"):
        load_dataset("imagefolder", root)
    (root / "test" / "ant").mkdir()
    dataset = load_dataset("imagefolder", root)
    assert (dataset.class_names, dataset.test.labels_N.tolist()) == (("ant", "bee"), [1, 1])
    assert "left out: classes without an image: ant (in test)" in dataset.describe()
    shutil.rmtree(root / "test" / "bee")
    (root / "test" / "bee").mkdir()
    with pytest.raises(ValueError, match=r"no images .*test: ant, bee; add images or remove the folders"):
        load_dataset("imagefolder", root)


def test_composed_and_decomposed_names_are_one_class(tmp_path):
    whole, apart = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    assert whole != apart
    root = write_folder(tmp_path / "d", {"train": 3}, classes=("ant", whole))
    write_folder(root, {"test": 1}, classes=("ant", apart))
    if sorted(os.listdir(root / "train")) == sorted(os.listdir(root / "test")):
        pytest.skip("this file system composes names itself")
    dataset = load_dataset("imagefolder", root)
    assert dataset.class_names == (whole, "ant")
    assert (values(dataset.test), dataset.test.labels_N.tolist()) == ([10, 0], [0, 1])
    write_image(root / "train" / apart / "0.png")
    with pytest.raises(ValueError, match=r"names look the same .*Zo"):
        load_dataset("imagefolder", root)
