"""An exported page in a real browser, without a kernel and without a network: the explorer answers as Python does."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from scripts.build_site import build
from tests.helpers.painted import settle
from tests.helpers.softening_card import SETUP, assert_card, drag, shown_numbers, slider, untie

pytest_plugins = ["tests.helpers.browser"]

FIGURE = "import plotly.graph_objects as go\ngo.Figure(go.Bar(y=[3, 1, 2]))"
RACE = "from normkd_explore.widgets import RaceView\nRaceView(('ce', 'normkd'))"
TEXT = "# Small\n\n**The question.** Does $T_\\text{norm}$ fit all?"


@pytest.fixture(scope="module")
def site(chromium, tmp_path_factory):
    """A small notebook, exported; `chromium` comes first so that nothing runs in vain without it."""
    folder = tmp_path_factory.mktemp("site")
    cells = [new_markdown_cell(TEXT), *(new_code_cell(c) for c in (SETUP, "explorer", FIGURE, RACE, "explorer"))]
    nbformat.write(new_notebook(cells=cells), folder / "01_small.ipynb")
    build([folder / "01_small.ipynb"], folder / "pages")
    return folder / "pages"


@pytest.fixture(scope="module")
def explorer():
    """The same explorer in this process."""
    names = {}
    exec(SETUP, names)
    return names["explorer"]


@pytest.fixture
def opened(site, page):
    """The page straight from the disk, offline, and every address it asked for."""
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.context.set_offline(True)
    page.goto((site / "01_small.html").as_uri())
    page.locator("body[data-ready]").wait_for()
    return page, asked


@pytest.fixture
def first(opened):
    """The first view of the explorer; its methods that belong to the whole page are the page's."""
    return View(*opened)


class View:
    """The first explorer of a page, with the page's mouse, for helpers that expect a page with one explorer."""

    def __init__(self, page, asked):
        self.page, self.asked, self.mouse, self.evaluate = page, asked, page.mouse, page.evaluate
        self.locator = page.locator("[data-model]").first.locator


def test_dragging_shows_the_numbers_that_python_computes(first, explorer):
    settings = {"T": 6.0, "T_norm": 1.0}
    untie(first)
    assert_card(first, "a", explorer, 0, **settings)
    for key, share in (("T", 0.6), ("T_norm", 0.15), ("T", 0.05)):
        before = shown_numbers(first, "a")
        settings[key] = drag(first, key, share)
        assert_card(first, "a", explorer, 0, **settings)
        assert shown_numbers(first, "a") != before
        first.mouse.up()


def test_all_that_is_asked_for_lies_beside_the_page(first, site):
    local = [url for url in first.asked if url.startswith("file:")]
    assert {url.rpartition("/")[2] for url in local} == {"01_small.html", "site.css", "site.js", "plotly.min.js"}
    assert {url.partition(":")[0] for url in first.asked} <= {"file", "blob", "data"}


def test_two_views_of_one_explorer_follow_each_other(first):
    drag(first, "T", 0.7)
    first.mouse.up()
    settle(first)
    codes = first.page.locator(".nk footer code").all_inner_texts()
    assert len(codes) == 2 and codes[0] == codes[1] and '"T": 6.0' not in codes[0]


def test_figures_race_and_formulas_are_drawn_and_no_picture_is_left(first):
    page = first.page
    assert page.locator(".js-plotly-plot .barlayer .point").count() == 3
    assert page.locator(".nk-race [data-fact]").count() == 5
    assert page.locator("math msub").bounding_box()["width"] > 10
    assert page.locator(".still").count() == 0


def test_the_button_changes_between_light_and_dark(first):
    page = first.page
    ground = lambda: page.locator(".nk").first.evaluate("n => getComputedStyle(n).backgroundColor")  # noqa: E731
    assert ground() == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Light or dark").click()
    assert ground() == "rgb(18, 18, 18)"


@pytest.mark.parametrize("width", [1100, 520, 400, 330])
def test_the_sentence_fits_the_height_that_is_kept_for_it(first, width):
    """It does not grow, because a page that is laid out anew at every slider step is slow."""
    first.locator(".nk").evaluate("(node, width) => node.style.width = `${width}px`", width)
    first.locator(".nk-button").filter(has_text="Pin as B").click()
    drag(first, "T_norm", 0.97)
    first.mouse.up()
    settle(first)
    assert first.locator(".nk-insight").evaluate("n => n.scrollHeight - n.clientHeight") <= 0


def test_a_slider_step_lays_out_the_changed_blocks_and_not_the_page(chromium, first):
    """Chromium says of each layout whether it began at the page's root."""
    slider(first, "T").focus()
    chromium.start_tracing(page=first.page, categories=["devtools.timeline"])
    for key in ["ArrowRight"] * 5:
        first.page.keyboard.press(key)
        settle(first)
    events = json.loads(chromium.stop_tracing())["traceEvents"]
    layouts = [event["args"]["beginData"] for event in events if event["name"] == "Layout" and event["ph"] in "XB"]
    assert len(layouts) >= 5
    assert sum(layout["partialLayout"] for layout in layouts) >= len(layouts) - 1, layouts


def test_the_index_leads_to_the_page(site, page):
    page.goto((site / "index.html").as_uri())
    page.locator(".cards").get_by_role("link", name="Small").click()
    page.locator("body[data-ready]").wait_for()


def test_without_scripts_the_page_still_says_what_was_there(site, chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "01_small.html").as_uri())
    stills = page.locator(".still")
    assert [stills.nth(n).is_visible() for n in range(stills.count())] == [True] * 4
    assert stills.first.get_attribute("alt").startswith("Softened predictions. A: class")
    assert stills.first.evaluate("n => n.decode().then(() => n.naturalWidth)") == 700
    context.close()
