"""The race in real JupyterLab: drawn while the kernel is busy, and every point held against what Python measured."""

import json

import numpy as np
import pytest

from tests.helpers.painted import settle

pytest_plugins = ["tests.helpers.browser"]

SETUP = """
import json, time
from pathlib import Path
from normkd_explore.widgets import RaceView
from tests.helpers.race import fake_runs, train_fake
methods = ("ce", "kd", "a method with a long name")
race = RaceView(methods, seeds=2)
race
"""
# Waits at the end of the second seed's second epoch until the test has seen the page: the kernel is busy.
TRAIN = """
def wait(epoch, step):
    time.sleep(0.002)
    while (epoch, step) == (1, 9) and not Path("go").exists():
        time.sleep(0.01)
train_fake(race, fake_runs(methods), 0, epochs=4, sizes=(64,) * 10)
train_fake(race, fake_runs(methods), 1, epochs=4, sizes=(64,) * 10, after_step=wait)
race.finish()
print("trained")
"""
ASK = "print(json.dumps([race._past, race._now, race._status]))"
AGAIN = "race"
LINES = "nodes => nodes.map(n => [n.dataset.method, n.getAttribute('d')])"


@pytest.fixture(scope="module")
def finished(lab, module_page):
    """A notebook whose race is over, and what the page showed while the kernel was busy."""
    lab.open(module_page, "race.ipynb", [SETUP, TRAIN, ASK, AGAIN])
    view = module_page.locator(".nk-race").first
    view.locator("[data-fact=Epoch]").filter(has_text="2 of 4").wait_for(timeout=60_000)
    view.locator(".nk-race-now .nk-race-points[data-method=kd][d*=Z]").wait_for(state="attached")
    busy = {"prompt": module_page.locator(".jp-InputPrompt").nth(1).inner_text(), "text": view.inner_text()}
    busy["seeds"] = view.locator("g[data-seed]").evaluate_all("nodes => nodes.map(n => n.dataset.seed)")
    (lab.folder / "go").touch()
    module_page.get_by_text("trained", exact=True).wait_for(timeout=60_000)
    view.locator(".nk-race-phase").filter(has_text="finished").wait_for()
    # Cells 2 and 3 were in the queue behind the training.
    module_page.locator(".nk-race").nth(1).wait_for()
    return module_page, busy


def measured(lab, page):
    return json.loads(lab.run_cell(page, 2))


def vertices(path):
    """The corners of an SVG line, (points, 2)."""
    return np.array([[float(number) for number in pair.split()] for pair in path[1:].split("L")])


def axis(view, anchor, position):
    """The linear map from a tick's place in pixels to its number, as (slope, offset)."""
    ticks = view.locator(f".nk-tick[text-anchor={anchor}]").evaluate_all(
        "(nodes, name) => nodes.map(n => [Number(n.getAttribute(name)), n.textContent])", position
    )
    places = [place - 4 * (position == "y") for place, _ in ticks]
    values = [float(text.replace("K", "")) * (1000 if "K" in text else 1) for _, text in ticks]
    assert len(values) > 2
    return np.polyfit(places, values, 1)


def test_the_page_follows_while_the_kernel_is_busy(finished):
    _, busy = finished
    assert busy["prompt"] == "[*]:" and busy["seeds"] == ["0", "1"]
    assert "training" in busy["text"] and "1 (2 of 2)" in busy["text"]
    assert "Seed 1, validation after epoch 1: ce" in busy["text"]


def test_lines_and_points_lie_where_python_measured_them(lab, finished):
    page, _ = finished
    past, now, _ = measured(lab, page)
    view = page.locator(".nk-race").first
    slope_x, offset_x = axis(view, "middle", "x")
    slope_y, offset_y = axis(view, "end", "y")
    for lap, group in ((past[0], ".nk-race-past"), (now, ".nk-race-now")):
        for method, path in view.locator(f"{group} .nk-race-line").evaluate_all(LINES):
            corners = vertices(path)
            # The page keeps a tenth of a pixel.
            np.testing.assert_allclose(slope_x * corners[:, 0] + offset_x, lap["images"], atol=abs(slope_x))
            np.testing.assert_allclose(slope_y * corners[:, 1] + offset_y, lap["train"][method], atol=abs(slope_y))
        for method, path in view.locator(f"{group} .nk-race-points").evaluate_all(LINES):
            assert path.count("Z") == len(lap["valid"][method]) == 4
        circles = dict(view.locator(f"{group} .nk-race-points").evaluate_all(LINES))["ce"].split("M")[1:]
        heights = [float(circle.split("a")[0].split()[1]) for circle in circles]
        np.testing.assert_allclose(slope_y * np.array(heights) + offset_y, lap["valid"]["ce"], atol=abs(slope_y))


def test_board_shows_the_standings_and_a_second_view_the_same(lab, finished):
    page, _ = finished
    _, _, status = measured(lab, page)
    first, second = page.locator(".nk-race").all()
    rows = first.locator("tbody tr").evaluate_all(
        "nodes => nodes.map(n => [...n.children].map(c => c.innerText.trim()))"
    )
    assert rows == [[r["method"], f"{r['last']:.2f}", f"{r['mean']:.2f}", str(r["n"])] for r in status["board"]]
    assert [row["mean"] for row in status["board"]] == sorted((row["mean"] for row in status["board"]), reverse=True)
    assert first.locator("[aria-sort=descending]").inner_text().startswith("mean")
    assert second.inner_text() == first.inner_text()
    assert second.locator(".nk-race-line").evaluate_all(LINES) == first.locator(".nk-race-line").evaluate_all(LINES)


def test_arrow_keys_read_the_epochs(lab, finished):
    page, _ = finished
    _, now, _ = measured(lab, page)
    chart, readout = page.locator(".nk-race-chart").first, page.locator(".nk-race-readout").first
    chart.focus()
    for key, epoch in (("Home", 0), ("ArrowRight", 1), ("End", 3), ("ArrowRight", 3), ("ArrowLeft", 2)):
        page.keyboard.press(key)
        values = ", ".join(f"{method} {numbers[epoch]:.2f} %" for method, numbers in now["valid"].items())
        assert readout.inner_text() == f"Seed 1, validation after epoch {epoch + 1}: {values}"
    assert readout.inner_text() in chart.get_attribute("aria-label")
    assert page.get_by_role("progressbar", name="The whole race").first.get_attribute("aria-valuenow") == "100"


@pytest.mark.parametrize("theme", ["true", "false"])
@pytest.mark.parametrize("width", ["340px", "1000px"])
def test_nothing_sticks_out_of_narrow_and_wide_pages(finished, theme, width):
    page, _ = finished
    view = page.locator(".nk-race").first
    page.evaluate("theme => document.body.dataset.jpThemeLight = theme", theme)
    view.evaluate("(node, width) => node.style.width = width", width)
    settle(page)
    assert view.evaluate("n => n.scrollWidth - n.clientWidth") <= 0
    names = view.locator(".nk-race-name")
    overhang = names.evaluate_all(
        "nodes => nodes.map(n => n.getBoundingClientRect().right - n.ownerSVGElement.getBoundingClientRect().right)"
    )
    assert len(overhang) == 3 and max(overhang) <= 1
