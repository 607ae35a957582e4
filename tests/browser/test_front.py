"""The site's front page in a real browser, straight from the disk and offline."""

import re

import pytest

from scripts.build_site import build
from tests.helpers.browser import watch
from tests.helpers.painted import settle

pytest_plugins = ["tests.helpers.browser"]

FIGURES = ("lens", "cloud", "pull", "product", "replay", "twoclasses", "rounded")
# Boxes of text that lie on one another, and text below 12 px: [what, what].
READABLE = """() => {
  const boxes = [], small = [];
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const own = node.parentElement;
    if (!node.data.trim() || own.closest("script, noscript, details:not([open]), .nk-dial, [hidden]")) continue;
    const style = getComputedStyle(own);
    if (style.visibility === "hidden" || style.display === "none") continue;
    if (parseFloat(style.fontSize) < 12) small.push(`${node.data.trim()} ${style.fontSize}`);
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) if (box.width > 1) boxes.push([box, node.data.trim(), node]);
  }
  boxes.sort(([a], [b]) => a.top - b.top);
  const over = [];
  boxes.forEach(([a, words, node], i) => {
    for (let k = i + 1; k < boxes.length && boxes[k][0].top < a.bottom - 3; k++) {
      const [b, others, other] = boxes[k];
      if (other !== node && b.left < a.right - 2 && a.left < b.right - 2) over.push(`${words} | ${others}`);
    }
  });
  return { small, over, wide: document.documentElement.scrollWidth - innerWidth };
}"""


@pytest.fixture(scope="module")
def folder(chromium, tmp_path_factory):
    """The site without notebooks; `chromium` comes first so that nothing runs in vain without it."""
    folder = tmp_path_factory.mktemp("front")
    build([], folder)
    return folder


def open_front(chromium, folder, width, scheme="light"):
    """The page, all figures alive, what it asked for and what it reported."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_offline(True)
    page = context.new_page()
    asked, errors = [], watch(page)
    page.on("request", lambda request: asked.append(request.url))
    page.goto((folder / "index.html").as_uri())
    page.locator("body[data-ready]").wait_for()
    for name in FIGURES:
        page.locator(f'[data-live="{name}"]').scroll_into_view_if_needed()
        page.locator(f'[data-live="{name}"] .nk-front').wait_for()
    page.evaluate("scrollTo(0, 0)")
    settle(page)
    return page, asked, errors


@pytest.fixture(scope="module")
def front(chromium, folder):
    page, asked, errors = open_front(chromium, folder, 1500)
    yield page
    page.context.close()
    assert errors == [] and {url.partition(":")[0] for url in asked} <= {"file", "blob", "data"}
    assert {url.rpartition("/")[2] for url in asked if url.startswith("file:")} == {"index.html", "site.css", "site.js"}


def move(page, key, steps):
    """Walk a slider of the article with the arrow keys."""
    page.locator(f'[data-key="{key}"]').focus()
    for _ in range(abs(steps)):
        page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")
    settle(page)


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1500, "light"), (1500, "dark")])
def test_nothing_overlaps_is_cut_or_too_small_to_read(chromium, folder, width, scheme):
    page, _, errors = open_front(chromium, folder, width, scheme)
    found = page.evaluate(READABLE)
    dark = page.evaluate("document.body.dataset.jpThemeLight") == "false"
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    page.context.close()
    assert found == {"small": [], "over": [], "wide": 0} and errors == [] and dark == (scheme == "dark")
    assert paint < 1000


def test_the_one_slider_never_makes_both_gauges_green_and_the_button_does(front):
    places = lambda: front.locator(".nk-hero .nk-gauge").evaluate_all(  # noqa: E731
        "nodes => nodes.slice(0, 2).map((node) => node.dataset.place)"
    )
    dial, seen = front.locator(".nk-dial-input").first, set()
    dial.focus()
    front.keyboard.press("Home")
    for _ in range(150):
        settle(front)
        seen.add(tuple(places()))
        front.keyboard.press("ArrowRight")
    assert ("inside", "inside") not in seen and ("below", "below") in seen and ("above", "above") in seen
    assert any(a == "inside" for a, _ in seen) and any(b == "inside" for _, b in seen)
    front.get_by_role("button", name="Give each its own T").click()
    front.wait_for_timeout(400)
    assert places() == ["inside", "inside"]


def test_questions_are_answered_after_the_reader_has_chosen(front):
    question = front.locator(".predict").first
    assert not question.locator("details").is_visible()
    question.get_by_role("button", name="yes").click()
    assert question.locator(".verdict").inner_text() == "Not so."
    assert question.locator("details p").is_visible()
    question.get_by_role("button", name="no, the order stays").click()
    assert question.locator(".verdict").inner_text() == "Yes."


def test_the_race_can_be_scrubbed_and_played(front):
    replay = front.locator(".nk-replay")
    said = replay.locator(".nk-say")
    end = said.inner_text()
    assert "NormKD 45 %" in end and "KD 24 %" in end
    move(front, "replay", -120)
    half = said.inner_text()
    assert half != end and "NormKD 45 %" not in half
    replay.get_by_role("button", name="KD with NormKD’s step size").click()
    replay.get_by_role("button", name="Stop").wait_for()
    replay.get_by_role("button", name="Play").wait_for(timeout=15_000)
    assert said.inner_text().startswith("After 6,640 images: KD × 4.8 52 %, NormKD 45 %")


def test_the_students_scale_moves_kds_loss_and_not_normkds(front):
    pull = front.locator(".nk-pull")
    numbers = lambda: re.findall(r"-?\d+\.\d+", pull.locator(".nk-say").inner_text())  # noqa: E731
    pull.get_by_role("button", name="NormKD").click()
    move(front, "scale", 4)
    now, start, along_scale = map(float, numbers())
    assert now == start and along_scale == 0
    pull.get_by_role("button", name="KD, T = 6", exact=True).click()
    settle(front)
    now, start, along_scale = map(float, numbers())
    assert abs(now - start) > 0.02 * start and along_scale != 0
    parts = [float(cell.replace("−", "-")) for cell in pull.locator("td").all_inner_texts()]
    q, p, gap, weighted, along, gradient = parts
    assert gap == pytest.approx(q - p, abs=2e-3) and gradient == pytest.approx(weighted + along, abs=2e-3)


def test_clouds_lens_product_and_rounded_answers_follow_their_controls(front):
    clouds = front.locator(".nk-cloud-panel")
    ranges = lambda: clouds.evaluate_all("nodes => nodes.map((n) => [n.dataset.low, n.dataset.high])")  # noqa: E731
    assert ranges() == [["34", "71"], ["48", "59"]]
    move(front, "cloud", 10)
    assert ranges() == [["77", "93"], ["86", "88"]]
    assert "% are left" in front.locator(".nk-lens .nk-say").inner_text()
    move(front, "lens-T", 12)
    assert float(front.locator(".nk-lens .nk-gauge-number").inner_text()) > 1.4
    front.get_by_role("button", name="× std² = NormKD").click()
    settle(front)
    assert " × " in front.locator(".nk-product-row > b").first.inner_text()
    before = front.locator(".nk-rounded").inner_text()
    move(front, "digits", -2)
    assert "3 of 100" in front.locator(".nk-rounded").inner_text() != before


def test_two_classes_leave_normkd_nothing_to_pull(front):
    pulls = front.locator(".nk-twoclasses .nk-two-row > b")
    for _ in range(3):
        move(front, "gap", 2)
        kd, normkd = pulls.all_inner_texts()
        assert float(normkd) == 0 and (float(kd.replace("−", "-")) != 0)


def test_without_scripts_pictures_and_answers_are_there(chromium, folder):
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 1000, "height": 900})
    page = context.new_page()
    page.goto((folder / "index.html").as_uri())
    stills = page.locator(".still")
    assert [stills.nth(n).is_visible() for n in range(stills.count())] == [True] * 8
    assert page.locator(".predict summary").first.is_visible()
    context.close()
