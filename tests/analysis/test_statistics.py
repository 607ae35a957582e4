"""Logit statistics, suited temperatures, files of logits and the examination, against numpy and first principles."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from normkd_explore.analysis import model_logits, pictures
from normkd_explore.analysis.examine import examine, format_examination, looks_like_probabilities, lskd_scale
from normkd_explore.analysis.logit_files import load_logits
from normkd_explore.analysis.statistics import MEASURES, logit_statistics, softened_entropy
from normkd_explore.analysis.suited_temperature import (
    common_temperature,
    normkd_temperature,
    share_off,
    suited_temperature,
    top_bound,
)
from normkd_explore.data import load_dataset
from normkd_explore.exercises import check
from normkd_explore.figures.statistics import (
    class_figure,
    confidence_figure,
    distribution_figure,
    entropy_figure,
    suited_figure,
)
from normkd_explore.temperature import Std
from normkd_explore.training import get_preset, load_example_student, load_teacher

few = settings(deadline=None, max_examples=25)


def draw(seed: int = 0, samples: int = 60, classes: int = 7, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.5, 1.0, (samples, classes)) * rng.uniform(0.3, 1, (samples, 1)) * scale
    return logits, rng.integers(0, classes, samples)


def entropy_of(row: np.ndarray) -> float:
    """From the definition, one row, in plain Python."""
    powers = [math.exp(z - max(row)) for z in row]
    return -sum(p / sum(powers) * math.log(p / sum(powers)) for p in powers)


# --- statistics ------------------------------------------------------------------------------------------------


def test_each_measure_is_its_definition():
    logits, labels = draw()
    stats = logit_statistics(logits, labels)
    np.testing.assert_allclose(stats.mean_N, logits.mean(axis=1))
    np.testing.assert_allclose(stats.std_N, logits.std(axis=1, ddof=1))
    np.testing.assert_allclose(stats.max_N, logits.max(axis=1))
    np.testing.assert_allclose(stats.entropy_N, [entropy_of(row) for row in logits])
    powers = np.exp(logits)
    np.testing.assert_allclose(stats.confidence_N, powers.max(axis=1) / powers.sum(axis=1))
    assert list(stats.correct_N) == [row.argmax() == label for row, label in zip(logits, labels, strict=True)]


@few
@given(st.integers(0, 10_000), st.floats(-50, 50), st.floats(0.1, 20))
def test_a_shift_moves_mean_and_max_alone_and_a_factor_scales_std(seed, shift, factor):
    logits, _ = draw(seed, samples=5)
    before, after, scaled = (logit_statistics(z) for z in (logits, logits + shift, factor * logits))
    np.testing.assert_allclose(after.mean_N, before.mean_N + shift, atol=1e-9)
    np.testing.assert_allclose(after.max_N, before.max_N + shift, atol=1e-9)
    for name in ("std", "entropy", "confidence"):
        np.testing.assert_allclose(after.measure(name), before.measure(name), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scaled.std_N, factor * before.std_N, rtol=1e-9)
    np.testing.assert_allclose(softened_entropy(factor * logits, factor), before.entropy_N, rtol=1e-8, atol=1e-12)


def test_extreme_rows_have_their_limits():
    stats = logit_statistics([[1e4, 0.0, 0.0], [2.0, 2.0, 2.0]])
    np.testing.assert_allclose(stats.entropy_N, [0.0, math.log(3)], atol=1e-12)
    assert stats.std_N[1] == 0 and stats.std_N[0] > 5000


def test_half_precision_and_whole_numbers_are_read_too():
    logits = torch.tensor([[1, 2, 4], [0, -3, 1]])
    for dtype in (torch.int64, torch.float16, torch.bfloat16):
        np.testing.assert_allclose(logit_statistics(logits.to(dtype)).mean_N, [7 / 3, -2 / 3])


def test_frame_and_groups_hold_the_same_numbers():
    logits, labels = draw()
    stats = logit_statistics(logits, labels)
    frame = stats.frame(class_names="abcdefg")
    assert list(frame.columns) == [*MEASURES, "predicted", "label", "correct"]
    assert frame.loc[3, "label"] == "abcdefg"[labels[3]] and frame.loc[3, "std"] == stats.std_N[3]
    groups = stats.by_correctness()
    assert len(groups["right"]) + len(groups["wrong"]) == len(stats)
    assert groups["right"].correct_N.all() and not groups["wrong"].correct_N.any()
    perfect = logit_statistics(logits, logits.argmax(axis=1))
    assert list(perfect.by_correctness()) == ["right"]
    assert "label" not in logit_statistics(logits).frame().columns


@pytest.mark.parametrize(
    "logits, labels, text",
    [
        ([1.0, 2.0], None, "unsqueeze"),
        ([[1.0, math.nan, 0.0]], None, "NaN"),
        ([[1.0, 2.0, 0.0]], [3], "labels from 3 to 3"),
        ([[1.0, 2.0, 0.0]], [0, 1], "one class index for each row"),
    ],
)
def test_bad_logits_or_labels_are_explained(logits, labels, text):
    with pytest.raises(ValueError, match=text):
        logit_statistics(logits, labels)


def test_what_needs_labels_says_so():
    stats = logit_statistics([[1.0, 2.0, 0.0]])
    with pytest.raises(ValueError, match="true class"):
        stats.by_correctness()
    with pytest.raises(ValueError, match="wanted one of mean, std"):
        stats.measure("median")
    with pytest.raises(TypeError, match="int64"):
        logit_statistics([[1.0, 2.0, 0.0]], [0.5])


# --- temperatures ----------------------------------------------------------------------------------------------


def test_normkd_temperature_is_the_policys():
    logits, _ = draw()
    tensor = torch.from_numpy(logits)
    np.testing.assert_allclose(normkd_temperature(logits, 1.5), Std(1.5)(tensor, tensor).T_t.squeeze(1).numpy())
    assert np.isnan(normkd_temperature([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]])).tolist() == [True, False]
    with pytest.raises(ValueError, match="at least 3"):
        normkd_temperature([[1.0, 2.0]])


@few
@given(st.integers(0, 10_000), st.floats(0.05, 0.98), st.floats(1e-3, 1e3))
def test_suited_temperature_gives_the_wanted_entropy_at_any_scale(seed, share, factor):
    logits, _ = draw(seed, samples=8)
    wanted = share * math.log(7)
    suited = suited_temperature(factor * logits, wanted)
    np.testing.assert_allclose(softened_entropy(factor * logits, suited), wanted, rtol=1e-8)
    np.testing.assert_allclose(suited, factor * suited_temperature(logits, wanted), rtol=1e-8)


def test_suited_temperature_inverts_softened_entropy():
    logits, _ = draw(samples=1)
    entropy = softened_entropy(logits, 2.75).item()
    assert suited_temperature(logits, entropy).item() == pytest.approx(2.75, rel=1e-9)


def test_rows_that_cannot_have_the_entropy_have_no_temperature():
    logits = [[1.0, 1.0, 1.0], [5.0, 5.0, 0.0], [5.0, 1.0, 0.0]]
    suited = suited_temperature(logits, 0.5)  # two equal favourites never fall below log 2 = 0.69
    assert np.isnan(suited).tolist() == [True, True, False]
    assert common_temperature(logits, 0.5) == suited[2]
    with pytest.raises(ValueError, match="no sample"):
        common_temperature(logits[:2], 0.5)
    for outside in (0.0, math.log(3), -1.0, math.nan):
        with pytest.raises(ValueError, match="wanted a value between 0"):
            suited_temperature(logits, outside)


def test_common_temperature_gives_the_median_sample_the_entropy():
    logits, _ = draw(samples=61)
    T = common_temperature(logits, 1.2)
    assert np.median(softened_entropy(logits, T)) == pytest.approx(1.2, rel=1e-9)


def test_temperatures_of_soft_targets_follow_the_standard_deviation():
    """log C - H = var / (2 T²) to second order (population variance), so equal entropy means T in proportion to std."""
    logits, _ = draw(samples=30)
    gap = 1e-6
    expected = logits.std(axis=1) / math.sqrt(2 * gap)
    np.testing.assert_allclose(suited_temperature(logits, math.log(7) - gap), expected, rtol=5e-3)


def test_share_off_counts_both_directions():
    suited = np.array([1.0, 2.0, 4.0, 8.0, math.nan])
    assert share_off(4.0, suited) == 0.75
    assert share_off(4.0, suited, factor=2.5) == 0.25
    assert math.isnan(share_off(4.0, suited[4:]))


@few
@given(st.integers(0, 10_000), st.integers(3, 30), st.floats(0.2, 5))
def test_no_row_is_surer_than_the_bound_and_one_hot_rows_reach_it(seed, classes, t_norm):
    logits = np.random.default_rng(seed).standard_cauchy((20, classes))
    logits[0] = 0.0
    logits[0, 1] = 1.0
    soft = logits / normkd_temperature(logits, t_norm)[:, None]
    top = np.exp(soft.max(axis=1)) / np.exp(soft).sum(axis=1)
    bound = top_bound(classes, t_norm)
    assert (top <= bound * (1 + 1e-9)).all()
    assert top[0] == pytest.approx(bound, rel=1e-9)


@pytest.mark.parametrize(
    "temperature, text", [([1.0, 2.0], "one a sample"), ([-1.0] * 60, "above 0"), (0.0, "above 0")]
)
def test_bad_temperatures_are_explained(temperature, text):
    with pytest.raises(ValueError, match=text):
        softened_entropy(draw()[0], temperature)


# --- files -----------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path) -> Path:
    """The same logits and labels in every format."""
    logits, labels = (torch.from_numpy(values) for values in draw(samples=6, classes=4))
    torch.save(logits, tmp_path / "alone.pt")
    torch.save({"logits": logits, "labels": labels, "epoch": 3}, tmp_path / "both.pth")
    save_file({"logits": logits, "labels": labels}, tmp_path / "both.safetensors")
    np.save(tmp_path / "alone.npy", logits.numpy().astype(">f8"))  # as a big-endian machine writes it
    np.savez(tmp_path / "both.npz", logits=logits.numpy(), y=labels.numpy())
    np.save(tmp_path / "labels.npy", labels.numpy())
    rows = [",".join(map(repr, row)) for row in logits.tolist()]
    (tmp_path / "alone.csv").write_text("\n".join(rows) + "\n")
    with_labels = [f"{label},{row}" for label, row in zip(labels.tolist(), rows, strict=True)]
    (tmp_path / "both.csv").write_text("\n".join(["label,a,b,c,d", *with_labels]))
    return tmp_path


@pytest.mark.parametrize("name", ["both.pth", "both.safetensors", "both.npz", "both.csv"])
def test_files_with_labels_are_read(saved, name):
    logits, labels = draw(samples=6, classes=4)
    found = load_logits(saved / name)
    np.testing.assert_array_equal(found.logits_NC, logits)
    np.testing.assert_array_equal(found.labels_N, labels)
    assert found.logits_NC.dtype == torch.float64 and found.labels_N.dtype == torch.int64


@pytest.mark.parametrize("name", ["alone.pt", "alone.npy", "alone.csv"])
def test_labels_may_come_from_a_second_file(saved, name):
    assert load_logits(saved / name).labels_N is None
    logits, labels = draw(samples=6, classes=4)
    found = load_logits(saved / name, saved / "labels.npy")
    np.testing.assert_array_equal(found.logits_NC, logits)
    np.testing.assert_array_equal(found.labels_N, labels)


class Harmful:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_file_runs_code(tmp_path):
    trace = tmp_path / "trace"
    torch.save({"logits": Harmful(trace)}, tmp_path / "a.pt")
    np.save(tmp_path / "b.npy", np.array([Harmful(trace)], dtype=object), allow_pickle=True)
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Harmful(trace)))
    np.savez(tmp_path / "d.npz", logits=np.array([Harmful(trace)], dtype=object))
    for name in ("a.pt", "b.npy", "c.npy", "d.npz"):
        with pytest.raises(ValueError, match="can run any program"):
            load_logits(tmp_path / name)
    assert not trace.exists()


@pytest.mark.parametrize(
    "name, content, text",
    [
        ("x.txt", "1,2", "ends in '.txt'"),
        ("x.csv", "1,2,3\n4,5\n", r"rows of \[2, 3\] values"),
        ("x.csv", "a,b\n", "no rows of numbers"),
        ("x.csv", "1,2\n3,four\n", "'four' in data row 2"),
        ("x.csv", "1\n2\n", "Labels belong in --labels"),
        ("x.csv", "label,a,b\n0.5,1,2\n", "fractions or NaN"),
        ("x.pt", "not a pickle", "truncated or corrupt|can run any program"),
        ("x.npz", "PK not a zip", "truncated or corrupt|plain numeric"),
        ("x.safetensors", "short", "truncated or corrupt"),
    ],
)
def test_bad_files_are_explained(tmp_path, name, content, text):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=text):
        load_logits(tmp_path / name)


def test_wrong_names_shapes_and_places_are_explained(saved):
    with pytest.raises(FileNotFoundError, match=r"both\.npz"):
        load_logits(saved / "missing.npz")
    np.savez(saved / "odd.npz", first=np.zeros((2, 3)), second=np.zeros(2))
    with pytest.raises(ValueError, match=r"first \(2, 3\), second \(2,\), wanted an array called 'logits'"):
        load_logits(saved / "odd.npz")
    np.save(saved / "five.npy", np.zeros(5))
    with pytest.raises(ValueError, match=r"\(5,\), wanted \(6,\)"):
        load_logits(saved / "alone.npy", saved / "five.npy")
    np.save(saved / "words.npy", np.array([["a", "b"]]))
    with pytest.raises(ValueError, match="plain numbers"):
        load_logits(saved / "words.npy")


def test_missing_values_are_read_as_they_are(tmp_path):
    (tmp_path / "x.csv").write_text("1,nan,3\n4,5,inf\n")
    assert torch.isfinite(load_logits(tmp_path / "x.csv").logits_NC).tolist() == [
        [True, False, True],
        [True, True, False],
    ]


# --- examination -----------------------------------------------------------------------------------------------


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


# --- figures ---------------------------------------------------------------------------------------------------


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
    medians = dict(zip(figure.data[1].x, figure.data[1].y, strict=True))
    assert list(medians.values()) == sorted(medians.values()) and "c" not in medians
    assert medians["d"] == pytest.approx(np.median(logits.std(axis=1, ddof=1)[labels == 3]), abs=1e-3)
    with pytest.raises(ValueError, match="no labels"):
        class_figure(logit_statistics(logits), "abcdefg")


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


# --- exercises -------------------------------------------------------------------------------------------------


def said(capsys, name: str, answer: object) -> str:
    check(name, answer)
    return capsys.readouterr().out


def test_right_answers_are_what_the_library_computes(capsys):
    logits, _ = draw()
    before, after = logit_statistics(logits), logit_statistics(logits + 5)
    moved = {m for m in ("mean", "std", "max", "entropy") if not np.allclose(before.measure(m), after.measure(m))}
    assert said(capsys, "01-shift", moved).startswith("Right")
    assert said(capsys, "01-bound", top_bound(10, 2.0)).startswith("Right")
    target = softened_entropy(logits[:1], 3.0).item()
    assert said(capsys, "01-scale", suited_temperature(2 * logits[:1], target).item()).startswith("Right")
    agreement = {}
    for t_norm in (0.5, 2.0):
        T = normkd_temperature(logits, t_norm)
        suited = suited_temperature(logits, float(np.median(softened_entropy(logits, T))))
        kept = ~np.isnan(suited)
        agreement[t_norm] = np.corrcoef(T[kept], suited[kept])[0, 1]
    answer = "lower" if agreement[0.5] < agreement[2.0] else "higher"
    assert said(capsys, "01-regime", answer).startswith("Right")


def test_right_answers_about_the_shipped_models_are_what_they_do(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("NORMKD_CACHE", str(tmp_path))
    recipe = get_preset("glyphs/resnet20-resnet8")
    dataset = load_dataset("glyphs", train_size=100, val_size=100, test_size=200)
    images = pictures(dataset.test, torch.arange(200))
    teacher, student = load_teacher(recipe.teacher, dataset, None), load_example_student(recipe, dataset)
    of = {
        name: logit_statistics(model_logits(model, dataset, images), dataset.test.labels_N)
        for name, model in (("teacher", teacher), ("student", student))
    }
    assert said(capsys, "01-models", max(of, key=lambda name: np.median(of[name].std_N))).startswith("Right")
    groups = of["student"].by_correctness()
    difference = "smaller" if np.median(groups["wrong"].std_N) < np.median(groups["right"].std_N) else "larger"
    assert said(capsys, "01-wrong", difference).startswith("Right")


@pytest.mark.parametrize(
    "name, answer, hint",
    [
        ("01-shift", {"mean"}, "another one"),
        ("01-shift", {"mean", "max", "std"}, "moves along"),
        ("01-shift", ["entropy"], "cancels"),
        ("01-shift", 5, "set of names"),
        ("01-models", "student", "longer"),
        ("01-models", 1, '"teacher" or "student"'),
        ("01-wrong", "larger", "stand out"),
        ("01-wrong", True, '"smaller" or "larger"'),
        ("01-scale", 3, "twice as far"),
        ("01-scale", 1.5, "larger divisor"),
        ("01-bound", 0.99, "√10"),
        ("01-bound", top_bound(10, 1.0), "T_norm = 1"),
        ("01-regime", "higher", "Compute it"),
        ("01-regime", 0, '"higher" or "lower"'),
    ],
)
def test_mistakes_get_their_hint(capsys, name, answer, hint):
    assert hint in said(capsys, name, answer)
