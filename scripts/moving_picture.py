"""Take README.md's moving picture: notebook 02's first output in JupyterLab, its T dragged, its button pressed.

    python scripts/moving_picture.py docs/images/hero.webp      needs Chromium on the machine

No position of T brings both gauges into the green band; a temperature for each does. The script fails if the page shows
otherwise, if it logs a JavaScript error, or if the file is larger than 2 MB.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.helpers.browser import Lab  # noqa: E402  (the tests' own way of starting JupyterLab)

CELL = """
from normkd_explore.training import get_preset, load_teacher, open_dataset
from normkd_explore.widgets import Hero
recipe = get_preset("glyphs/resnet20-resnet8")
dataset = open_dataset(recipe)
Hero.from_model(load_teacher(recipe.teacher, dataset), dataset, state={"T": 1.0})
"""
WIDTH, LIMIT = 760, 2_000_000
MOVE, REST = 90, 1600  # milliseconds that a frame stays: in motion, and where there is something to read
GREEN = '.nk-hero-sample:has(.nk-gauge[data-place="inside"])'

Frame = tuple[Image.Image, int]


def photograph(view: Locator) -> Image.Image:
    return Image.open(io.BytesIO(view.screenshot(animations="allow"))).convert("RGB")


def play(page: Page, view: Locator) -> Iterator[Frame]:
    """T from 1 to 10 and back to 4 with rests where one gauge is green, then the button."""
    slider = view.get_by_role("slider")
    rested: set[str] = set()
    for target in (10.0, 4.0):
        yield from drag(page, view, slider, target, rested)
    yield photograph(view), REST
    view.get_by_role("button", name="Give each its own T").click()
    for _ in range(4):  # the bars glide to their new lengths
        yield photograph(view), MOVE
    page.wait_for_timeout(400)
    if view.locator(GREEN).count() != 2:
        sys.exit("a temperature for each leaves a gauge outside the band")
    yield photograph(view), 2 * REST


def drag(page: Page, view: Locator, slider: Locator, target: float, rested: set[str]) -> Iterator[Frame]:
    """Three stops a frame, as a hand would move the slider; the first green of each gauge is rested on."""
    slider.focus()
    value = lambda: float(view.locator(".nk-dial-pin:not([hidden]) b").first.inner_text())  # noqa: E731
    upwards = value() < target
    while (value() < target) if upwards else (value() > target):
        for _ in range(3):
            page.keyboard.press("ArrowRight" if upwards else "ArrowLeft")
        page.wait_for_timeout(40)
        green = view.locator(GREEN).evaluate_all("nodes => nodes.map(node => node.getAttribute('aria-label'))")
        if len(green) == 2:
            sys.exit(f"T = {value()} brings both gauges into the band")
        new = set(green) - rested
        rested |= new
        yield photograph(view), REST if new else MOVE


def on_one_sheet(picture: Image.Image, pictures: tuple[Image.Image, ...]) -> Image.Image:
    """The picture at the top of a white sheet as large as the largest: a sentence may take a line more."""
    sheet = Image.new("RGB", tuple(map(max, *(other.size for other in pictures))), "white")
    sheet.paste(picture)
    return sheet


def write(frames: list[Frame], path: Path) -> None:
    """An animated WebP that repeats for ever."""
    pictures, times = zip(*frames, strict=True)
    pictures = [on_one_sheet(picture, pictures) for picture in pictures]
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures[0].save(path, append_images=pictures[1:], duration=times, loop=0, quality=80, method=6, save_all=True)
    size = path.stat().st_size
    print(f"{path}: {len(frames)} frames, {sum(times) / 1000:.0f} s, {size / 1e6:.2f} MB")
    if size > LIMIT:
        sys.exit(f"{path} is larger than {LIMIT / 1e6:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="the WebP file to write")
    path = parser.parse_args().path
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        lab = Lab(Path(scratch))
        try:
            lab.wait()
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
            )
            page = browser.new_page(viewport={"width": WIDTH + 400, "height": 1100})
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            lab.open(page, "hero.ipynb", [CELL])
            view = page.locator(".nk-hero").first
            failed = page.locator(".jp-RenderedText")
            view.or_(failed).first.wait_for(timeout=120_000)
            if not view.is_visible():
                sys.exit(failed.first.inner_text())
            view.evaluate("node => node.style.padding = '12px'")
            frames = list(play(page, view))
            browser.close()
            if errors:
                sys.exit("JavaScript errors: " + "; ".join(errors))
        finally:
            lab.stop()
    write(frames, path)


if __name__ == "__main__":
    main()
