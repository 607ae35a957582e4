"""The answer of a search: who is chosen, and what is said of how sure that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from normkd_explore.methods import Settings
from normkd_explore.tuning.result import Final, Tuned
from normkd_explore.tuning.track import Cost


def tuned(*tops: list[float]) -> Tuned:
    names = ["published", "found 1", "found 2"]
    finals = [Final(names[i], {"t_norm": 1.0 + i}, 0.5, dict(enumerate(values, 1))) for i, values in enumerate(tops)]
    ends = {"t_norm": (0.5, 8.0)}
    return Tuned("p/a-b", "normkd", Settings(), finals, [], ends, Cost(), 5, 2400, 2500, "", Path("settings.yaml"))


def test_the_best_mean_on_fresh_seeds_is_chosen_and_the_published_stays_where_none_is_ahead():
    assert tuned([0.5, 0.6], [0.6, 0.7], [0.9, 0.1]).chosen.name == "found 1"
    assert tuned([0.5, 0.6], [0.6, 0.5]).chosen.name == "published"  # equal means
    stays = tuned([0.6, 0.6], [0.5, 0.5]).how_sure()
    assert stays.startswith("No setting was ahead of the published one on fresh seeds, so that one stays.")
    assert "2,500 held-out images is uncertain by 1.0 points" in stays  # sqrt(0.6 * 0.4 / 2500)


def test_what_is_said_follows_the_pairs():
    said = tuned([0.50, 0.52, 0.51], [0.52, 0.53, 0.54]).how_sure()
    assert "found 1 against published: +2.00 ± 1.00 points (mean, std of 3 paired seeds), ahead on 3 of 3" in said
    assert "sign-flip p = 0.25" in said and "a hint, not a proof: 3 pairs cannot give p below 0.25" in said
    six = tuned([0.5] * 6, [0.52, 0.53, 0.54, 0.52, 0.53, 0.54]).how_sure()
    assert "sign-flip p = 0.031. That is clear." in six


def test_one_seed_has_no_spread():
    one = tuned([0.5], [0.6])
    assert "+10.00 points" in one.how_sure() and one.finals[1].std is None
    assert one.as_json()["finals"][1]["difference_points"] == [pytest.approx(10.0)]
