"""Figures show the numbers they were given, in both themes' colours, and sheets show the pictures."""

from __future__ import annotations

import numpy as np
import pytest

from normkd_explore.figures import picture_sheet, results_figure, softness_figure


def test_softness_figure_has_one_dot_a_sample_and_method_over_the_band():
    std = np.array([3.0, 1.0, 2.0])
    figure = softness_figure(std, {"kd": [30.0, 90.0, 60.0], "normkd": [50.0, 54.0, 52.0]}, num_classes=100)
    assert [trace.name.split(",")[0] for trace in figure.data] == ["KD", "NormKD"]
    assert list(figure.data[0].x) == [1.0, 2.0, 3.0] and list(figure.data[0].y) == [90.0, 60.0, 30.0]
    assert figure.data[0].marker.symbol != figure.data[1].marker.symbol  # colour is not the only cue
    assert (figure.layout.shapes[0].y0, figure.layout.shapes[0].y1) == (35, 65)


def test_results_figure_states_mean_std_and_n():
    figure = results_figure({"ce": [10.0, 14.0], "kd": [20.0]}, "top-1 (%)")
    names = [trace.name for trace in figure.data if trace.mode == "markers"]
    assert names == ["ce: 12.0 ± 2.8 (n = 2)", "kd: 20.0 (n = 1)"]
    assert list(figure.data[0].x) == pytest.approx([12 - 8**0.5, 12 + 8**0.5], abs=0.01)


def test_picture_sheet_shows_every_picture_where_it_belongs():
    images = np.zeros((3, 8, 8, 3), dtype=np.uint8)
    images[0], images[1], images[2] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    sheet = picture_sheet(images, ["α", "β", "γ"], columns=2, side=10).convert("RGB")
    assert sheet.getpixel((10, 10)) == (255, 0, 0)
    assert sheet.getpixel((27, 10)) == (0, 255, 0)
    assert sheet.getpixel((10, 42)) == (0, 0, 255)
    with pytest.raises(ValueError, match="zip"):
        picture_sheet(images, ["α"], columns=2)
