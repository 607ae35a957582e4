"""The race widget: small messages, stored output, its figure, and a real training."""

import json
import re

import numpy as np
import pytest

from normkd_explore.figures.race import method_strokes, race_figure
from normkd_explore.training import compare
from normkd_explore.widgets import RaceView
from tests.helpers.node import run_node
from tests.helpers.race import fake_runs, final, train_fake
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where


def test_an_update_is_one_small_message(clock, monkeypatch):
    race, sent = RaceView(("ce", "kd", "normkd"), seeds=2), []
    train_fake(race, fake_runs(("ce", "kd", "normkd")), 0)
    race.finish()
    monkeypatch.setattr(race, "send_state", lambda key=None: sent.append(set(key)))
    train_fake(race, fake_runs(("ce", "kd", "normkd")), 1, epochs=1, sizes=(64,) * 5)
    assert sent[1:] == [{"_now", "_status"}] * 5, "the past is sent when a seed begins only"


def test_stored_output_before_training_is_a_fixed_text_and_an_empty_frame():
    stored = [RaceView(seeds=2)._repr_mimebundle_()[0] for _ in range(2)]
    assert stored[0]["text/plain"] == "RaceView(ce, kd, normkd; 2 seeds)"
    assert "application/vnd.jupyter.widget-view+json" in stored[0]
    figures = [json.dumps(data["application/vnd.plotly.v1+json"]) for data in stored]
    assert figures[0] == figures[1] and len(figures[0]) < 6000
    figure = json.loads(figures[0])
    assert [trace["name"] for trace in figure["data"] if trace["showlegend"]] == ["ce", "kd", "normkd"]
    assert figure["layout"]["yaxis"]["range"] == [0, 100]


def test_figure_shows_both_seeds_and_the_means(clock):
    race = RaceView(("ce", "kd"), seeds=2)
    for seed in (0, 1):
        train_fake(race, fake_runs(), seed, split="test")
    figure = race.figure()
    mean = np.mean([100 * final("kd", seed, 2) for seed in (0, 1)])
    kd = [trace for trace in figure.data if trace.legendgroup == "kd"]
    assert [trace.mode for trace in kd] == ["lines", "markers"] * 2
    assert kd[0].name.startswith("kd, ") and float(re.search(r"[\d.]+", kd[0].name)[0]) == pytest.approx(
        mean, abs=0.011
    )
    assert [trace.showlegend for trace in kd] == [False, False, True, False]
    assert kd[0].opacity < kd[2].opacity == 1
    np.testing.assert_allclose(kd[3].y, [100 * final("kd", 1, epoch) for epoch in range(3)], atol=0.0051)
    assert kd[3].x == (160, 320, 480) and "test" in figure.layout.yaxis.title.text
    assert "bdata" not in json.dumps(figure.to_plotly_json())


def test_every_method_has_its_own_dash_and_marker_and_a_free_colour():
    strokes = method_strokes(["kd", "mine", "normkd", "yours"])
    for key in ("colour", "dash", "marker"):
        assert len({stroke[key] for stroke in strokes}) == 4
    assert len(method_strokes([f"m{i}" for i in range(20)])) == 20
    assert race_figure(["mine"], []).data[0].line.color == method_strokes(["mine"])[0]["colour"]


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
