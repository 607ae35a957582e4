"""The race without a browser: what it measures of faked and of real training, its still figure, its JavaScript."""

import gc
import json
import re
import shutil
import subprocess
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from normkd_explore.figures.race import RaceLap, method_strokes, race_figure, standings
from normkd_explore.training import Moment, Run, compare
from normkd_explore.widgets import RaceView
from normkd_explore.widgets import race as race_module
from normkd_explore.widgets.bundle import FOLDER
from normkd_explore.widgets.race import MODULES
from normkd_explore.widgets.racelap import MOST_KNOTS, SMOOTH_IMAGES, RunningLap
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where


class FakeLearner:
    """Stands in for a Learner: `right` answers of `images` seen in this epoch."""

    def __init__(self, device="cpu"):
        self.totals = SimpleNamespace(device=SimpleNamespace(type=device))
        self.history, self.right, self.images, self.reads = [], 0, 0, 0

    def read_totals(self):
        assert self.totals.device.type == "cpu", "reading the totals makes a GPU's host wait"
        self.reads += 1
        return {"top1": self.right / max(self.images, 1)}

    def finish_epoch(self, top1, split="val"):
        self.history.append({"train": {"top1": self.right / max(self.images, 1)}, split: {"top1": top1}})
        self.right = self.images = 0


def fake_runs(methods=("ce", "kd"), device="cpu"):
    return [Run(method, FakeLearner(device)) for method in methods]


def final(method, seed, epoch):
    """The held-out top-1 that a faked epoch ends with."""
    return 0.1 + 0.2 * (epoch + 1) / (epoch + 2) + 0.01 * len(method) + 0.001 * seed


def train_fake(race, runs, seed, epochs=3, sizes=(64, 64, 32), split="val", after_step=lambda epoch, step: None):
    """Go through the calls that `fit` makes; returns the right answers of every step, {method: [...]}."""
    rng = np.random.default_rng(seed)
    right = {run.name: [] for run in runs}
    race.begin(seed)
    for epoch in range(epochs):
        for step, size in enumerate(sizes):
            for run in runs:
                right[run.name].append(int(rng.integers(0, size + 1)))
                run.learner.right += right[run.name][-1]
                run.learner.images += size
            race.watch(Moment(epoch, epochs, step + 1, len(sizes), size), runs)
            after_step(epoch, step)
        for run in runs:
            run.learner.finish_epoch(final(run.name, seed, epoch), split)
    return right


class Clock:
    """time.perf_counter under the test's control: moves on by `tick` seconds at each look."""

    def __init__(self, tick):
        self.now, self.tick = 100.0, tick

    def perf_counter(self):
        self.now += self.tick
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """A clock on which every step takes one second, so that every step is measured."""
    clock = Clock(1.0)
    monkeypatch.setattr(race_module, "time", clock)
    return clock


def test_a_training_point_is_the_mean_over_the_last_images(clock):
    race, runs, sizes = RaceView(("ce", "kd")), fake_runs(), (100, 300, 260, 40)
    right = train_fake(race, runs, 0, epochs=4, sizes=sizes)
    race.finish()
    seen = np.cumsum(sizes * 4)
    assert race._now["ends"] == seen[3::4].tolist() and race._now["total"] == seen[-1]
    for method in ("ce", "kd"):
        places, curve = [], []
        for k in range(len(seen)):
            first = k
            while first > 0 and seen[k] - (seen[first - 1]) < SMOOTH_IMAGES:
                first -= 1
            images = (sizes * 4)[first : k + 1]
            curve.append(100 * sum(right[method][first : k + 1]) / sum(images))
            places.append(seen[k] - sum(images) / 2)
        np.testing.assert_allclose(race._now["train"][method], curve, atol=0.0051)
        np.testing.assert_allclose(race._now["images"], places, atol=0.51)


def test_long_training_keeps_few_knots_and_exact_means(clock):
    lap, runs, steps = RunningLap(0), fake_runs(("ce",)), 3000
    rng = np.random.default_rng(0)
    right = rng.integers(0, 65, steps)
    for step in range(steps):
        runs[0].learner.right += int(right[step])
        runs[0].learner.images += 64
        lap.count(Moment(0, 1, step + 1, steps, 64), runs, float(step))
        lap.measure()
    assert len(lap.knots) <= MOST_KNOTS and lap.knots[0] == 0 and lap.knots[-1] == 64 * steps
    sums = np.concatenate([[0], np.cumsum(right)])
    np.testing.assert_allclose(lap.right["ce"], sums[np.array(lap.knots) // 64], rtol=1e-12)
    assert len(json.dumps(lap.snapshot().train)) < 3000


def test_sums_are_read_a_few_times_a_second_and_at_the_end_of_an_epoch(monkeypatch):
    clock = Clock(1 / 128)  # exact in binary: an update every 32 steps
    monkeypatch.setattr(race_module, "time", clock)
    race, runs = RaceView(("ce",)), fake_runs(("ce",))
    train_fake(race, runs, 0, epochs=1, sizes=(64,) * 101)
    assert runs[0].learner.reads == len([1, 33, 65, 97, 101])


def test_on_a_gpu_the_curve_comes_from_the_history_alone(clock):
    race, runs = RaceView(("ce", "kd")), fake_runs(device="cuda")
    right = train_fake(race, runs, 0, epochs=2, sizes=(600, 600, 300))
    assert race._now["ends"] == [1500], "before `finish` the last epoch is not known"
    race.finish()
    assert race._now["images"] == [750, 2250] and race._now["ends"] == [1500, 3000]
    for method, counts in right.items():
        means = [100 * sum(counts[:3]) / 1500, 100 * sum(counts[3:]) / 1500]
        np.testing.assert_allclose(race._now["train"][method], means, atol=0.0051)
        truth = [100 * final(method, 0, epoch) for epoch in range(2)]
        np.testing.assert_allclose(race._now["valid"][method], truth, atol=0.0051)


def test_a_resumed_training_keeps_the_epochs_of_its_history(clock):
    race, runs = RaceView(("ce",)), fake_runs(("ce",))
    learner = runs[0].learner
    learner.history.append({"train": {"top1": 0.25}, "val": {"top1": 0.3}})
    learner.right, learner.images = 64, 2 * 64  # one step was done before the interruption, one after
    race.begin(4)
    race.watch(Moment(1, 3, 2, 10, 64), runs)
    assert race._now["ends"] == [640] and race._now["valid"] == {"ce": [30.0]}
    assert race._now["images"] == [320, 384] and race._now["total"] == 1920
    assert race._now["train"]["ce"] == [25.0, round(100 * (160 + 64) / 768, 2)]


def test_progress_tells_speed_and_time_left_of_the_whole_race(clock):
    race, runs = RaceView(("ce",), seeds=3), fake_runs(("ce",))
    notes = {}
    train_fake(race, runs, 8, epochs=2, sizes=(64,) * 10, after_step=lambda e, s: notes.update({(e, s): race._status}))
    assert notes[0, 0]["progress"]["seconds_left"] is None and notes[0, 0]["phase"] == "training"
    progress = notes[1, 4]["progress"]
    assert (progress["seed"], progress["lap"], progress["laps"]) == (8, 1, 3)
    assert (progress["epoch"], progress["epochs"], progress["step"], progress["steps"]) == (2, 2, 5, 10)
    assert progress["images_per_second"] == 64.0 and progress["share"] == 0.75
    assert progress["seconds_left"] == 5 + 2 * 20  # five steps of this seed, two more seeds of twenty


def test_leaderboard_counts_complete_seeds_and_sorts_by_the_mean_at_the_end(clock):
    race = RaceView(("ce", "kd", "normkd"), seeds=2)
    train_fake(race, fake_runs(("kd", "ce")), 0)
    race.begin(1)
    board = {row["method"]: row for row in race._status["board"]}
    assert race._status["by"] == "last" and board["kd"]["last"] is None and board["kd"]["n"] == 1
    assert board["normkd"] == {"method": "normkd", "last": None, "mean": None, "n": 0}
    train_fake(race, fake_runs(("kd", "ce")), 1)
    race.finish()
    board = {row["method"]: row for row in race._status["board"]}
    assert race._status["phase"] == "finished" and race._status["by"] == "mean"
    for method in ("ce", "kd"):
        finals = [100 * final(method, seed, 2) for seed in (0, 1)]
        assert board[method]["last"] == pytest.approx(finals[1], abs=0.0051)
        assert board[method]["mean"] == pytest.approx(np.mean(finals), abs=0.011) and board[method]["n"] == 2


def test_standings_put_the_best_first_and_the_unmeasured_last():
    first = RaceLap(0, epochs=1, ends=[10], valid={"a": [50.0], "b": [40.0]})
    second = RaceLap(1, epochs=2, ends=[10], valid={"a": [0.0], "b": [20.0]})
    assert [row.method for row in standings(["c", "a", "b"], [first, second])] == ["b", "a", "c"]
    by_mean = standings(["c", "a", "b"], [first, second], by="mean")
    assert [(row.method, row.mean, row.n) for row in by_mean] == [("a", 50.0, 1), ("b", 40.0, 1), ("c", None, 0)]


def test_a_seed_begun_again_starts_anew_with_those_after_it(clock):
    race = RaceView(("ce", "kd"), seeds=3)
    for seed in (5, 6, 7):
        train_fake(race, fake_runs(), seed)
    assert [lap["seed"] for lap in race._past] == [5, 6] and race._now["seed"] == 7
    race.begin(6)
    assert [lap["seed"] for lap in race._past] == [5] and race._now["seed"] == 6 and race._now["ends"] == []
    race.finish()
    assert race._past == [] and race._now["seed"] == 5 and race._status["phase"] == "stopped"


def test_what_does_not_belong_to_the_race_is_refused(clock):
    race, moment = RaceView(("ce", "kd")), Moment(0, 2, 1, 3, 64)
    with pytest.raises(ValueError, match=r"Call race\.begin"):
        race.watch(moment, fake_runs())
    race.begin(0)
    with pytest.raises(ValueError, match="found the run 'dkd', wanted only ce, kd"):
        race.watch(moment, fake_runs(("ce", "dkd")))
    race.watch(moment, fake_runs())
    with pytest.raises(ValueError, match=r"race\.begin\(seed\) before each"):
        race.watch(moment, fake_runs())


@pytest.mark.parametrize(
    ("methods", "seeds", "message"),
    [((), 1, "methods"), ("kd", 1, "methods"), (("a", "a"), 1, "methods"), (("a",), 0, "seeds is 0")],
)
def test_a_race_without_methods_or_seeds_is_refused(methods, seeds, message):
    with pytest.raises(ValueError, match=message):
        RaceView(methods, seeds)


def test_students_are_let_go_when_a_seed_is_over(clock):
    race, runs = RaceView(("ce", "kd")), fake_runs()
    train_fake(race, runs, 0)
    learner = weakref.ref(runs[0].learner)
    race.finish()
    del runs
    gc.collect()
    assert learner() is None


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


def node(tmp_path, script):
    path = shutil.which("node")
    if path is None:
        pytest.skip("no node on PATH; the browser test looks at the same drawing")
    for name in (*MODULES, "race"):
        (tmp_path / f"{name}.js").write_text((FOLDER / f"{name}.js").read_text())
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "all.js").write_text(RaceView._esm)
    (tmp_path / "run.js").write_text(script)
    done = subprocess.run([path, "run.js"], cwd=tmp_path, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_texts_and_label_places_in_javascript(tmp_path):
    answers = node(
        tmp_path,
        """
        import "./all.js";
        import { duration } from "./race.js";
        import { spread, tickStep } from "./racechart.js";
        console.log(JSON.stringify({
          texts: [0.4, 59.6, 200, 3599.9, 7530, NaN].map(duration),
          places: [[50, 52, 51], [100, 100], [0], []].map((list) => spread(list, 10, 5, 100)),
          steps: [[100, 4], [57, 4], [3, 4], [1281167, 6]].map(([end, count]) => tickStep(end, count)),
        }));
        """,
    )
    assert answers["texts"] == ["0 s", "1 min 00 s", "3 min 20 s", "1 h 00 min", "2 h 06 min", "–"]
    assert answers["places"] == [[50, 70, 60], [90, 100], [5], []]
    assert answers["steps"] == [25, 20, 1, 250000]
    declared = re.findall(r"^(?:export )?(?:function|const|let) (\w+)", RaceView._esm, re.MULTILINE)
    assert len(declared) == len(set(declared))
