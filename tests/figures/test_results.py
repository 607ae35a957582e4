"""The figures of notebook 05 show the numbers they were given."""

from __future__ import annotations

import numpy as np

from normkd_explore.analysis.paired import pair
from normkd_explore.figures.results import class_gains_figure, heatmap_figure, history_figure, map_figure, paired_figure
from normkd_explore.results import EpochRecord


def test_paired_figure_has_a_dot_a_seed_and_the_mean():
    figure = paired_figure([pair({"a": {0: 3.0, 1: 1.0}, "b": {0: 1.0, 1: 1.5}}, "a", "b")])
    assert figure.data[0].x == (2.0, -0.5) and figure.data[0].hovertext == ("seed 0", "seed 1")
    assert figure.data[1].x == (0.75,)


def test_history_figure_marks_best_and_last():
    curve = [EpochRecord("p", "kd", 0, epoch, 0.1, "test", top1) for epoch, top1 in ((2, 50.0), (1, 10.0), (3, 40.0))]
    figure = history_figure(curve, plateau_from=2)
    assert figure.data[0].y == (10.0, 50.0, 40.0)
    assert figure.data[1].x == (2, 3) and figure.data[1].y == (50.0, 40.0)
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (1.5, 3.5)


def test_class_gains_are_sorted_with_their_names():
    figure = class_gains_figure([-10.0, 30.0, 0.0], ["a", "b", "c"], "gain")
    assert figure.data[0].y == (30.0, 0.0, -10.0) and figure.data[0].hovertext == ("b", "c", "a")
    assert figure.layout.xaxis.ticktext == ("b", "c", "a")


def test_heatmaps_share_a_scale_and_maps_show_names():
    heat = heatmap_figure({"x": np.eye(3), "y": 2 * np.eye(3)}, ["a", "b", "c"], largest=2.0)
    assert heat.data[1].z[0].tolist() == [200, 0, 0]
    assert heat.layout.coloraxis.cmax == 200 and {trace.coloraxis for trace in heat.data} == {"coloraxis"}


def test_a_map_marks_every_sample_and_names_a_class_where_it_is_alone():
    points = [[0, 1], [2, 3], [4, 5], [9, 9], [2.5, 3]]
    marks, words = map_figure({"x": points}, ["a", "b", "a", "b", "a"]).data
    assert marks.y == (1.0, 3.0, 5.0, 9.0, 3.0) and marks.hovertext == ("a", "b", "a", "b", "a")
    assert marks.marker.color[0] == marks.marker.color[2] != marks.marker.color[1]
    assert marks.marker.symbol[0] != marks.marker.symbol[1], "colour is not the only cue"
    assert words.text == ("a", "b") and list(zip(words.x, words.y, strict=True)) == [(0.0, 1.0), (9.0, 9.0)]
    assert len(map_figure({"x": points}, ["a"] * 5).data[1].text) == 1
