"""Every explorer in real JupyterLab and on an exported page: read at four widths in light and dark, and used."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from normkd_explore.analysis import methods_at, soften
from scripts.build_notebooks import execute
from scripts.site.outputs import collect
from scripts.site.pages import Contents, write_page, write_shared
from tests.helpers.browser import open_page
from tests.helpers.explorers import CELLS, SELECTORS, SETUP, audit, groups, resize, slide, steps
from tests.helpers.painted import settle

pytest_plugins = ["tests.helpers.browser"]

WIDTHS = (390, 700, 1000, 1500)
THEMES = ("light", "dark")
PLACES = ("lab", "site")
PRINT = "print(explorer.link(), hero.link())"


@pytest.fixture(scope="module")
def python():
    """The same explorers in this process."""
    names = {}
    exec(SETUP, names)
    return names


@pytest.fixture(scope="module")
def exported(chromium, tmp_path_factory):
    """The address of a page with all explorers, straight from the disk."""
    folder = tmp_path_factory.mktemp("site")
    book = new_notebook(cells=[new_markdown_cell("# All"), *(new_code_cell(cell) for cell in (SETUP, *CELLS))])
    execute(book)
    write_shared(folder)
    page = collect(book, [[] for _ in book.cells], "all")
    return write_page(folder, book, page, Contents((("all", "All"),), ())).as_uri()


class Place:
    """A page that shows all explorers, and the addresses that it asked for."""

    def __init__(self, name, page):
        self.name, self.page, self.asked = name, page, []
        self.theme = "light"
        page.on("request", lambda request: self.asked.append(request.url))

    def show(self, theme, width):
        if theme != self.theme:
            self.theme = theme
            if self.name == "lab":
                name = f"JupyterLab {theme.capitalize()}"
                self.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
                self.page.wait_for_function(
                    "light => document.body.dataset.jpThemeLight === light", arg=str(theme == "light").lower()
                )
            else:
                self.page.locator(".theme").click()
        resize(self.page, width)


@pytest.fixture(scope="module")
def opened_lab(lab, chromium):
    with open_page(chromium) as page:
        place = Place("lab", page)
        lab.open(page, "all.ipynb", [SETUP, *CELLS, PRINT])
        page.get_by_text(re.compile(r"explorer:pinned=23 hero:")).wait_for(state="attached", timeout=90_000)
        page.evaluate("jupyterapp.commands.execute('application:toggle-left-area')")
        for selector in SELECTORS.values():
            page.locator(selector).first.wait_for(state="attached")
        yield place


@pytest.fixture(scope="module")
def opened_site(exported, chromium):
    with open_page(chromium) as page:
        place = Place("site", page)
        page.context.set_offline(True)
        page.goto(exported)
        page.locator("body[data-ready]").wait_for()
        yield place


@pytest.fixture
def place(request):
    """The page of the place that a test names; of the other one nothing is started."""
    return request.getfixturevalue(f"opened_{request.param}")


everywhere = pytest.mark.parametrize("place", PLACES, indirect=True)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", THEMES)
@everywhere
def test_every_text_can_be_read(place, theme, width):
    place.show(theme, width)
    found = {name: audit(place.page, name) for name in SELECTORS}
    told = {name: {key: value for key, value in one.items() if value and key != "texts"} for name, one in found.items()}
    assert min(one["texts"] for one in found.values()) >= 15
    assert {name: one for name, one in told.items() if one} == {}


@pytest.mark.parametrize(
    ("fault", "key"),
    [
        ("font-size: 10px", "small"),
        ("color: color-mix(in srgb, currentColor 40%, transparent)", "faint"),
        ("position: relative; top: 16px", "overlaps"),
        ("width: 3000px; display: block", "wide"),
    ],
)
def test_a_fault_that_is_put_in_is_found(opened_site, fault, key):
    opened_site.show("light", 1000)
    node = opened_site.page.locator(".nk-matrix-head b").nth(1)
    before = node.get_attribute("style") or ""
    node.evaluate("(node, style) => node.setAttribute('style', style)", fault)
    try:
        assert audit(opened_site.page, "softening")[key]
    finally:
        node.evaluate("(node, style) => node.setAttribute('style', style)", before)


@everywhere
def test_every_radio_group_has_one_choice_of_its_own(place):
    page = place.page
    before = groups(page)
    assert len(before) == 7 and all(len(checked) == 1 for checked in before)
    first, second = page.locator(SELECTORS["softening"]).all()
    first.get_by_role("radio", name="Gradients").check(force=True)
    settle(page)
    assert [checked for checked in groups(page) if len(checked) != 1] == []
    assert second.get_by_role("radio", name="Probabilities").is_checked()
    assert second.get_by_role("radio", name="Log", exact=True).is_checked()
    first.get_by_role("radio", name="Probabilities").check(force=True)
    settle(page)
    assert groups(page) == before


INSIDE = "slider => slider.closest('.nk').querySelectorAll(`{} .nk-gauge[data-place=inside]`).length"


@everywhere
def test_no_t_brings_both_gauges_into_the_band_and_one_t_norm_does(place):
    page = place.page
    first = page.locator(SELECTORS["softening"]).first
    first.locator("input[data-key=tie]").uncheck()
    softening = f"{SELECTORS['softening']} input[data-key={{}}]"
    kd, own = (f".nk-matrix-cell[data-cell^='{method}.']" for method in ("kd", "normkd"))
    by_t = slide(page, softening.format("T"), np.geomspace(0.5, 20, 60).round(1).tolist(), INSIDE.format(kd))
    by_norm = slide(page, softening.format("T_norm"), np.linspace(0.1, 5, 60).round(2).tolist(), INSIDE.format(own))
    assert max(by_t) == 1 and max(by_norm) == 2
    slider = f"{SELECTORS['hero']} input[type=range]"
    assert max(slide(page, slider, np.linspace(0, 1, 90).tolist(), INSIDE.format(""))) == 1
    page.get_by_role("button", name="Give each its own T").click()
    page.wait_for_timeout(500)
    assert max(slide(page, slider, np.linspace(0, 1, 60).tolist(), INSIDE.format(""))) == 2
    page.get_by_role("button", name="Back to one T").click()
    first.locator("input[data-key=tie]").check()


@everywhere
def test_the_drawer_shows_pythons_numbers_and_follows_the_slider(place, python):
    page, explorer = place.page, python["explorer"]
    place.show("light", 1500)
    first = page.locator(SELECTORS["softening"]).first
    card, slider = first.locator(".nk-card-a"), f"{SELECTORS['softening']} input[data-key=T]"
    card.locator("td.nk-of-kd").first.click()
    drawer = card.locator(".nk-drawer")
    c = int(np.argmax(explorer.logits_t_NC[0]))
    for T in (2.0, 7.5):
        slide(page, slider, [T], "slider => slider.value")
        truth = soften(explorer.logits_t_NC[[0]], explorer.logits_s_NC[[0]], methods_at(T)["kd"])
        p, q = truth.probs_t_BC[0], truth.probs_s_BC[0]
        powers = np.exp(explorer.logits_t_NC[0].astype(float) / T)
        found = steps(drawer)
        wanted = {
            "z.teacher": explorer.logits_t_NC[0, c],
            "T.teacher": T,
            "exp.teacher": powers[c],
            "sum.teacher": powers.sum(),
            "p.teacher": p[c],
            "p.student": q[c],
            "term": p[c] * np.log(p[c] / q[c]),
            "kl": truth.kl_B[0],
            "weight": T**2,
            "loss": truth.loss_B[0],
        }
        assert {key: found[key] for key in wanted} == pytest.approx(wanted, rel=6e-4), T
    drawer.get_by_role("button", name="Close the arithmetic").click()
    settle(page)
    assert not drawer.is_visible()


@everywhere
def test_the_address_holds_the_view_and_restores_it(place, chromium):
    page = place.page
    slide(page, f"{SELECTORS['hero']} input[type=range]", [0.3], "slider => slider.value")
    slide(page, f"{SELECTORS['softening']} input[data-key=T]", [8.5], "slider => slider.value")
    settle(page)
    address = page.evaluate("decodeURIComponent(location.hash)")
    parts = dict(part.split(":") for part in address.removeprefix("#").split(";"))
    assert "T=8.5" in parts["explorer"].split(",") and parts["hero"].startswith("T=")
    if place.name == "lab":
        return
    with open_page(chromium) as other:
        other.goto(page.url)
        other.locator("body[data-ready]").wait_for()
        settle(other)
        for selector in ("hero", "softening"):
            parts = [tab.locator(SELECTORS[selector]).first.locator("[data-value]") for tab in (page, other)]
            numbers = [part.all_inner_texts() for part in parts]
            assert len(numbers[0]) > 1 and numbers[0] == numbers[1]


@everywhere
def test_nothing_is_asked_of_any_network(place):
    allowed = ("file:", "blob:", "data:", "http://127.0.0.1:", "ws://127.0.0.1:")
    assert [url for url in place.asked if not url.startswith(allowed)] == []


def test_python_takes_the_link_that_the_page_gives(lab, opened_lab, python):
    link, _ = lab.run_cell(opened_lab.page, len(CELLS) + 1).split()
    explorer = python["explorer"]
    explorer.state = link
    assert explorer.state["T"] == 8.5 and explorer.link() == link
    assert link in opened_lab.page.evaluate("decodeURIComponent(location.hash)")


def test_sliders_and_numbers_share_a_small_laptops_screen(opened_lab):
    page = opened_lab.page
    opened_lab.show("light", 1280)
    resize(page, 1280, 800)
    first = page.locator(SELECTORS["softening"]).first
    first.scroll_into_view_if_needed()
    settle(page)
    slider, numbers = (first.locator(part).first.bounding_box() for part in (".nk-matrix-slider", ".nk-numbers"))
    room = page.locator(".jp-WindowedPanel-outer").first.evaluate("n => n.clientHeight")
    assert numbers["y"] + numbers["height"] - slider["y"] <= room


SLOTS = """nodes => nodes.map(n => [n.querySelector(".nk") !== null, getComputedStyle(n).fontSize,
  getComputedStyle(n, "::after").content.slice(0, 24), n.getBoundingClientRect().height])"""


def test_a_notebook_that_was_run_and_saved_opens_with_pictures_and_without_an_error(lab, opened_lab, chromium):
    """The last test: it ends the kernel. JupyterLab tells the console that it has no models; readers see pictures."""
    page = opened_lab.page
    page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    page.get_by_text("Saving completed").wait_for()
    page.evaluate("jupyterapp.serviceManager.sessions.shutdownAll()")
    saved = json.loads((lab.folder / "all.ipynb").read_text())
    assert "widgets" not in saved["metadata"]
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    again = context.new_page()
    again.goto(f"{lab.url}/lab/tree/all.ipynb?token={lab.token}&reset")
    slots = again.locator(".jp-OutputArea-output.jupyter-widgets")
    slots.nth(len(CELLS) - 1).wait_for(state="attached", timeout=60_000)
    again.wait_for_timeout(1000)
    for live, size, content, height in slots.evaluate_all(SLOTS):
        assert not live and size == "0px" and content == 'url("data:image/svg+xml,' and height > 150
    context.close()
