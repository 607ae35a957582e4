"""The answers explorer in real JupyterLab and on an exported page: digits dragged, and held against Python."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from scripts.build_site import build
from tests.helpers.painted import settle

pytest_plugins = ["tests.helpers.browser"]

SETUP = """
import numpy as np
import torch
from normkd_explore.widgets.answers import AnswersExplorer
logits = 5 * torch.randn((20, 30), generator=torch.Generator().manual_seed(5))
labels = logits.argmax(1)
names = [f"class {c}" for c in range(30)]
explorer = AnswersExplorer(logits, np.full((20, 8, 8, 3), 90, np.uint8), labels, names)
explorer
"""
ASK = "print(explorer.as_code())"
MOVE = "explorer.state = {'digits': 2, 'kept': 5, 'remedy': 'floor', 'sample': 7}\nprint('moved')"
HEIGHTS = "nodes => nodes.map(n => new DOMMatrix(n.style.transform).d)"


@pytest.fixture
def explorer():
    """The same explorer in this process."""
    names = {}
    exec(SETUP, names)
    return names["explorer"]


def assert_shown(page, explorer):
    """Both temperatures, the bars and the striped classes are what Python computes."""
    settle(page)
    n = explorer.state["sample"]
    wanted = [values[n].item() for values in explorer.temperatures()]
    shown = [float(page.locator(f"[data-value={key}]").inner_text()) for key in ("true", "visible")]
    assert shown == pytest.approx(wanted, abs=0.006)
    z, row = explorer.logits_NC.double()[n], explorer.recovered()[n]
    pair = [(values / (2 * values.std())).softmax(0) for values in (z, row)]
    order, largest = z.argsort(descending=True), max(p.max() for p in pair)
    for name, p in zip(("truth", "visible"), pair, strict=True):
        bars = page.locator(f".nk-bb-bars .nk-bb-{name}").evaluate_all(HEIGHTS)
        assert bars == pytest.approx((p[order] / largest).tolist(), abs=1e-4)


def drag(page, key, share):
    """Press the slider in its middle, move it to a share of the track, and give the value; still pressed."""
    slider = page.locator(f"[data-key={key}]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for step in range(1, 11):
        page.mouse.move(box["x"] + box["width"] * (0.5 + (share - 0.5) * step / 10), box["y"] + box["height"] / 2)
    return int(slider.input_value())


def test_dragging_digits_in_jupyterlab_shows_what_python_computes_and_tells_it(lab, page, explorer):
    lab.open(page, "answers.ipynb", [SETUP, ASK, MOVE])
    page.get_by_text("moved", exact=True).wait_for(timeout=60_000)
    explorer.state = {"digits": 2, "kept": 5, "remedy": "floor", "sample": 7}
    assert_shown(page, explorer)
    for share in (0.9, 0.05, 0.999):
        digits = drag(page, "digits", share)
        explorer.state = {"digits": None if digits == 9 else digits}
        assert_shown(page, explorer)
        page.mouse.up()
    explorer.state = {"kept": drag(page, "kept", 0.8)}
    assert_shown(page, explorer)
    page.mouse.up()
    page.locator("[data-sample='7']").press("ArrowRight")
    explorer.state = {"sample": 8}
    assert_shown(page, explorer)
    assert lab.run_cell(page, 1) == explorer.as_code()


@pytest.fixture(scope="module")
def exported(chromium, tmp_path_factory):
    """A page of the site; `chromium` comes first so that nothing runs in vain without it."""
    folder = tmp_path_factory.mktemp("site")
    cells = [new_markdown_cell("# Small\n\n**The question.** What does it say?"), new_code_cell(SETUP)]
    nbformat.write(new_notebook(cells=cells), folder / "06_small.ipynb")
    build([folder / "06_small.ipynb"], folder / "pages")
    return (folder / "pages" / "06_small.html").as_uri()


@pytest.mark.parametrize("width", [390, 1500])
def test_a_page_without_a_kernel_answers_and_nothing_sticks_out(exported, page, explorer, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.context.set_offline(True)
    page.goto(exported)
    page.locator("body[data-ready]").wait_for()
    assert_shown(page, explorer)
    explorer.state = {"digits": drag(page, "digits", 0.3)}
    page.mouse.up()
    assert_shown(page, explorer)
    assert page.locator(".nk-bb").evaluate("n => n.scrollWidth - n.clientWidth") <= 0
    for remedy in ("epsilon", "floor"):
        page.locator(f"input[value={remedy}]").check(force=True)
        explorer.state = {"remedy": remedy}
        assert_shown(page, explorer)
