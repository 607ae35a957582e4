"""The answers explorer without a browser: the page's arithmetic in Node, its state, its still figure."""

import numpy as np
import pytest
import torch

from normkd_explore.figures.blackbox import drift_figure
from normkd_explore.widgets.answers import PLOTLY_MIME, AnswersExplorer
from tests.helpers.node import run_node


def make_explorer(pictures=6, classes=12, scale=4.0, **state):
    logits = scale * torch.randn(pictures, classes, generator=torch.Generator().manual_seed(3))
    names = [f"class {c}" for c in range(classes)]
    return AnswersExplorer(logits, np.zeros((pictures, 8, 8, 3), np.uint8), [0] * pictures, names, state)


SCRIPT = """
import { seen } from "./answersmath.js";
const found = given.states.map((state) => given.logits.map((row) => seen(row, state, given.scores)));
console.log(JSON.stringify(found));
"""


def test_the_page_computes_what_python_computes(tmp_path):
    explorer = make_explorer()
    states = [
        {"digits": digits, "kept": kept, "remedy": remedy}
        for digits in (None, 1, 3, 8)
        for kept in (1, 2, 5, 12)
        for remedy in ("epsilon", "floor", "fit")
    ]
    scores = explorer._setup["scores"]
    told = run_node(tmp_path, SCRIPT, {"states": states, "logits": explorer.logits_NC.tolist(), "scores": scores})
    for state, rows in zip(states, told, strict=True):
        explorer.state = state
        true_N, visible_N = explorer.temperatures()
        np.testing.assert_allclose([row["true"] for row in rows], true_N, rtol=1e-9)
        np.testing.assert_allclose(
            [row["visible"] for row in rows], visible_N, rtol=1e-7, atol=1e-7, err_msg=f"{state}"
        )
        recovered = explorer.recovered()
        for row, z in zip(rows, recovered, strict=True):
            wanted = torch.softmax(z / (2 * z.std()).clamp_min(1e-9), dim=0)
            np.testing.assert_allclose(row["v"], wanted, rtol=1e-6, atol=1e-7, err_msg=f"{state}")


def test_full_answers_give_the_temperature_and_fewer_digits_lose_it():
    exact = make_explorer(digits=None)
    true_N, visible_N = exact.temperatures()
    np.testing.assert_allclose(true_N, visible_N, rtol=1e-9)
    apart = []
    for digits in (8, 4, 2, 1):
        exact.state = {"digits": digits, "remedy": "epsilon"}
        true_N, visible_N = exact.temperatures()
        apart.append((visible_N / true_N - 1).abs().mean().item())
    assert apart[0] < 0.02 and max(apart) > 0.1


def test_state_has_a_start_and_takes_parts():
    explorer = make_explorer()
    assert explorer.state == {"sample": 0, "digits": 3, "kept": 12, "remedy": "epsilon"}
    explorer.state = {"sample": np.int64(3), "digits": None}
    assert explorer.state["sample"] == 3 and explorer.state["digits"] is None and explorer.state["kept"] == 12
    box = {}
    exec(explorer.as_code().replace("explorer.state", "box['state']"), {"box": box})
    assert box["state"] == explorer.state


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"sample": 6}, "0 to 5"),
        ({"digits": 9}, "1 to 8"),
        ({"kept": 0}, "1 to 12"),
        ({"remedy": "pray"}, "epsilon, floor, fit"),
        ({"digit": 1}, "its keys are sample, digits, kept, remedy"),
    ],
)
def test_a_wrong_state_is_named(state, words):
    with pytest.raises(ValueError, match=words):
        make_explorer().state = state


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"logits": torch.zeros(6)}, r"wanted \(N, C\)"),
        ({"logits": torch.full((6, 12), float("nan"))}, "NaN or infinity"),
        ({"labels": [12] * 6}, "from 0 to 11"),
        ({"class_names": ["a"]}, "class_names has 1 entries, wanted 12"),
    ],
)
def test_parts_that_do_not_fit_are_named(change, words):
    parts = {"logits": torch.zeros(6, 12), "images": np.zeros((6, 8, 8, 3), np.uint8), "labels": [0] * 6}
    with pytest.raises(ValueError, match=words):
        AnswersExplorer(**{**parts, "class_names": [str(c) for c in range(12)], **change})


def test_without_a_kernel_the_answer_remains():
    explorer = make_explorer()
    data, _ = explorer._repr_mimebundle_()
    assert data["text/plain"] == "AnswersExplorer(6 pictures, 12 classes)"
    first, _, second, _ = data[PLOTLY_MIME]["data"]
    assert sum(first["y"]) == pytest.approx(1, abs=1e-3) and sum(second["y"]) == pytest.approx(1, abs=1e-3)
    assert first["y"] == sorted(first["y"], reverse=True)


def test_drift_is_drawn_with_a_line_at_one():
    figure = drift_figure({"epsilon": {"2": 0.5, "3": 0.7}, "fit": {"2": 0.9, "3": 0.8}}, "digits")
    assert [trace.name for trace in figure.data] == ["epsilon", "fit"] and list(figure.data[0].y) == [0.5, 0.7]
    assert figure.layout.shapes[0].y0 == 1
