"""The method grid in real JupyterLab: clicked, walked with keys, and every number held against Python."""

import numpy as np
import pytest

from normkd_explore.figures.grid import brief
from tests.helpers.painted import settle

pytest_plugins = ["tests.helpers.browser"]

SETUP = """
import numpy as np
from normkd_explore.widgets.method_grid import MethodGrid
rng = np.random.default_rng(3)
grid = MethodGrid(
    rng.normal(0, 4, (6, 12)), rng.normal(0, 2, (6, 12)), rng.integers(0, 12, 6), [f"class {c}" for c in range(12)]
)
grid
"""
ASK = "print(grid.as_code())"
MOVE = """
grid.state = {'policy': 'MaxRatio(4)', 'divergence': 'ReverseKL', 'sample': 5, 'quantity': 'weight'}
print('opened')
"""
FACTS = ("temperature_t", "temperature_s", "weight", "loss", "length", "cosine")


@pytest.fixture(scope="module")
def grid():
    """The same grid in this process: what Python computes."""
    names = {}
    exec(SETUP, names)
    return names["grid"]


@pytest.fixture(scope="module")
def opened(lab, module_page):
    lab.open(module_page, "grid.ipynb", [SETUP, ASK, MOVE])
    module_page.get_by_text("opened", exact=True).wait_for(timeout=60_000)
    return module_page


def table_texts(page):
    cells = page.locator(".nk-grid-table td")
    return cells.evaluate_all(
        "nodes => Object.fromEntries(nodes.map(n => [n.dataset.cell, n.querySelector('span').textContent]))"
    )


def assert_shown(page, grid, policy, divergence, sample, quantity):
    """The table, the chosen cell, its numbers and its bars are what Python computes."""
    settle(page)
    values = grid.grid.values(quantity)
    places = [f"{p}|{d}" for p in grid.grid.policies for d in grid.grid.divergences]
    assert table_texts(page) == dict(zip(places, map(brief, values.flat), strict=True))
    chosen = page.locator(".nk-grid-table td[aria-selected=true]")
    assert chosen.count() == 1 and chosen.get_attribute("data-cell") == f"{policy}|{divergence}"
    cell = grid.grid.cells[policy, divergence]
    for fact in FACTS:
        values_B = getattr(cell, f"{fact}_B")
        assert page.locator(f"[data-value={fact}]").inner_text() == brief(values_B[sample]), fact
        assert page.locator(f"[data-mean={fact}]").inner_text() == brief(values_B.mean()), fact
    assert_bars(page, cell.gradient_BC[sample].astype(np.float32))
    assert page.locator(".nk-card h3").inner_text() == f"{policy} × {divergence}"


def assert_bars(page, gradient_C):
    bars = page.locator(".nk-grid-bars li").evaluate_all(
        """nodes => nodes.map(n => { const bar = n.querySelector("i").style;
           return [Number(n.dataset.class), n.lastChild.textContent, parseFloat(bar.left), parseFloat(bar.width)]; })"""
    )
    order = np.argsort(-np.abs(gradient_C), kind="stable")[:10]
    assert [bar[0] for bar in bars] == order.tolist()
    assert [bar[1] for bar in bars] == [brief(float(gradient_C[c])) for c in order]
    shares = 50 * gradient_C[order] / np.abs(gradient_C).max()
    np.testing.assert_allclose([bar[3] for bar in bars], np.abs(shares), atol=0.01)
    np.testing.assert_allclose([bar[2] for bar in bars], 50 + np.minimum(shares, 0), atol=0.01)


def click(page, policy, divergence):
    page.locator(f'.nk-grid-table td[data-cell="{policy}|{divergence}"]').click()


def test_a_view_set_from_python_a_click_and_the_other_controls(lab, opened, grid):
    page = opened
    assert_shown(page, grid, "MaxRatio(4)", "ReverseKL", 5, "weight")
    click(page, "Std(2)", "Decoupled(1, 8)")
    assert_shown(page, grid, "Std(2)", "Decoupled(1, 8)", 5, "weight")
    assert page.locator(".nk-card header small").inner_text() == "normdkd"
    assert "TCKD" in page.locator(".nk-grid-formulas").inner_text()
    page.get_by_role("combobox", name="Sample").select_option("2")
    page.get_by_role("radio", name="Scale cosine").check(force=True)
    assert_shown(page, grid, "Std(2)", "Decoupled(1, 8)", 2, "cosine")
    told = lab.run_cell(page, 1)
    wanted = {"policy": "Std(2)", "divergence": "Decoupled(1, 8)", "sample": 2, "quantity": "cosine"}
    assert told == f"grid.state = {wanted}".replace("'", '"')


def test_keys_walk_the_table_and_stop_at_its_ends(opened, grid):
    page = opened
    click(page, "Constant(4)", "KL")
    policies, divergences = list(grid.grid.policies), list(grid.grid.divergences)
    row = column = 0
    moves = {"ArrowRight": (0, 1), "ArrowDown": (1, 0), "ArrowLeft": (0, -1), "ArrowUp": (-1, 0)}
    moves |= {"End": (0, 99), "PageDown": (99, 0), "Home": (0, -99), "PageUp": (-99, 0)}
    for key in (
        "ArrowUp",
        "ArrowRight",
        "ArrowRight",
        "ArrowDown",
        "ArrowLeft",
        "End",
        "PageDown",
        "ArrowDown",
        "Home",
    ):
        page.keyboard.press(key)
        row = min(len(policies) - 1, max(0, row + moves[key][0]))
        column = min(len(divergences) - 1, max(0, column + moves[key][1]))
        settle(page)
        focused = page.evaluate("document.activeElement.dataset.cell")
        assert focused == f"{policies[row]}|{divergences[column]}"
    assert_shown(page, grid, policies[row], divergences[column], 2, "cosine")


def test_cells_and_controls_are_named_for_screen_readers(opened, grid):
    page = opened
    table = page.get_by_role("grid", name="Policies and divergences")
    assert table.get_by_role("gridcell").count() == len(grid.grid.cells)
    assert page.get_by_role("radiogroup", name="Number in the cells").count() == 1
    labels = table.get_by_role("gridcell").evaluate_all("nodes => nodes.map(n => n.getAttribute('aria-label'))")
    assert any(text.startswith("Std(2) with KL, normkd: ") for text in labels)
    tabs = page.locator(".nk-grid-table td[tabindex='0']").count()
    assert tabs == 1  # one stop for the tab key, arrows inside


@pytest.mark.parametrize("theme", ["true", "false"])
@pytest.mark.parametrize("width", ["360px", "1000px"])
def test_nothing_sticks_out_and_text_can_be_read(opened, theme, width):
    page = opened
    view = page.locator(".nk-grid")
    page.evaluate("theme => document.body.dataset.jpThemeLight = theme", theme)
    view.evaluate("(node, width) => node.style.width = width", width)
    settle(page)
    assert view.evaluate("n => n.scrollWidth - n.clientWidth") <= 0
    ink, darkest = page.locator(".nk-grid-table td").first.evaluate(
        """node => { node.style.setProperty("--nk-share", "42%"); const style = getComputedStyle(node);
           const probe = document.createElement("canvas").getContext("2d"), rgb = (colour) => {
             probe.fillStyle = colour; probe.fillRect(0, 0, 1, 1); return [...probe.getImageData(0, 0, 1, 1).data]; };
           return [rgb(style.color), rgb(style.backgroundColor)]; }"""
    )
    assert contrast(ink, darkest) > 4.5


def contrast(first, second):
    """WCAG's ratio of two sRGB colours."""
    light = []
    for colour in (first, second):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(colour[:3]) / 255]
        light.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
    return max(light) / min(light)
