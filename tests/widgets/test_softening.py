"""The Softening Explorer without a browser: its data, its state, its still figure, and its formulas in Node."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from normkd_explore.analysis import methods_at, soften
from normkd_explore.data import ArraySplit, Dataset
from normkd_explore.widgets import SofteningExplorer, explore
from normkd_explore.widgets.softening import CHOICES, START
from normkd_explore.widgets.sprite import make_sprite
from tests.helpers.node import run_node

NAMES = [f"class {c}" for c in range(7)]


def make_parts(samples=5, classes=7, seed=0):
    rng = np.random.default_rng(seed)
    logits_t, logits_s = rng.normal(0, 4, (samples, classes)), rng.normal(0, 2, (samples, classes))
    images = rng.integers(0, 256, (samples, 8, 8, 3), dtype=np.uint8)
    return logits_t, logits_s, images, rng.integers(0, classes, samples), [f"class {c}" for c in range(classes)]


@pytest.fixture
def explorer():
    return SofteningExplorer(*make_parts())


def node_soften(tmp_path, logits_t, logits_s, settings):
    """Run formulas.js on every row and method."""
    script = """
        import { soften } from "./formulas.js";
        const [t, s, settings] = given;
        const lists = (view) => Object.fromEntries(Object.entries(view).map(
          ([key, value]) => [key, typeof value === "number" ? value : Array.from(value)]));
        console.log(JSON.stringify(t.map((row, n) => Object.fromEntries(["raw", "kd", "normkd", "lskd"].map(
          (method) => [method, lists(soften(Float64Array.from(row), Float64Array.from(s[n]), method, settings))])))));
    """
    return run_node(tmp_path, script, [logits_t.tolist(), logits_s.tolist(), settings])


FIELDS = {
    "temperatureT": "temperature_t_B",
    "temperatureS": "temperature_s_B",
    "weight": "weight_B",
    "stdT": "std_t_B",
    "stdS": "std_s_B",
    "probsT": "probs_t_BC",
    "probsS": "probs_s_BC",
    "entropyT": "entropy_t_B",
    "entropyS": "entropy_s_B",
    "kl": "kl_B",
    "loss": "loss_B",
    "gradient": "gradient_BC",
}


@pytest.mark.parametrize(("T", "T_norm", "size"), [(4.0, 2.0, 3), (0.5, 0.1, 8), (20.0, 5.0, 30), (1.3, 0.75, 0.01)])
def test_javascript_formulas_equal_python(tmp_path, T, T_norm, size):
    rng = np.random.default_rng(1)
    logits_t, logits_s = rng.normal(0, size, (4, 100)), rng.normal(0, size / 2, (4, 100))
    logits_t[1], logits_s[2] = 3.0, -1.5  # equal logits: std 0
    logits_t[3, 0] = 60.0  # a very sure teacher
    views = node_soften(tmp_path, logits_t, logits_s, {"T": T, "T_norm": T_norm})
    for method, policy in methods_at(T, T_norm).items():
        truth = soften(logits_t, logits_s, policy)
        for name, field in FIELDS.items():
            ours = np.array([view[method][name] for view in views])
            np.testing.assert_allclose(ours, getattr(truth, field), rtol=1e-9, atol=1e-10, err_msg=f"{method} {name}")
        lengths = np.linalg.norm(truth.gradient_BC, axis=1)
        np.testing.assert_allclose([view[method]["gradientNorm"] for view in views], lengths, rtol=1e-9, atol=1e-10)


def test_browser_receives_float32_rows_and_the_pictures():
    logits_t, logits_s, images, labels, names = make_parts()
    explorer = SofteningExplorer(torch.tensor(logits_t), torch.tensor(logits_s), torch.tensor(images), labels, names)
    np.testing.assert_array_equal(np.frombuffer(explorer._logits_t, "<f4").reshape(5, 7), logits_t.astype(np.float32))
    np.testing.assert_array_equal(np.frombuffer(explorer._logits_s, "<f4").reshape(5, 7), logits_s.astype(np.float32))
    sheet = np.asarray(Image.open(io.BytesIO(explorer._sprite)))
    assert explorer._setup["columns"] == 3
    np.testing.assert_array_equal(sheet[8:16, 0:8], images[3])


def test_wide_grey_pictures_become_square_tiles():
    images = np.full((2, 100, 200, 1), 200, np.uint8)
    sprite, columns = make_sprite(images)
    sheet = np.asarray(Image.open(io.BytesIO(sprite)))
    assert columns == 2 and sheet.shape == (96, 192, 3)
    assert sheet[48, 48].tolist() == [200] * 3 and sheet[2, 48].tolist() == [0] * 3


def test_state_is_completed_checked_and_written_as_code(explorer):
    assert explorer.state == START
    explorer.state = {"sample": 3, "pinned": 1, "T": 8}
    explorer.state = {"T_norm": 1.5, "show": "gradients"}
    expected = {**START, "sample": 3, "pinned": 1, "T": 8.0, "T_norm": 1.5, "show": "gradients"}
    assert explorer.state == expected
    code = explorer.as_code()
    explorer.state = {**START}
    exec(code, {"explorer": explorer})
    assert explorer.state == expected
    explorer.state = {"pinned": None}
    assert '"pinned": None' in explorer.as_code() and explorer.state["pinned"] is None


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"sample": 5}, r"sample.*is 5, wanted a position from 0 to 4"),
        ({"sample": -1}, "position"),
        ({"pinned": 1.5}, "position"),
        ({"T": 50}, r"number from 0\.5 to 20"),
        ({"T": float("nan")}, "number"),
        ({"T_norm": "2"}, "number"),
        ({"sort": "size"}, ", ".join(CHOICES["sort"])),
        ({"tau": 2}, "state has no tau; its keys are sample"),
    ],
)
def test_a_wrong_state_is_refused_and_changes_nothing(explorer, state, message):
    with pytest.raises(ValueError, match=message):
        explorer.state = state
    assert explorer.state == START


@pytest.mark.parametrize(
    ("position", "value", "error", "message"),
    [
        (0, np.full((5, 7), np.nan), ValueError, "NaN"),
        (1, np.zeros((5, 6)), ValueError, "same shape"),
        (2, np.zeros((5, 8, 8, 3)), TypeError, "uint8"),
        (2, np.zeros((5, 3, 8, 8), np.uint8), ValueError, "channels last"),
        (2, np.zeros((4, 8, 8, 3), np.uint8), ValueError, "images has 4 entries, wanted 5"),
        (3, np.array([0, 1, 2, 3]), ValueError, "labels has 4 entries"),
        (3, np.array([0, 1, 2, 3, 7]), ValueError, "from 0 to 6"),
        (4, ["a", "b"], ValueError, "class_names has 2 entries, wanted 7"),
    ],
)
def test_parts_that_do_not_fit_are_refused(position, value, error, message):
    parts = list(make_parts())
    parts[position] = value
    with pytest.raises(error, match=message):
        SofteningExplorer(*parts)


def test_stored_output_has_a_fixed_text_and_the_rounded_figure(explorer):
    explorer.state = {"sample": 2, "pinned": 4, "T": 3}
    data, _ = explorer._repr_mimebundle_()
    assert data["text/plain"] == "SofteningExplorer(5 samples, 7 classes)"
    assert "application/vnd.jupyter.widget-view+json" in data
    stored = json.dumps(data["application/vnd.plotly.v1+json"])
    assert len(stored) < 12_000 and "bdata" not in stored
    figure = json.loads(stored)
    raw_a = soften(explorer.logits_t_NC[[2]], explorer.logits_s_NC[[2]], methods_at()["raw"]).probs_t_BC[0]
    np.testing.assert_allclose(figure["data"][0]["x"], np.sort(raw_a)[::-1], atol=5.1e-5)
    again, _ = SofteningExplorer(*make_parts(), state=explorer.state)._repr_mimebundle_()
    assert json.dumps(again["application/vnd.plotly.v1+json"]) == stored


class Linear(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(8 * 8 * 3, 7))

    def forward(self, images_BCHW):
        return self.layers(images_BCHW)


def test_explore_runs_both_models_on_evenly_spaced_test_samples():
    images = torch.randint(0, 256, (20, 8, 8, 3), dtype=torch.uint8)
    split = ArraySplit(images, torch.arange(20) % 7)
    dataset = Dataset("noise", split, None, split, tuple(NAMES), (0.5,) * 3, (0.25,) * 3)
    teacher, student = Linear(0), Linear(1)
    explorer = explore(teacher, student, dataset, count=5, state={"T": 6})
    assert teacher.training and explorer.labels == [0, 4, 2, 0, 5]
    pixels = (images[[0, 4, 9, 14, 19]].double() / 255 - 0.5) / 0.25
    weight, bias = teacher.layers[2].weight.double(), teacher.layers[2].bias.double()
    expected = pixels.permute(0, 3, 1, 2).flatten(1) @ weight.T + bias
    np.testing.assert_allclose(explorer.logits_t_NC, expected.detach(), rtol=1e-4, atol=1e-5)
    std = explorer.logits_t_NC.std(axis=1)
    assert explorer.state["sample"] == std.argmax() and explorer.state["pinned"] == std.argmin()
    assert explorer.state["T"] == 6.0
    with pytest.raises(ValueError, match=r"count.*0, wanted at least 1"):
        explore(teacher, student, dataset, count=0)
