"""The article's numbers: what its sentences and figures are given, against the result files and the models' logits."""

import base64
import csv
import json

import numpy as np
import pytest
from bs4 import BeautifulSoup

from normkd_explore.results import FOLDER
from scripts.site import measured
from scripts.site.front import write_front
from scripts.site.pages import Contents
from scripts.site.samples import PRESET, STEP


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """The written front page, parsed."""
    words = {"02_some": ("Some heading", "A *question*?")}
    path = write_front(tmp_path_factory.mktemp("front"), Contents((), ()), words, "https://name.org/")
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(scope="module")
def data(front):
    return json.loads(front.find(id="article").string)


def lesson_mean(method, weight):
    """Read with the csv module alone."""
    with (FOLDER / "measured_lesson_weights.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == method and "weight=" not in row["settings"]]
    return np.array([float(row["last"]) for row in rows if row["settings"].endswith(f" KD x {weight}")])


@pytest.mark.parametrize(("method", "weight"), [("kd", "0.9"), ("kd", "4.33"), ("normkd", "0.1869"), ("lskd", "30.4")])
def test_rows_of_the_lesson_are_those_of_the_table(front, method, weight):
    values = lesson_mean(method, weight)
    assert len(values) == 10
    numbers = [node.get_text(" ", strip=True) for node in front.select(".runs .run > b")]
    assert f"{values.mean():.1f} ± {values.std(ddof=1):.1f}" in numbers


def test_the_text_leads_with_the_step_size_and_its_paired_numbers(front):
    text = " ".join(
        front.find(string="NormKD's lead in the lesson is explained by step size.").parent.parent.get_text().split()
    )
    ahead = lesson_mean("kd", "4.33") - lesson_mean("normkd", "0.9")
    published = lesson_mean("normkd", "0.9") - lesson_mean("kd", "0.9")
    assert f"{published.mean():.1f} points ahead of KD ({(published > 0).sum()} of 10 seeds)" in text
    assert f"{ahead.mean():.1f} points ahead of NormKD ({(ahead > 0).sum()} of 10)" in text


def test_every_table_of_longer_trainings_is_told(front):
    names = {name for name, _ in measured.whole_trainings()}
    told = {row.td.string for row in front.select(".scroll tbody tr")}
    assert told == names and f"{PRESET}, 24 epochs" in told


def test_clouds_hold_all_logits_and_temperatures_of_equal_median(data):
    cloud = data["cloud"]
    z_NC = np.frombuffer(base64.b64decode(cloud["logits"]), "<i2").reshape(cloud["count"], -1) * STEP
    assert z_NC.shape == (2000, 100)

    def classes(T):
        s_NC = z_NC / np.broadcast_to(T, (2000,))[:, None]
        p_NC = np.exp(s_NC - s_NC.max(axis=1, keepdims=True))
        p_NC /= p_NC.sum(axis=1, keepdims=True)
        return np.exp(-(p_NC * np.log(p_NC)).sum(axis=1))

    std_N = z_NC.std(axis=1, ddof=1)
    for t_norm, T in zip(cloud["t_norms"][::6], cloud["T"][::6], strict=True):
        assert np.median(classes(T)) == pytest.approx(np.median(classes(t_norm * std_N)), rel=0.01)
    one = cloud["T"][cloud["t_norms"].index(1.0)]
    assert np.round(np.quantile(classes(one), [0.05, 0.95])).tolist() == [34, 71]
    assert np.round(np.quantile(classes(std_N), [0.05, 0.95])).tolist() == [48, 59]


def test_wrong_answers_and_their_weight(front, data):
    text = " ".join(front.get_text().split())
    assert "wrong on 61 of 2,000 test images, and these still count 0.78 times as much" in text


def test_rounded_answers_show_fewer_classes(data):
    steps = data["digits"]["steps"]
    z_C = np.array(data["digits"]["teacher"])
    p_C = np.exp(z_C - z_C.max()) / np.exp(z_C - z_C.max()).sum()
    for step in steps[:-1]:
        assert step["shown"] == (np.round(p_C, step["digits"]) > 0).sum()
    assert steps[-1]["shown"] == 100
    np.testing.assert_allclose(np.std(steps[-1]["epsilon"], ddof=1), z_C.std(ddof=1), rtol=1e-3)


def test_the_recorded_race_is_of_the_lesson_and_says_how_it_was_made(data, front):
    race = data["race"]
    assert race["preset"] == PRESET and race["command"] in front.get_text()
    assert [racer["key"] for racer in race["racers"]] == list(measured.RACERS)
    for lap in race["laps"]:
        assert lap["total"] == 7200 and all(len(curve) == len(lap["images"]) for curve in lap["train"].values())


def test_the_page_says_for_links_what_it_is_and_pictures_stand_in_for_every_figure(front):
    content = {meta.get("property") or meta.get("name"): meta["content"] for meta in front.select("meta[content]")}
    assert content["og:image"] == "https://name.org/card.png" and content["og:title"] in front.title.string
    assert 80 < len(content["description"]) < 200
    places = front.select("[data-live], [data-model]")
    assert len(places) == 8 and all(place.select_one("img.still")["alt"] for place in places)
    assert front.select_one(".cards a")["href"] == "02_some.html"


def test_every_question_has_its_right_answer_among_its_buttons_and_a_fold_for_readers_without_scripts(front):
    questions = front.select(".predict")
    assert len(questions) >= 3
    for question in questions:
        assert question["data-right"] in [button["value"] for button in question.select("button")]
        assert question.select_one("details p").get_text(strip=True)
