"""Figures of when the standard deviation suits: their numbers against numpy, on rows whose answers are known."""

import numpy as np
import pytest

from normkd_explore.figures.suitability import (
    predicted_and_suited,
    price_figure,
    price_table,
    regime_figure,
    wrong_figure,
    wrong_shares,
)

RNG = np.random.default_rng(0)


def rows_of_one_shape(samples=40, classes=30):
    """The same row at many scales: every temperature is proportional to std, so the prediction is exact."""
    shape_C = RNG.normal(size=classes)
    return np.linspace(0.5, 9, samples)[:, None] * shape_C[None, :]


def softmax(z_NC):
    p_NC = np.exp(z_NC - z_NC.max(axis=1, keepdims=True))
    return p_NC / p_NC.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("t_norm", [2.0, 0.5])
def test_of_one_shape_the_std_predicts_the_suited_temperature_exactly(t_norm):
    z_NC = rows_of_one_shape()
    predicted_N, suited_N, r = predicted_and_suited(z_NC, t_norm)
    np.testing.assert_allclose(predicted_N, t_norm * z_NC.std(axis=1, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(suited_N, predicted_N, rtol=1e-6)
    assert r == pytest.approx(1)


def test_of_many_shapes_it_predicts_better_where_targets_are_soft():
    z_NC = RNG.uniform(1, 9, (200, 1)) * RNG.standard_t(4, (200, 50))
    soft, sharp = (predicted_and_suited(z_NC, t_norm)[2] for t_norm in (2.0, 0.25))
    assert soft > 0.9 > sharp
    entropies = lambda T_N: -(softmax(z_NC / T_N[:, None]) * np.log(softmax(z_NC / T_N[:, None]))).sum(axis=1)  # noqa: E731
    _, suited_N, _ = predicted_and_suited(z_NC, 2.0)
    assert np.ptp(entropies(suited_N)) < 1e-9
    figure = regime_figure(z_NC, (2.0, 0.25), most=50)
    assert [note.text for note in figure.layout.annotations] == [
        f"T_norm = 2: r = {soft:.2f}",
        f"T_norm = 0.25: r = {sharp:.2f}",
    ]
    assert len(figure.data[0].x) == 50


def test_price_is_what_numpy_says():
    z_NC = RNG.uniform(1, 9, (100, 1)) * RNG.normal(size=(100, 20))
    found = price_table(z_NC, (0.5, 2.0))
    for k, t_norm in enumerate((0.5, 2.0)):
        p_NC = softmax(z_NC / (t_norm * z_NC.std(axis=1, ddof=1, keepdims=True)))
        classes_N = np.exp(-(p_NC * np.log(p_NC)).sum(axis=1))
        np.testing.assert_allclose(found["classes"][:, k], np.quantile(classes_N, [0.05, 0.5, 0.95]), rtol=1e-9)
        np.testing.assert_allclose(
            found["top"][:, k], np.quantile(100 * p_NC.max(axis=1), [0.05, 0.5, 0.95]), rtol=1e-9
        )
    assert (np.diff(found["classes"][1]) > 0).all() and (np.diff(found["top"][1]) < 0).all()
    medians = {trace.name: trace.y[-1] for trace in price_figure(z_NC, (0.5, 2.0)).data if trace.name}
    assert medians["effective classes"] == pytest.approx(found["classes"][1, 1], abs=0.01)


def test_shares_of_wrong_answers():
    std_N, correct_N = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, True, False])
    shares = wrong_shares(std_N, correct_N)
    assert shares == pytest.approx({"samples": 50, "weights": 100 * 17 / 30, "ratio": 17 / 13})
    assert list(wrong_figure(std_N, correct_N).data[0].x) == [50.0, pytest.approx(56.67)]
