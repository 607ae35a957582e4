"""What `normkd stats` finds out about logits, and its warnings."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from normkd_explore.analysis.examine import examine, format_examination, looks_like_probabilities, lskd_scale
from normkd_explore.analysis.statistics import softened_entropy
from normkd_explore.analysis.suited_temperature import normkd_temperature, top_bound
from tests.helpers.drawn_logits import draw


def test_examination_repeats_the_statistics_and_can_be_written_as_json():
    logits, labels = draw(samples=101)
    result = json.loads(json.dumps(examine(logits, labels, temperature=3.0, t_norm=1.5)))
    T = normkd_temperature(logits, 1.5)
    assert result["normkd"]["temperature"]["50%"] == pytest.approx(np.median(T))
    assert result["normkd"]["mean_weight"] == pytest.approx(np.mean(T**2))
    assert result["normkd"]["off_share"] == pytest.approx(np.mean((3 / T > 1.5) | (T / 3 > 1.5)))
    assert result["measures"]["std"]["95%"] == pytest.approx(np.quantile(logits.std(axis=1, ddof=1), 0.95))
    assert result["top1"] == np.mean(logits.argmax(axis=1) == labels)
    common = result["normkd"]["kd_temperature_of_equal_entropy"]
    assert np.median(softened_entropy(logits, common)) == pytest.approx(np.median(softened_entropy(logits, T)))
    t_norm = result["normkd"]["t_norm_of_kd_temperature"]
    assert np.median(normkd_temperature(logits, t_norm)) == pytest.approx(3.0)
    assert result["normkd"]["kd_weight_of_lskd_scale"] * np.mean(T**2) == pytest.approx(9.0 * 2.0**2)
    assert lskd_scale() == 36.0
    assert not result["probabilities"]


def test_calibration_error_is_the_sum_over_fifteen_bins():
    logits, labels = draw(samples=200)
    confidence = softmax(logits).max(axis=1)
    right = logits.argmax(axis=1) == labels
    expected = 0.0
    for k in range(15):
        inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert examine(logits, labels)["ece"] == pytest.approx(expected)


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    "change, starts",
    [
        (lambda z: softmax(z), ["these look like probabilities"]),
        (lambda z: softmax(z).astype(np.float16), ["these look like probabilities"]),
        (lambda z: np.log(softmax(z)), ["these look like log-probabilities"]),
        (lambda z: np.where(np.arange(60)[:, None] < 4, 1.0, z), ["constant rows: 4."]),
        (lambda z: np.where(np.arange(60)[:, None] < 4, np.nan, z), ["not finite"]),
        (lambda z: z[:, :2], ["two classes"]),
        (lambda z: z * 1e-3, ["flat: KD"]),
        (lambda z: z * 1e4, ["saturated: KD"]),
        (lambda z: z, []),
    ],
)
def test_each_trouble_has_its_warning_and_no_other(change, starts):
    logits, labels = draw(classes=7)
    result = examine(change(logits), labels % 2, t_norm=1.0)
    found = result["warnings"]
    assert [text.startswith(start) for text, start in zip(found, starts, strict=True)] == [True] * len(starts), found
    text = format_examination("x", result)
    assert text.count("warning: ") == len(starts)
    assert "nan" not in text.replace("NaN", "")


@pytest.mark.parametrize("factor", [1e-3, 1e4])
def test_flat_and_saturated_name_the_share_of_an_even_spread(factor):
    result = examine(factor * draw(classes=7)[0], t_norm=1.0)
    share = 100 * result["kd"]["entropy"]["50%"] / np.log(7)
    assert f"leaves the median sample {share:.1f} % of an even spread's entropy" in result["warnings"][0]


def test_few_classes_are_named_with_what_is_left_of_certainty():
    (text,) = examine(draw(classes=7)[0], t_norm=2.0)["warnings"]
    assert text.startswith("few classes") and f"{100 * top_bound(7, 2.0):.0f} %" in text


def test_only_constant_rows_have_no_normkd_part():
    result = examine(np.ones((3, 5)))
    assert result["normkd"] is None and "constant rows: 3." in result["warnings"][0]
    assert "NormKD T_norm" not in format_examination("x", result)


def test_nothing_finite_is_an_error():
    with pytest.raises(ValueError, match="none of the 2 rows is finite"):
        examine(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match=r"labels have shape \(3,\), wanted \(2,\)"):
        examine(np.eye(2, 3), [0, 1, 2])


def test_probabilities_are_told_from_logits():
    logits, _ = draw()
    assert looks_like_probabilities(torch.from_numpy(softmax(logits)))
    assert not looks_like_probabilities(torch.from_numpy(logits))
    assert not looks_like_probabilities(torch.tensor([[0.2, 0.3, 0.5], [0.5, 0.5, 0.5]]))


def test_examining_imports_neither_pandas_nor_plotly():
    code = "import sys, normkd_explore.analysis.examine; print({'pandas', 'plotly', 'IPython'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
