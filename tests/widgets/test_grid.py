"""The method grid without a browser: what travels to the page, its state, its still figure, its texts in Node."""

import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from normkd_explore.analysis.grid import evaluate_grid
from normkd_explore.divergence import KL
from normkd_explore.figures.grid import brief, cosine_figure, curves_figure, grid_figure, shades, weights_figure
from normkd_explore.losses import DistillationLoss
from normkd_explore.methods import METHODS, Method, Settings, register
from normkd_explore.temperature import Std
from normkd_explore.widgets.method_grid import NUMBERS, MethodGrid
from tests.helpers.node import run_node
from tests.helpers.policies import Range

NAMES = [f"class {c}" for c in range(7)]


def make_parts(samples=5, classes=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 4, (samples, classes)), rng.normal(0, 2, (samples, classes)), rng.integers(0, classes, samples)


@pytest.fixture(scope="module")
def parts():
    return make_parts()


@pytest.fixture
def grid(parts):
    return MethodGrid(*parts, NAMES)


def test_the_page_receives_every_number_and_gradient_in_the_order_of_the_cells(grid, parts):
    truth = list(evaluate_grid(*parts).cells.values())
    numbers = np.frombuffer(grid._numbers, "<f8").reshape(len(truth), len(NUMBERS), 5)
    gradients = np.frombuffer(grid._gradients, "<f4").reshape(len(truth), 5, 7)
    for cell, rows, gradient in zip(truth, numbers, gradients, strict=True):
        np.testing.assert_array_equal(rows[NUMBERS.index("loss")], cell.loss_B)
        np.testing.assert_array_equal(rows[NUMBERS.index("temperature_s")], cell.temperature_s_B)
        np.testing.assert_allclose(gradient, cell.gradient_BC, rtol=1e-6)
    setup = grid._setup
    assert len(setup["methods"]) == len(setup["policies"]) * len(setup["divergences"]) == len(truth)
    assert setup["methods"][0] == "kd" and setup["tops"] == parts[0].argmax(axis=1).tolist()
    assert "weight = T²" in setup["policies"][0]["text"]


def test_state_starts_at_the_first_cell_and_takes_parts(grid):
    assert grid.state == {"policy": "Constant(4)", "divergence": "KL", "sample": 0, "quantity": "loss"}
    grid.state = {"policy": "Std(2)", "sample": np.int64(3)}
    assert grid.state == {"policy": "Std(2)", "divergence": "KL", "sample": 3, "quantity": "loss"}
    copy = {}
    exec(grid.as_code().replace("grid.state", "copy['state']"), {"copy": copy})
    assert copy["state"] == grid.state


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"policy": "Std"}, "wanted one of Constant"),
        ({"sample": 5}, "0 to 4"),
        ({"quantity": "speed"}, "cosine"),
        ({"row": 1}, "its keys are policy"),
    ],
)
def test_a_wrong_state_is_named(grid, state, words):
    before = grid.state
    with pytest.raises(ValueError, match=words):
        grid.state = state
    assert grid.state == before


def test_a_registered_method_brings_its_row_along(parts):
    known = dict(METHODS)
    try:
        guess = Settings({"share": 0.4}, published=False)
        register(Method("rangekd", "Range", lambda share: DistillationLoss(Range(share), KL()), guess))
        grid = MethodGrid(*parts, NAMES, state={"policy": "Range(0.4)"})
    finally:
        METHODS.clear()
        METHODS.update(known)
    row = [policy["name"] for policy in grid._setup["policies"]].index("Range(0.4)")
    assert grid._setup["methods"][row * len(grid._setup["divergences"])] == "rangekd"
    assert ">Range(0.4)</text>" in str(grid.still())


def test_two_classes_show_why_they_are_refused():
    t, s, y = make_parts(classes=2)
    grid = MethodGrid(t, s, y, NAMES[:2])
    place = list(grid.grid.cells).index(("Std(2)", "KL"))
    assert "at least 3" in grid._setup["problems"][place] and grid._setup["problems"][0] == ""
    json.dumps(grid._setup)  # no NaN travels as JSON
    picture = str(grid.still())
    assert ">refused</text>" in picture and "nan" not in picture.lower()


def test_wrong_names_and_large_batches_are_refused(parts):
    with pytest.raises(ValueError, match="class_names has 3 entries, wanted 7"):
        MethodGrid(*parts, NAMES[:3])
    with pytest.raises(ValueError, match="wanted at most"):
        MethodGrid(*make_parts(samples=900, classes=100), [str(c) for c in range(100)])


def test_without_a_kernel_the_table_remains(grid):
    picture = str(grid.still())
    count = len(grid.grid.divergences)
    assert repr(grid) == f"MethodGrid({len(grid.grid.policies)} policies, {count} divergences)"
    assert picture == str(grid.still())
    texts = [node.text for node in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]
    values = grid.grid.values("loss")
    row = texts.index("Std(2)")
    assert texts[row + 1 : row + 1 + count] == [brief(value) for value in values[1]]
    tints = re.findall(r'fill="#([0-9a-f]{6})"', picture)
    assert len(set(tints)) > 5, "darker is larger"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1234"), (12.34, "12.3"), (1.234, "1.23"), (-0.1234, "−0.123"), (4.2e-5, "4e−5"), (3e-9, "0")],
)
def test_numbers_are_short(value, text):
    assert brief(value) == text


def test_the_page_writes_the_same_numbers(tmp_path):
    rng = np.random.default_rng(0)
    values = [*(rng.normal(size=200) * 10.0 ** rng.uniform(-8, 4, 200)), 0.0]
    script = 'import { brief } from "./methodgrid.js"; console.log(JSON.stringify(given.map(brief)));'
    assert run_node(tmp_path, script, values) == [brief(value) for value in values]


def test_figures_show_the_tables_numbers(parts):
    table = evaluate_grid(*parts)
    heat = grid_figure(table, "cosine").data[0]
    assert list(heat.y)[:3] == ["Constant(4)", "Std(2)", "Std(2, constant)"] and set(heat.text[1]) == {"0"}
    dots = cosine_figure(table).data
    assert [trace.name for trace in dots] == list(table.divergences)
    np.testing.assert_allclose(dots[0].x, table.values("cosine")[:, 0], atol=6e-4)
    assert len({trace.marker.symbol for trace in dots}) == len(dots)  # colour is not the only cue
    assert shades([1.0, -0.1, 1e-9, np.nan])[:3] == pytest.approx([1, 2 / 3, 0])


def test_weights_figure_draws_ratio_and_square():
    std = np.array([1.0, 2.0, 4.0])
    figure = weights_figure(std, std**2 * 0.5, np.full(3, 0.5))
    assert list(figure.data[1].y) == [1, 4, 16] and figure.data[2].y[-1] == 16
    lines = curves_figure([1, 2], {"a": [0.1, 0.2], "b": [1, 2]}, ("x", "y"), log=True)
    assert lines.layout.yaxis.type == "log" and lines.data[0].line.dash != lines.data[1].line.dash


def test_std_of_the_row_is_the_policys():
    assert isinstance(MethodGrid(*make_parts(), NAMES).grid.policies["Std(2)"], Std)
