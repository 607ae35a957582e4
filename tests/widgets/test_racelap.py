"""What a race remembers: curves, epochs, speed and standings."""

import gc
import json
import weakref

import numpy as np
import pytest

from normkd_explore.figures.race import RaceLap, standings
from normkd_explore.training import Moment
from normkd_explore.widgets import RaceView
from normkd_explore.widgets import race as race_module
from normkd_explore.widgets.racelap import MOST_KNOTS, SMOOTH_IMAGES, RunningLap
from tests.helpers.race import Clock, fake_runs, final, train_fake


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
            places.append(seen[k])
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
    assert race._now["images"] == [1500, 3000] and race._now["ends"] == [1500, 3000]
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
    assert race._now["images"] == [640, 768] and race._now["total"] == 1920
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


def test_time_left_follows_the_recent_pace_evaluations_and_preparation():
    """Steps of 1 s for a minute, then of 3 s; 10 s of evaluation after an epoch, 7 s before the first step."""
    lap, runs, now = RunningLap(0, now=100.0), fake_runs(("ce",)), 100.0 + 7.0
    lap.count(Moment(0, 4, 1, 60, 64), runs, now := now + 1)
    for step in range(2, 61):
        lap.count(Moment(0, 4, step, 60, 64), runs, now := now + 1)
    now += 10
    for step in range(1, 31):
        lap.count(Moment(1, 4, step, 60, 64), runs, now := now + 3)
    told = lap.progress(laps_left=2)
    assert told["images_per_second"] == pytest.approx(64 / 3, rel=0.02)
    own = 150 * 3 + 3 * 10  # three more evaluations
    assert told["seconds_left"] == pytest.approx(own + 2 * (240 * 3 + 4 * 10 + 7), rel=0.02)


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
