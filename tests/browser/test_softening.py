"""The Softening Explorer in real JupyterLab: sliders dragged, keys pressed, and every number held against Python."""

import re

import numpy as np
import pytest

from normkd_explore.analysis import methods_at, soften
from normkd_explore.widgets.softening import START
from tests.helpers.painted import settle
from tests.helpers.softening_card import SETUP, assert_card, drag, number, shown_numbers, slider, untie

pytest_plugins = ["tests.helpers.browser"]
SHOW = "explorer"
ASK = "print(explorer.as_code())"
RESTART = f"explorer.state = {START!r}; print('restarted')"
MOVE = "explorer.state = {'sample': 7, 'T': 9, 'T_norm': 0.5}; print('moved')"


@pytest.fixture
def explorer():
    """The same explorer in this process: what Python computes."""
    names = {}
    exec(SETUP, names)
    return names["explorer"]


@pytest.fixture(scope="module")
def opened(lab, module_page):
    """A notebook that shows the explorer, and the list of frames sent to the server."""
    sent = []
    module_page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))))
    lab.open(module_page, "explorer.ipynb", [SETUP, SHOW, ASK, RESTART, MOVE])
    module_page.get_by_text("moved", exact=True).wait_for(timeout=60_000)
    return module_page, sent


@pytest.fixture
def view(lab, opened, explorer):
    """The page, with the explorer in its first state."""
    page, _ = opened
    page.mouse.up()
    lab.run_cell(page, 3)
    page.locator(".nk footer code").filter(has_text=explorer.as_code()).wait_for()
    return page


def test_dragging_each_slider_shows_the_numbers_that_python_computes(lab, opened, view, explorer):
    _, sent = opened
    settings = {"T": 6.0, "T_norm": 1.0}
    untie(view)
    assert_card(view, "a", explorer, 0, **settings)
    for key, share in (("T", 0.6), ("T_norm", 0.15), ("T", 0.05), ("T_norm", 0.9)):
        before = shown_numbers(view, "a")
        sent.clear()
        settings[key] = drag(view, key, share)
        assert not any("comm_msg" in frame for frame in sent), "a slider step must not go to the kernel"
        assert_card(view, "a", explorer, 0, **settings)
        column = "kd" if key == "T" else "normkd"
        changed = {name for name, text in shown_numbers(view, "a").items() if text != before[name]}
        assert {f"{column}.kl", f"{column}.weight", f"{column}.classesT"} <= changed
        view.mouse.up()
    explorer.state = {**settings, "tie": False}
    settle(view)
    assert view.locator(".nk footer code").inner_text() == explorer.as_code() == lab.run_cell(view, 2)


def test_tied_sliders_leave_the_median_sample_equally_soft(view, explorer):
    T = drag(view, "T", 0.45)
    settle(view)
    T_norm = float(slider(view, "T_norm").input_value())
    told = view.locator(".nk-median").inner_text()
    medians = [
        np.median(np.exp(soften(explorer.logits_t_NC, explorer.logits_s_NC, policy).entropy_t_B))
        for policy in (methods_at(T, T_norm)[name] for name in ("kd", "normkd"))
    ]
    assert medians[1] == pytest.approx(medians[0], rel=0.03)
    assert [float(n) for n in re.findall(r"KD ([\d.]+), NormKD ([\d.]+)", told)[0]] == pytest.approx(medians, rel=0.05)
    assert_card(view, "a", explorer, 0, T, T_norm)
    view.mouse.up()


def test_keys_move_a_slider_walk_the_samples_and_pin(lab, view, explorer):
    untie(view)
    selected_cell = view.locator(".jp-Cell.jp-mod-selected").count()
    slider(view, "T").focus()
    view.keyboard.press("ArrowRight")
    view.keyboard.press("ArrowRight")
    assert slider(view, "T").input_value() == "6.2"
    assert view.locator(".jp-Cell.jp-mod-selected").count() == selected_cell
    view.get_by_role("listbox", name="Samples").get_by_role("option").first.focus()
    for key in ("ArrowRight", "ArrowRight", "p", "End"):
        view.keyboard.press(key)
    assert_card(view, "a", explorer, 23, 6.2, 1.0)
    assert_card(view, "b", explorer, 2, 6.2, 1.0)
    view.get_by_role("button", name="Swap A and B").click()
    assert_card(view, "a", explorer, 2, 6.2, 1.0)
    explorer.state = {"sample": 2, "pinned": 23, "T": 6.2, "tie": False}
    assert lab.run_cell(view, 2) == explorer.as_code()
    view.get_by_role("button", name="Unpin sample B").click()
    settle(view)
    assert not view.locator(".nk-card-b").is_visible()


def test_keys_that_come_faster_than_frames_all_count(view, explorer):
    """Ten keys within one task of the browser, so that none of them sees a repaint."""
    view.get_by_role("listbox", name="Samples").evaluate("""list => {
        for (const key of [...Array(4).fill("ArrowRight"), "p", ...Array(5).fill("ArrowRight")])
            list.dispatchEvent(new KeyboardEvent("keydown", { key }));
    }""")
    assert_card(view, "a", explorer, 9, 6.0, 1.0)
    assert_card(view, "b", explorer, 4, 6.0, 1.0)


def test_sorting_follows_the_teachers_std_and_python_moves_the_view(lab, view, explorer):
    view.get_by_label("Sort the samples by").select_option("std")
    settle(view)
    order = view.locator("[data-sample]").evaluate_all("nodes => nodes.map(n => Number(n.dataset.sample))")
    np.testing.assert_array_equal(order, np.argsort(-explorer.logits_t_NC.std(axis=1), kind="stable"))
    lab.run_cell(view, 4)
    view.locator(".nk-card-a [data-value='kd.temperatureT']").filter(has_text="9.000").wait_for()
    assert_card(view, "a", explorer, 7, 9.0, 0.5)
    assert slider(view, "T").input_value() == "9"


def test_all_classes_and_gradients_are_drawn_and_read_out(view, explorer):
    view.get_by_role("radio", name="All classes").click()
    view.get_by_role("radio", name="Gradients").click()
    settle(view)
    chart = view.locator(".nk-card-a .nk-long")
    canvas = chart.locator("canvas").nth(1)
    painted = "n => n.getContext('2d').getImageData(0, 0, n.width, n.height).data.filter(v => v > 0).length"
    assert canvas.evaluate(painted) > 2000
    chart.focus()
    view.keyboard.press("ArrowRight")
    second = int(np.argsort(-explorer.logits_t_NC[0], kind="stable")[1])
    settle(view)
    words = view.locator(".nk-card-a .nk-readout").inner_text()
    one = soften(explorer.logits_t_NC[[0]], explorer.logits_s_NC[[0]], methods_at(6.0)["kd"])
    found = re.match(rf"class {second}(?: \(true class\))?: KD (\S+) ·", words)
    assert number(found[1]) == pytest.approx(one.gradient_BC[0, second], abs=5.1e-4)


def test_480_pixels_hold_everything_in_light_and_dark(view):
    view.get_by_role("button", name="Pin this sample as B").click()
    view.locator(".nk").evaluate("node => node.style.width = '480px'")
    for theme in ("false", "true"):
        view.evaluate("theme => document.body.dataset.jpThemeLight = theme", theme)
        for text in ("All classes", "Gradients", "Log", "Top 10"):
            view.get_by_role("radio", name=text).click()
            settle(view)
            # The strip and the code line scroll on purpose; nothing else may stick out.
            assert view.locator(".nk").evaluate("n => n.scrollWidth - n.clientWidth") <= 0


def test_every_control_has_a_name_and_keeps_its_keys(view):
    controls = view.locator(".nk :is(button, select, input, [tabindex]):visible")
    names = controls.evaluate_all("nodes => nodes.map(n => n.ariaLabel || n.labels?.[0]?.innerText || n.innerText)")
    assert len(names) > 30 and all(names)
    assert set(controls.evaluate_all("nodes => nodes.map(n => n.dataset.lmSuppressShortcuts)")) == {"true"}
