"""The hero without a browser: its claim over the whole slider, its state, its sentence in Node, its still picture."""

import xml.etree.ElementTree as ET
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from normkd_explore.analysis.softness import effective_classes, softness_band
from normkd_explore.data import ArraySplit, Dataset
from normkd_explore.training import get_preset, lesson, load_teacher, open_dataset
from normkd_explore.widgets import Hero
from normkd_explore.widgets.hero import START, T_NORM_STOPS, T_STOPS
from tests.helpers.hero import NAMES, make_hero, make_logits
from tests.helpers.node import run_node


@pytest.fixture(scope="module")
def shipped():
    """The hero of notebook 02: the shipped teacher on the lesson's test images."""
    recipe = lesson(get_preset("glyphs/resnet20-resnet8"))
    dataset = open_dataset(recipe, None)
    return Hero.from_model(load_teacher(recipe.teacher, dataset, None), dataset)


def in_band(logits_NC, T_N):
    low, high = softness_band(logits_NC.shape[1])
    classes_N = effective_classes(logits_NC, T_N)
    return (low <= classes_N) & (classes_N <= high)


def test_no_place_of_the_one_slider_makes_both_gauges_green_and_t_norm_does(shipped):
    together = np.array([in_band(shipped.logits_NC, float(T)) for T in T_STOPS])
    assert not together.all(axis=1).any()
    assert together.any(axis=0).all(), "each of them can be reached alone"
    std_N = shipped.logits_NC.std(axis=1, ddof=1)
    assert in_band(shipped.logits_NC, START["T_norm"] * std_N).all()
    assert [shipped.class_names[label] for label in shipped.labels] == ["#", "v"]
    classes_N = effective_classes(shipped.logits_NC, START["T"])
    assert np.round(classes_N).tolist() == [7, 70]


def test_stops_are_round_rising_and_hold_the_limits():
    for stops, low, high in ((T_STOPS, 0.5, 25), (T_NORM_STOPS, 0.2, 2)):
        assert stops[0] == low and stops[-1] == high and (np.diff(stops) > 0).all()
        np.testing.assert_array_equal(stops, np.round(stops, 2))
    assert 4.0 in T_STOPS and 1.0 in T_NORM_STOPS


def test_from_model_takes_the_extremes_of_the_whole_split():
    images = torch.randint(0, 256, (30, 4, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    pixels = ((images.double() / 255 - 0.5) / 0.25).permute(0, 3, 1, 2).flatten(1)
    logits = (pixels @ model[1].weight.double().T + model[1].bias.double()).detach()
    split = ArraySplit(images, logits.argmax(dim=1))
    hero = Hero.from_model(model, Dataset("noise", split, None, split, tuple("abcde"), (0.5,) * 3, (0.25,) * 3))
    chosen = [int(logits.std(dim=1).argmax()), int(logits.std(dim=1).argmin())]
    np.testing.assert_allclose(hero.logits_NC, logits[chosen], atol=1e-5)  # the whole split is read in float32
    np.testing.assert_array_equal(hero.images_NHWC, images[chosen])


SENTENCES = {
    "one": [0.6, 2.2, 3.0, 4.0, 8.0, 11.0, 24.0],
    "own": [0.3, 1.0, 1.9],
}


def test_the_sentence_says_what_the_numbers_are(tmp_path):
    hero = make_hero()
    states = [{**START, "mode": "one", "T": T} for T in SENTENCES["one"]]
    states += [{**START, "mode": "own", "T_norm": t} for t in SENTENCES["own"]]
    script = """
        import { heroSentence, heroTemperatures } from "./hero.js";
        const samples = given.logits.map((row, i) => ({ name: "#v"[i], logits: Float64Array.from(row) }));
        console.log(JSON.stringify(given.states.map((state) =>
          heroSentence(state, samples, heroTemperatures(state, samples), given.band))));
    """
    told = run_node(tmp_path, script, {"logits": hero.logits_NC.tolist(), "states": states, "band": [35, 65]})
    for state, words in zip(states, told, strict=True):
        hero.state = state
        classes = effective_classes(hero.logits_NC, hero.temperatures())
        for count in classes:
            assert f"{count:.{1 if count < 2.95 else 0}f}" in words
        assert ("in the band" in words) == in_band(hero.logits_NC, hero.temperatures()).any()
        assert ("both are in the band" in words) == in_band(hero.logits_NC, hero.temperatures()).all()
    assert told[3].startswith("T = 4: # still means") and "v already" in told[3]


def test_state_is_completed_and_checked():
    hero = make_hero(state={"T": 6})
    assert hero.state == {**START, "T": 6.0}
    hero.state = {"mode": "own"}
    assert hero.state == {"T": 6.0, "T_norm": 1.0, "mode": "own"}
    for wrong, message in (
        ({"T": 0.4}, r"number from 0\.5 to 25"),
        ({"T_norm": "1"}, "number from"),
        ({"mode": "both"}, "one, own"),
        ({"tau": 1}, "state has no tau; its keys are T, T_norm, mode"),
    ):
        with pytest.raises(ValueError, match=message):
            hero.state = wrong


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": np.tile(make_logits(), (2, 1))}, "logits has 4 entries, wanted 2"),
        ({"logits": np.zeros((2, 2))}, "at least 3"),
        ({"logits": np.zeros((2, 100))}, "a row of equal values"),
        ({"logits": np.full((2, 100), np.nan)}, "NaN"),
        ({"labels": [1]}, "labels has 1 entries"),
        ({"labels": [1, 100]}, "from 0 to 99"),
        ({"class_names": ["a"]}, "class_names has 1 entries, wanted 100"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    parts = {"logits": make_logits(), "images": np.zeros((2, 4, 4, 3), np.uint8), "labels": [0, 1]}
    with pytest.raises(ValueError, match=message):
        Hero(**{**parts, "class_names": NAMES, **change})


def test_still_picture_shows_the_state_and_is_the_same_every_time():
    pictures = [str(make_hero(state={"mode": mode, "T": T}).still()) for mode, T in product(("one", "own"), (3, 8))]
    assert pictures[0] == str(make_hero(state={"T": 3}).still()) and len(set(pictures)) == 3
    root = ET.fromstring(pictures[0])
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    classes = effective_classes(make_logits(), 3.0)
    assert f"{classes[1]:.0f}" in texts and "in the band" in texts and "One temperature does not fit both" in texts
    assert "c4 at T = 3 means" in root[0].text
