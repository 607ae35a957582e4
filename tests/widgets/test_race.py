"""The race widget: small messages, stored output, its figure, and a real training."""

import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from normkd_explore.figures import race as race_figures
from normkd_explore.figures.race import method_strokes
from normkd_explore.training import compare
from normkd_explore.widgets import RaceView
from tests.helpers.node import run_node
from tests.helpers.race import fake_runs, final, train_fake
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where

SVG = "{http://www.w3.org/2000/svg}"


def test_an_update_is_one_small_message(clock, monkeypatch):
    race, sent = RaceView(("ce", "kd", "normkd"), seeds=2), []
    train_fake(race, fake_runs(("ce", "kd", "normkd")), 0)
    race.finish()
    monkeypatch.setattr(race, "send_state", lambda key=None: sent.append(set(key)))
    train_fake(race, fake_runs(("ce", "kd", "normkd")), 1, epochs=1, sizes=(64,) * 5)
    assert sent[1:] == [{"_now", "_status"}] * 5, "the past is sent when a seed begins only"


def test_picture_before_training_is_an_empty_frame():
    pictures = [str(RaceView(seeds=2).still()) for _ in range(2)]
    assert pictures[0] == pictures[1] and len(pictures[0]) < 6000
    texts = [node.text for node in ET.fromstring(pictures[0]).iter(f"{SVG}text")]
    assert {"ce", "kd", "normkd", "100", "0"} <= set(texts)
    assert repr(RaceView(seeds=2)) == "RaceView(ce, kd, normkd; 2 seeds)"


def test_picture_shows_both_seeds_and_the_means(clock):
    race = RaceView(("ce", "kd"), seeds=2)
    for seed in (0, 1):
        train_fake(race, fake_runs(), seed, split="test")
    race.finish()
    root = ET.fromstring(str(race.still()))
    mean = np.mean([100 * final("kd", seed, 2) for seed in (0, 1)])
    (words,) = (node.text for node in root.iter(f"{SVG}text") if node.text.startswith("kd"))
    assert words.endswith("% (n = 2)") and float(words.split()[1]) == pytest.approx(mean, abs=0.011)
    colour = method_strokes(("ce", "kd"))[1]["colour"]
    lines = [node for node in root.iter(f"{SVG}path") if node.get("stroke") == colour]
    assert [float(line.get("stroke-width")) for line in lines] == [2, 0.7, 2], "legend, first seed, newest seed"
    # The points of the newest seed: squares around (images seen, top-1).
    shapes = [node.get("d") for node in root.iter(f"{SVG}path") if node.get("fill") == colour][-3:]
    centres = [np.mean([list(map(float, p.split())) for p in d[1:-1].split("L")], axis=0) for d in shapes]
    top = float(max((n.text for n in root.iter(f"{SVG}text") if n.get("text-anchor") == "end"), key=number_or_0))
    shown = [(race_figures.BOTTOM - y) / (race_figures.BOTTOM - race_figures.TOP) * top for _, y in centres]
    np.testing.assert_allclose(shown, [100 * final("kd", 1, epoch) for epoch in range(3)], atol=0.05)


def number_or_0(text):
    return float(text) if re.fullmatch(r"[\d.]+", text) and float(text) <= 100 else 0.0


def test_outputs_of_a_race_are_renewed_when_it_is_over(monkeypatch, clock):
    sent = []
    monkeypatch.setattr("normkd_explore.widgets.still.display", lambda data, **options: sent.append((data, options)))
    race = RaceView(("ce", "kd"))
    race._ipython_display_()
    train_fake(race, fake_runs(), 0)
    race.finish()
    first, last = sent[:2], sent[-2:]
    assert [o["update"] for _, o in sent] == [False, False, True, True]
    assert [o["display_id"] for _, o in first] == [o["display_id"] for _, o in last]
    assert "(n = 1)" in last[1][0]["image/svg+xml"] and "(n = 1)" not in first[1][0]["image/svg+xml"]


def test_every_method_has_its_own_dash_and_marker_and_a_free_colour():
    strokes = method_strokes(["kd", "mine", "normkd", "yours"])
    for key in ("colour", "dasharray", "marker"):
        assert len({stroke[key] for stroke in strokes}) == 4
    assert len(method_strokes([f"m{i}" for i in range(20)])) == 20


def test_a_real_training_ends_with_the_numbers_of_its_run_folders(tmp_path):
    dataset, where, methods = toy_dataset(), toy_where(tmp_path), ("ce", "kd")
    race = RaceView(methods)
    race.begin(0)
    compare([toy_recipe(m) for m in methods], [tmp_path / m for m in methods], where, watch=race.watch, dataset=dataset)
    race.finish()
    lap = race._now
    for method in methods:
        records = [json.loads(line) for line in (tmp_path / method / "metrics.jsonl").read_text().splitlines()]
        np.testing.assert_allclose(lap["valid"][method], [100 * r["val"]["top1"] for r in records], atol=0.0051)
        mean = 100 * np.mean([record["train"]["top1"] for record in records])
        assert lap["train"][method][-1] == pytest.approx(mean, abs=0.0051), "fewer images than one mean is over"


def test_texts_and_label_places_in_javascript(tmp_path):
    answers = run_node(
        tmp_path,
        """
        import { duration } from "./race.js";
        import { spreadApart, tickStep } from "./racechart.js";
        console.log(JSON.stringify({
          texts: [0.4, 59.6, 200, 3599.9, 7530, NaN].map(duration),
          places: [[50, 52, 51], [100, 100], [0], []].map((list) => spreadApart(list, 10, 5, 100)),
          steps: [[100, 4], [57, 4], [3, 4], [1281167, 6]].map(([end, count]) => tickStep(end, count)),
        }));
        """,
    )
    assert answers["texts"] == ["0 s", "1 min 00 s", "3 min 20 s", "1 h 00 min", "2 h 06 min", "–"]
    assert answers["places"] == [[50, 70, 60], [90, 100], [5], []]
    assert answers["steps"] == [25, 20, 1, 250000]
