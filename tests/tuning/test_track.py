"""Races in lockstep: each student ends as it would have ended alone, whoever leaves."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from normkd_explore.training import train
from normkd_explore.training.material import gather
from normkd_explore.tuning.track import Track, small
from tests.helpers.toy import toy_dataset, toy_recipe, toy_where
from tests.helpers.watchers import quiet

RECIPE = toy_recipe("normkd", epochs=3)


def settings(**weights: float):
    return replace(RECIPE.settings, **weights)


@pytest.fixture
def track(tmp_path):
    return Track(RECIPE, gather([RECIPE], toy_where(tmp_path), toy_dataset()), images=10_000)


def test_a_race_gives_the_numbers_of_training_alone(track, tmp_path):
    chosen = [settings(kd_weight=3.0), settings(ce_weight=2.0)]
    found = [entry.top1 for entry in track.race(chosen, seed=5)]
    for top1, each in zip(found, chosen, strict=True):
        alone = replace(RECIPE, settings=each, seed=5)
        folder = tmp_path / f"{each.kd_weight}"
        train(alone, folder, toy_where(tmp_path), watch=quiet, dataset=toy_dataset())
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        import json

        assert top1 == [json.loads(line)["val"]["top1"] for line in lines]
    assert track.cost.asked == 3 * 56  # once for both students, in every epoch
    assert track.cost.images == 2 * 3 * 56


def test_whoever_is_stopped_or_diverges_changes_nothing_for_the_others(track):
    (alone,) = track.race([settings(ce_weight=2.0)], seed=1)
    three = [settings(kd_weight=9.0), settings(ce_weight=2.0), settings(kd_weight=1e30)]
    stopped, left, diverged = track.race(three, 1, lambda epoch, running: [e for e in running if e.number == 0])
    assert stopped.stopped and len(stopped.top1) == 1
    assert diverged.diverged and not diverged.top1
    assert left.top1 == alone.top1 and not left.stopped


def test_the_last_one_running_is_never_stopped(track):
    entries = track.race([settings(), settings(kd_weight=2.0)], 1, lambda epoch, running: list(running))
    assert sorted(len(entry.top1) for entry in entries) == [1, 3]


def test_a_warm_up_keeps_its_place_in_a_shorter_run(tmp_path):
    track = Track(RECIPE, gather([RECIPE], toy_where(tmp_path), toy_dataset()), 10_000, shortened=0.1)
    student = track._student(replace(RECIPE.settings, warmup_epochs=20), seed=3)
    assert student.recipe.settings.warmup_epochs == 2 and student.recipe.seed == 3


def test_logits_to_begin_with_are_the_teachers(track):
    logits_NC = track.logits()
    assert logits_NC.shape[1] == 5 and 0 < len(logits_NC) <= 56 and torch.isfinite(logits_NC).all()


def test_a_small_data_set_has_the_same_share_of_every_class():
    whole = toy_dataset()
    part = small(whole, 20)
    assert torch.bincount(part.train.labels_N).tolist() == [4, 3, 3, 3, 3]
    assert part.val is whole.val and part.test is whole.test and small(whole, 56) is whole
    assert math.isclose(len(small(whole, 30).train), 30, abs_tol=5)
