"""Glyphs-100: real glyphs in every face, told apart in principle, the same pictures on every run."""

import itertools

import numpy as np
import pytest
import torch
from fontTools.pens.boundsPen import BoundsPen
from fontTools.ttLib import TTFont

from normkd_explore.data import load_dataset
from normkd_explore.data.glyphs.alphabet import CHARACTERS, FACES, READABLE_NAMES, face_path
from normkd_explore.data.glyphs.dataset import draw_split
from normkd_explore.data.glyphs.render import LEVELS, LUMINANCE, draw_colours, label_of, master_glyph, render_glyph

ALL_FACES = sorted(itertools.chain.from_iterable(FACES.values()))
SMALL = {"train_size": 200, "val_size": 100, "test_size": 100}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NORMKD_CACHE", str(tmp_path / "cache"))


def test_there_are_100_characters_with_readable_names():
    assert len(CHARACTERS) == len(set(CHARACTERS)) == 100
    assert set(READABLE_NAMES) == set(CHARACTERS)
    assert len(set(READABLE_NAMES.values())) == 100
    assert READABLE_NAMES["β"] == "beta"


def test_test_and_validation_faces_are_not_trained_on():
    assert len(ALL_FACES) == len(set(ALL_FACES)) == 16


@pytest.mark.parametrize("face", ALL_FACES)
def test_every_face_has_an_inked_glyph_for_every_character(face):
    font = TTFont(face_path(face))
    glyph_of, glyphs = font.getBestCmap(), font.getGlyphSet()
    for character in CHARACTERS:
        name = glyph_of.get(ord(character), ".notdef")
        assert name != ".notdef", f"{face} draws {character} as an empty box"
        pen = BoundsPen(glyphs)
        glyphs[name].draw(pen)
        assert pen.bounds is not None, f"{face} draws {character} as nothing"


def test_no_two_characters_look_the_same_in_any_face():
    pictures = {c: [master_glyph(c, face) for face in ALL_FACES] for c in CHARACTERS}
    for one, other in itertools.combinations(CHARACTERS, 2):
        differing = sum(
            a.size != b.size or a.tobytes() != b.tobytes() for a, b in zip(pictures[one], pictures[other], strict=True)
        )
        assert differing == len(ALL_FACES), f"{one} and {other} are one glyph in {len(ALL_FACES) - differing} faces"


def test_a_picture_depends_on_seed_split_and_index_alone():
    picture = render_glyph(5, "train", LEVELS["standard"], seed=0)
    assert picture.shape == (32, 32, 3)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, render_glyph(5, "train", LEVELS["standard"], seed=0))
    for other in [(105, "train", 0), (5, "test", 0), (5, "train", 1)]:
        index, split, seed = other
        assert not np.array_equal(picture, render_glyph(index, split, LEVELS["standard"], seed))


def test_a_larger_set_begins_with_the_smaller_one():
    small, large = (draw_split("train", size, LEVELS["standard"], 0) for size in (100, 150))
    assert torch.equal(small["images"], large["images"][:100])
    assert torch.equal(small["labels"], large["labels"][:100])


def test_classes_are_balanced_in_every_split():
    dataset = load_dataset("glyphs", **SMALL)
    for split in (dataset.train, dataset.val, dataset.test):
        assert len(torch.bincount(split.labels_N, minlength=100).unique()) == 1
    assert dataset.num_classes == 100
    assert dataset.class_names[label_of(210)] == "A"
    assert dataset.image_size == 32
    assert dataset.views.count == 81


def test_describe_is_one_line_with_the_facts():
    text = load_dataset("glyphs", **SMALL).describe()
    assert "\n" not in text
    for fact in ("100 classes", "32x32", "200 train / 100 val / 100 test", "81 views", "test faces are not seen"):
        assert fact in text


def test_the_paper_protocol_has_no_validation_pictures():
    dataset = load_dataset("glyphs", protocol="paper", train_size=100, test_size=100)
    assert dataset.val is None
    assert "0 val" in dataset.describe()


@pytest.mark.parametrize("level", LEVELS)
def test_glyph_and_ground_differ_in_brightness(level):
    rng = np.random.default_rng(0)
    for _ in range(200):
        ground_C, ink_C = draw_colours(LEVELS[level], rng)
        assert abs(float((ink_C - ground_C) @ LUMINANCE)) >= LEVELS[level].contrast
        if level == "standard":
            assert ink_C @ LUMINANCE > ground_C @ LUMINANCE


@pytest.mark.parametrize("level", LEVELS)
def test_the_stored_mean_and_std_are_those_of_the_pictures(level):
    pixels = draw_split("train", 600, LEVELS[level], 0)["images"].numpy() / 255.0
    # 600 of 10,000 pictures: the tolerances are five standard errors of the mean over pictures.
    np.testing.assert_allclose(pixels.mean((0, 1, 2)), LEVELS[level].mean, atol=0.06)
    np.testing.assert_allclose(pixels.std((0, 1, 2)), LEVELS[level].std, atol=0.03)


def test_the_second_load_reads_the_cache(monkeypatch):
    first = load_dataset("glyphs", **SMALL)
    monkeypatch.setattr("normkd_explore.data.glyphs.dataset.draw_split", lambda *_: pytest.fail("drawn again"))
    second = load_dataset("glyphs", **SMALL)
    assert torch.equal(first.train.images_NHWC, second.train.images_NHWC)
    assert torch.equal(first.test.labels_N, second.test.labels_N)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "easy"}, "level must be one of 'standard', 'hard', 'wild', found 'easy'"),
        ({"train_size": 99}, "train_size must be at least 100"),
        ({"seed": -1}, "seed must be 0 or more, found -1"),
        ({"image_size": 64}, "glyphs has images of 32 pixels, found image_size=64"),
        ({"protocol": "best"}, 'protocol must be "holdout"'),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        load_dataset("glyphs", **options)


def test_unknown_names_and_options_list_what_there_is():
    with pytest.raises(ValueError, match="no data set 'mnist'; choose one of glyphs, cifar100"):
        load_dataset("mnist")
    with pytest.raises(TypeError, match="glyphs has no option download; it takes level, seed, test_size"):
        load_dataset("glyphs", download=True)
