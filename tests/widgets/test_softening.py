"""The Softening Explorer without a browser: its data, its state, its still figure, and its formulas in Node."""

import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from normkd_explore.analysis import effective_classes, methods_at, soften
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
        for name, entropy in (("classesT", truth.entropy_t_B), ("classesS", truth.entropy_s_B)):
            np.testing.assert_allclose([view[method][name] for view in views], np.exp(entropy), rtol=1e-9)
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
    explorer.state = {"T_norm": 1.5, "show": "gradients", "tie": False}
    expected = {**START, "sample": 3, "pinned": 1, "T": 8.0, "T_norm": 1.5, "show": "gradients", "tie": False}
    assert explorer.state == expected
    code, link = explorer.as_code(), explorer.link()
    explorer.state = {**START}
    exec(code, {"explorer": explorer})
    assert explorer.state == expected
    assert link == "explorer:sample=3,pinned=1,T=8,T_norm=1.5,tie=false,show=gradients"
    explorer.state = {**START, "sort": "std"}
    explorer.state = f"https://example.org/02.html#hero:T=3;{link}"
    assert explorer.state == expected, "a link is a whole view"
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
        ({"tie": "yes"}, "True, False"),
        ("explorer:T=99", r"number from 0\.5 to 20"),
        ("nothing", "holds no view, wanted something like"),
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


def test_picture_is_of_the_state_and_the_same_every_time(explorer):
    explorer.state = {"sample": 2, "pinned": 4, "T": 3}
    stored = str(explorer.still())
    assert len(stored) < 16_000
    assert stored == str(SofteningExplorer(*make_parts(), state=explorer.state).still())
    view = soften(explorer.logits_t_NC[[2]], explorer.logits_s_NC[[2]], methods_at(3.0)["kd"])
    assert f">{np.sort(view.probs_t_BC[0])[-1]:.3f}</text>" in stored
    assert f">A: class {explorer.labels[2]}, KD, T 3.00</text>" in stored
    assert repr(explorer) == "SofteningExplorer(5 samples, 7 classes)"


def test_medians_tie_the_sliders():
    rng = np.random.default_rng(5)
    reference = rng.normal(0, 4, (40, 7)) * rng.uniform(0.5, 2, (40, 1))
    explorer = SofteningExplorer(*make_parts(), reference=reference, state={"T_norm": 0.8})
    assert explorer.medians["samples"] == 40
    for key, classes in (("T", "kd"), ("T_norm", "normkd")):
        assert (np.diff(explorer.medians[key]) > 0).all() and (np.diff(explorer.medians[classes]) > 0).all()
    std_N = reference.std(axis=1, ddof=1)
    own = np.median(effective_classes(reference, 0.8 * std_N))
    assert np.median(effective_classes(reference, explorer.matched_t())) == pytest.approx(own, rel=0.03)


def test_the_page_ties_the_sliders_as_python_does(tmp_path, explorer):
    script = """
        import { createMedians } from "./medians.js";
        const m = createMedians(given.table);
        console.log(JSON.stringify(given.values.map((x) =>
          [m.matchT(x), m.normkd(x), m.kd(m.matchT(x)), m.matchTNorm(m.matchT(x))])));
    """
    values = [0.3, 0.8, 1.0, 2.0]
    found = np.array(run_node(tmp_path, script, {"table": explorer.medians, "values": values}))
    table = {key: np.log(explorer.medians[key]) for key in ("T", "kd", "T_norm", "normkd")}
    classes = np.interp(np.log(values), table["T_norm"], table["normkd"])
    inside = classes > table["kd"][0]
    np.testing.assert_allclose(found[:, 1], np.exp(classes), rtol=1e-9)
    expected = np.exp(np.interp(classes, table["kd"], table["T"]))
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(found[inside, 2], found[inside, 1], rtol=1e-6)
    np.testing.assert_allclose(found[inside, 3], np.array(values)[inside], rtol=1e-6)


def test_the_drawers_steps_are_pythons_numbers(tmp_path):
    rng = np.random.default_rng(2)
    logits_t, logits_s = rng.normal(0, 5, (3, 12)), rng.normal(0, 3, (3, 12))
    script = """
        import { lossSteps, predictionSteps } from "./arithmetic.js";
        import { soften } from "./formulas.js";
        const table = (steps) => Object.fromEntries(steps.map(
          ({ key, teacher, student, value }) => [key, value ?? [teacher, student]]));
        console.log(JSON.stringify(given.t.map((row, n) => ["raw", "kd", "normkd", "lskd"].map((method) => {
          const view = soften(row, given.s[n], method, given);
          return [table(lossSteps(row, given.s[n], view, 4)), table(predictionSteps(row, view.temperatureT, 4))];
        }))));
    """
    given = {"t": logits_t.tolist(), "s": logits_s.tolist(), "T": 3.0, "T_norm": 0.9}
    found = run_node(tmp_path, script, given)
    for n, method in itertools.product(range(3), ("raw", "kd", "normkd", "lskd")):
        loss, alone = found[n][("raw", "kd", "normkd", "lskd").index(method)]
        truth = soften(logits_t[[n]], logits_s[[n]], methods_at(3.0, 0.9)[method])
        T_t, T_s = truth.temperature_t_B[0], truth.temperature_s_B[0]
        p, q = truth.probs_t_BC[0], truth.probs_s_BC[0]
        powers_t, powers_s = np.exp(logits_t[n] / T_t), np.exp(logits_s[n] / T_s)
        expected = {
            "z": [logits_t[n, 4], logits_s[n, 4]],
            "T": [T_t, T_s],
            "scaled": [logits_t[n, 4] / T_t, logits_s[n, 4] / T_s],
            "exp": [powers_t[4], powers_s[4]],
            "sum": [powers_t.sum(), powers_s.sum()],
            "p": [p[4], q[4]],
            "term": p[4] * np.log(p[4] / q[4]),
            "kl": truth.kl_B[0],
            "weight": truth.weight_B[0],
            "loss": truth.loss_B[0],
        }
        assert loss.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(loss[key], value, rtol=1e-9, err_msg=f"{method} {key}")
        assert alone["term"] == pytest.approx(-p[4] * np.log(p[4]))
        assert alone["entropy"] == pytest.approx(truth.entropy_t_B[0])
        assert alone["classes"] == pytest.approx(np.exp(truth.entropy_t_B[0]))


def test_the_drawers_numbers_have_four_digits(tmp_path):
    script = 'import { significant } from "./drawer.js"; console.log(JSON.stringify(given.map(significant)));'
    told = run_node(tmp_path, script, [24.3141, 0.056021, -1.5, 4.36512e10, 3.2e-7, 0, 99999, 1e5, 12345.678])
    assert told == ["24.31", "0.05602", "−1.500", "4.365·10¹⁰", "3.200·10⁻⁷", "0", "99999", "1.000·10⁵", "12346"]


class Linear(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(8 * 8 * 3, 7))

    def forward(self, images_BCHW):
        return self.layers(images_BCHW)


def test_explore_shows_the_extremes_of_the_whole_split_among_evenly_spread_samples():
    images = torch.randint(0, 256, (20, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    teacher, student = Linear(0), Linear(1)
    pixels = (images.double() / 255 - 0.5) / 0.25
    weight, bias = teacher.layers[2].weight.double(), teacher.layers[2].bias.double()
    logits = (pixels.permute(0, 3, 1, 2).flatten(1) @ weight.T + bias).detach()
    labels = logits.argmax(dim=1)
    std = logits.std(dim=1)
    labels[std.argmax()] = (labels[std.argmax()] + 1) % 7  # a mistake is not chosen
    split = ArraySplit(images, labels)
    dataset = Dataset("noise", split, None, split, tuple(NAMES), (0.5,) * 3, (0.25,) * 3)
    explorer = explore(teacher, student, dataset, count=5, state={"sort": "std"})
    assert teacher.training and len(explorer.labels) == 5
    sure, unsure = int(std.argsort()[-2]), int(std.argmin())
    kept = [n for n in (0, 4, 9, 14, 19) if n not in (sure, unsure)]
    chosen = sorted([sure, unsure, *kept[:3]])
    np.testing.assert_allclose(explorer.logits_t_NC, logits[chosen], rtol=1e-4, atol=1e-5)
    assert explorer.state["sample"] == chosen.index(sure) and explorer.state["pinned"] == chosen.index(unsure)
    assert explorer.medians["samples"] == 20
    assert explorer.state["T"] == explorer.matched_t() and explorer.state["sort"] == "std"
    again = explore(teacher, student, dataset, count=5, state=explorer.link(), name="other")
    assert again.state == explorer.state and again.link().startswith("other:")
    with pytest.raises(ValueError, match=r"count.*0, wanted at least 1"):
        explore(teacher, student, dataset, count=0)
    with pytest.raises(ValueError, match="name is 'Two words'"):
        explore(teacher, student, dataset, count=5, name="Two words")
