"""The figures of notebook 01 show the numbers they were given."""

from __future__ import annotations

import math

import numpy as np
import pytest

from normkd_explore.analysis.statistics import logit_statistics
from normkd_explore.figures.statistics import (
    class_figure,
    confidence_figure,
    distribution_figure,
    entropy_figure,
    suited_figure,
)
from tests.helpers.drawn_logits import draw


def test_distributions_add_up_to_all_samples_in_common_bins():
    logits, labels = draw()
    stats = logit_statistics(logits, labels)
    figure = distribution_figure(stats.by_correctness(), ("std", "entropy"))
    assert [trace.name.split(" (")[0] for trace in figure.data] == ["right", "wrong"] * 2
    for trace in figure.data:
        assert sum(trace.y) == pytest.approx(100, abs=0.5)
    assert figure.data[0].x == figure.data[1].x
    assert figure.data[0].line.dash != figure.data[1].line.dash  # colour is not the only cue
    with pytest.raises(ValueError, match="wanted 1 to 4"):
        distribution_figure({})
    with pytest.raises(ValueError, match="nobody has no samples"):
        distribution_figure({"nobody": stats.select(np.zeros(len(stats), dtype=bool))})


def test_class_figure_sorts_the_medians_of_the_classes_that_are_there():
    logits, labels = draw()
    labels = np.where(labels == 2, 3, labels)
    figure = class_figure(logit_statistics(logits, labels), "abcdefg")
    medians = dict(zip(figure.data[1].text, figure.data[1].y, strict=True))
    assert figure.layout.xaxis.ticktext == figure.data[1].text
    assert list(medians.values()) == sorted(medians.values()) and "c" not in medians
    assert medians["d"] == pytest.approx(np.median(logits.std(axis=1, ddof=1)[labels == 3]), abs=1e-3)
    with pytest.raises(ValueError, match="no labels"):
        class_figure(logit_statistics(logits), "abcdefg")


def test_of_a_hundred_classes_as_many_are_named_as_can_be_read():
    rng = np.random.default_rng(0)
    names = [f"class {c}" for c in range(100)]
    stats = logit_statistics(rng.normal(size=(300, 100)), np.arange(300) % 100)
    figure = class_figure(stats, names)
    named, all_of_them = figure.layout.xaxis.ticktext, figure.data[1].text
    assert named == all_of_them[::13], "eight names of eight letters"
    assert all(all_of_them[place] == name for place, name in zip(figure.layout.xaxis.tickvals, named, strict=True))
    assert figure.layout.xaxis.title.text == "class, sorted (8 of 100 are named)"
    assert figure.layout.xaxis.tickfont.size is None, "the template's 12 px"


def test_confidence_figure_has_every_sample_once():
    logits, labels = draw()
    figure = confidence_figure(logit_statistics(logits, labels))
    assert [trace.name.split(" (")[0] for trace in figure.data] == ["right", "wrong"]
    assert sum(len(trace.x) for trace in figure.data) == 60
    assert figure.data[0].marker.symbol != figure.data[1].marker.symbol
    assert len(confidence_figure(logit_statistics(logits)).data[0].x) == 60


def test_entropy_and_temperature_figures_show_the_numbers_they_were_given():
    figure = entropy_figure({"KD, T = 4": np.arange(101) / 100, "NormKD": np.full(5, 0.7)}, num_classes=100)
    assert figure.data[0].x == (0.05, 0.95) and figure.data[1].x == (0.25, 0.75) and figure.data[2].x == (0.5,)
    assert figure.layout.shapes[0].x0 == pytest.approx(math.log(100), abs=1e-4)
    figure = suited_figure([1.0, 2.0, 3.0], [2.5, math.nan, 6.5], t_norm=2.0, common=4.0)
    assert figure.data[0].x == (1.0, 3.0) and figure.data[0].y == (2.5, 6.5)
    assert figure.data[1].y == (2.0, 6.0) and figure.data[2].y == (4.0, 4.0)
