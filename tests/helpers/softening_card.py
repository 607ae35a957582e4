"""The Softening Explorer on a page: its sliders moved, its numbers held against Python."""

import re

import numpy as np
import pytest

from normkd_explore.analysis import methods_at, soften
from tests.helpers.painted import settle

SETUP = """
import numpy as np
from normkd_explore.widgets import SofteningExplorer
rng = np.random.default_rng(3)
labels = rng.integers(0, 100, 24)
base = rng.normal(size=(24, 100)) + 4 * np.eye(100)[labels]
explorer = SofteningExplorer(
    base * np.exp(rng.normal(1, 0.5, (24, 1))), 2 * base + rng.normal(size=(24, 100)),
    rng.integers(0, 256, (24, 16, 16, 3), dtype=np.uint8), labels, [f"class {c}" for c in range(100)],
)
"""


def number(text):
    return float(text.replace("−", "-"))


def shown_numbers(view, card):
    """Texts of one card's table: {"kd.kl": "0.1234", ...}."""
    cells = view.locator(f".nk-card-{card} [data-value]")
    return cells.evaluate_all("nodes => Object.fromEntries(nodes.map(n => [n.dataset.value, n.textContent]))")


def python_numbers(explorer, n, T, T_norm):
    numbers = {}
    for method, policy in methods_at(T, T_norm).items():
        one = soften(explorer.logits_t_NC[[n]], explorer.logits_s_NC[[n]], policy)
        numbers |= {
            f"{method}.temperatureT": one.temperature_t_B[0],
            f"{method}.temperatureS": one.temperature_s_B[0],
            f"{method}.classesT": np.exp(one.entropy_t_B[0]),
            f"{method}.classesS": np.exp(one.entropy_s_B[0]),
            f"{method}.kl": one.kl_B[0],
            f"{method}.weight": one.weight_B[0],
            f"{method}.loss": one.loss_B[0],
            f"{method}.gradientNorm": np.linalg.norm(one.gradient_BC),
            f"{method}.gradientAlongLogits": one.gradient_BC[0] @ explorer.logits_s_NC[n],
        }
    return numbers


def assert_card(view, card, explorer, n, T, T_norm):
    """Every number of the table, and every bar's length and text, is what Python computes."""
    settle(view)
    shown, truth = shown_numbers(view, card), python_numbers(explorer, n, T, T_norm)
    assert shown.keys() == truth.keys()
    for name, text in shown.items():
        digits = len(text.partition(".")[2]) if "e" not in text else 0
        allowed = 0.51 * 10.0**-digits if "e" not in text else 0.06 * abs(truth[name])
        assert number(text) == pytest.approx(truth[name], abs=allowed), name
    assert_bars(view, card, explorer, n, T, T_norm)


def assert_bars(view, card, explorer, n, T, T_norm):
    """Every bar of the short chart is as long, and labelled, as Python says."""
    names = view.locator(f".nk-card-{card} .nk-name").all_text_contents()
    classes = [int(name.removeprefix("class ")) for name in names]
    columns = [column for column in view.locator(f".nk-card-{card} .nk-column").all() if column.is_visible()]
    methods = [column.locator("header b").text_content().lower() for column in columns]
    assert methods in (["raw", "kd", "normkd"], ["kd", "normkd"])
    for column, method in zip(columns, methods, strict=True):
        one = soften(explorer.logits_t_NC[[n]], explorer.logits_s_NC[[n]], methods_at(T, T_norm)[method])
        end = number(column.locator(".nk-axis span").last.text_content())
        for who, probs_BC in (("teacher", one.probs_t_BC), ("student", one.probs_s_BC)):
            path = column.locator(f".nk-bars-{who}").get_attribute("d")
            lengths = np.array([float(width) for width in re.findall(r"h([\d.]+)v", path)])
            np.testing.assert_allclose(lengths * end, probs_BC[0, classes], atol=6e-6 * end)
        values = [number(text) for text in column.locator("pre").text_content().split("\n")]
        np.testing.assert_allclose(values, one.probs_t_BC[0, classes], rtol=0.51, atol=5.1e-4)


def untie(view):
    """Let each slider move alone."""
    view.locator("input[data-key=tie]").uncheck()


def slider(view, key):
    return view.locator(f"input[type=range][data-key={key}]")


def drag(view, key, share):
    """Press the slider's thumb, move it in small steps, and leave the button down."""
    slider(view, key).scroll_into_view_if_needed()
    box = slider(view, key).bounding_box()
    low, high, now = (float(slider(view, key).evaluate(f"n => n.{name}")) for name in ("min", "max", "value"))
    y = box["y"] + box["height"] / 2
    # A thumb of 16 pixels: its middle never reaches the ends.
    at = lambda part: box["x"] + 8 + part * (box["width"] - 16)  # noqa: E731
    view.mouse.move(at((now - low) / (high - low)), y)
    view.mouse.down()
    view.mouse.move(at(share), y, steps=25)
    return float(slider(view, key).input_value())
