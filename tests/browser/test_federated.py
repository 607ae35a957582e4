"""The federation explorer in real JupyterLab and on an exported page: dragged, clicked, and held against Python."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from normkd_explore.figures.federated import RULE_TITLES
from scripts.build_site import build
from tests.helpers.painted import settle

pytest_plugins = ["tests.helpers.browser"]

SETUP = """
import numpy as np
import torch
from normkd_explore.widgets.federated import FederatedExplorer
draw = torch.Generator().manual_seed(5)
labels = torch.randint(6, (20,), generator=draw)
logits = 2 * torch.randn((8, 20, 6), generator=draw) + 4 * torch.eye(6)[labels]
names = list("ABCDEF")
explorer = FederatedExplorer(logits, np.full((20, 8, 8, 3), 90, np.uint8), labels, names)
explorer
"""
ASK = "print(explorer.as_code())"
LOUD = "explorer.state = {'attackers': 4, 'strength': 33.0, 'rule': 'expguard', 'sample': 7}\nprint('moved')"
SAYS = "nodes => nodes.map(n => [...n.querySelectorAll('.nk-fed-says > *')].map(part => part.textContent))"
BARS = "nodes => nodes.map(n => new DOMMatrix(n.style.transform).d)"


@pytest.fixture
def explorer():
    """The same explorer in this process."""
    names = {}
    exec(SETUP, names)
    return names["explorer"]


def assert_shown(page, explorer):
    """Every client's and the server's words and bars, and every rule's number, are what Python computes."""
    settle(page)
    n = explorer.state["sample"]
    label = int(explorer.labels_N[n])
    said = [*explorer.uploads()[:, n].softmax(-1), explorer.answers()[n].softmax(-1)]
    shown = page.locator(".nk-fed-voice").evaluate_all(SAYS)
    assert len(shown) == 9
    for (name, sure, mark), p in zip(shown, said, strict=True):
        first = int(p.argmax())
        assert (name, mark) == (f"“{explorer.class_names[first]}”", "✓" if first == label else "✗")
        assert abs(float(sure.removesuffix(" %")) - 100 * p[first].item()) <= 0.51
    bars = page.locator(".nk-fed-server .nk-fed-bars i").evaluate_all(BARS)
    assert bars == pytest.approx(said[-1].tolist(), abs=1e-4)
    numbers = {rule: page.locator(f"[data-right={rule}]").inner_text() for rule in RULE_TITLES}
    assert numbers == {rule: str(explorer.right(rule)) for rule in RULE_TITLES}
    assert page.locator(".nk-fed-lies").count() == explorer.state["attackers"]
    claim = page.locator(".nk-fed-claim").inner_text()
    assert f"right about {explorer.right()} of 20 pictures" in claim


def drag_strength(page, share):
    """Press the slider's handle where it is, move it to a share of the track, and give the value; still pressed."""
    slider = page.locator("[data-key=strength]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for step in range(1, 11):
        page.mouse.move(box["x"] + box["width"] * (0.5 + (share - 0.5) * step / 10), box["y"] + box["height"] / 2)
    return float(slider.input_value())


def test_dragging_in_jupyterlab_shows_what_python_computes_and_tells_it(lab, page, explorer):
    lab.open(page, "federated.ipynb", [SETUP, ASK, LOUD])
    page.get_by_text("moved", exact=True).wait_for(timeout=60_000)
    explorer.state = {"attackers": 4, "strength": 33.0, "rule": "expguard", "sample": 7}
    assert_shown(page, explorer)
    page.get_by_role("radio", name="2", exact=True).check(force=True)
    page.locator("input[value=mean]").check(force=True)
    for share in (0.9, 0.05):
        strength = drag_strength(page, share)
        explorer.state = {"attackers": 2, "rule": "mean", "strength": strength}
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
    cells = [new_markdown_cell("# Small\n\n**The question.** Who lies?"), new_code_cell(SETUP)]
    nbformat.write(new_notebook(cells=cells), folder / "07_small.ipynb")
    build([folder / "07_small.ipynb"], folder / "pages")
    return (folder / "pages" / "07_small.html").as_uri()


@pytest.mark.parametrize("width", [390, 1500])
def test_a_page_without_a_kernel_answers_and_nothing_sticks_out(exported, page, explorer, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.context.set_offline(True)
    page.goto(exported)
    page.locator("body[data-ready]").wait_for()
    assert_shown(page, explorer)
    explorer.state = {"strength": drag_strength(page, 0.1)}
    page.mouse.up()
    assert_shown(page, explorer)
    view = page.locator(".nk-fed")
    assert view.evaluate("n => n.scrollWidth - n.clientWidth") <= 0
    out = ".nk-fed-says, .nk-fed-says b, .nk-fed-name, .nk-fed-rule, .nk-fed-classes span"
    sticking = "nodes => nodes.filter(n => n.scrollWidth > n.clientWidth + 1).map(n => n.textContent)"
    assert page.locator(out).evaluate_all(sticking) == []
    for attack in ("fdla", "random"):
        page.locator(f"input[value={attack}]").check(force=True)
        explorer.state = {"attack": attack}
        assert_shown(page, explorer)
        assert page.locator("[data-key=strength]").is_disabled()
