"""Take README.md's pictures: open the real notebook in JupyterLab, run it, drag a slider, and photograph the page.

    python scripts/screenshots.py docs/images          needs Chromium on the machine (Debian: apt install chromium)

Notebook 02 is opened as it is and all its cells are run. The script fails if dragging T_norm changes no number, or if
the page logs a JavaScript error.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.helpers.browser import Lab  # noqa: E402  (the tests' own way of starting JupyterLab)

NAME = "02_normkd_training.ipynb"
SECONDS = 400


def open_notebook(lab: Lab, page: Page) -> None:
    """Open a copy of the notebook and run all its cells."""
    shutil.copy(ROOT / "notebooks" / NAME, lab.folder / NAME)
    page.goto(f"{lab.url}/lab/tree/{NAME}?token={lab.token}&reset")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=90_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def drag(page: Page, slider_name: str, value: float) -> None:
    """Drag a slider of the first explorer to a value with the mouse; the numbers must follow."""
    slider = page.get_by_role("slider", name=slider_name).first
    slider.scroll_into_view_if_needed()
    numbers = page.locator(".jp-OutputArea-output").filter(has=slider).first
    before = numbers.inner_text()
    box = slider.bounding_box()
    low, high = float(slider.get_attribute("min")), float(slider.get_attribute("max"))
    y = box["y"] + box["height"] / 2
    now = float(slider.input_value())

    def position(number: float) -> float:
        return box["x"] + 8 + (number - low) / (high - low) * (box["width"] - 16)

    page.mouse.move(position(now), y)
    page.mouse.down()
    page.mouse.move(position(value), y, steps=12)
    page.mouse.up()
    page.wait_for_timeout(200)
    if numbers.inner_text() == before:
        sys.exit(f"dragging {slider_name} changed nothing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the PNG files go")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        lab = Lab(Path(scratch))
        try:
            lab.wait()
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
            )
            page = browser.new_page(viewport={"width": 1280, "height": 1500})
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            open_notebook(lab, page)
            slider = page.get_by_role("slider", name="T_norm").first
            slider.wait_for(timeout=1000 * SECONDS)
            drag(page, "T_norm", 1.0)
            drag(page, "T_norm", 2.0)
            page.screenshot(path=folder / "explorer.png")
            # The stored outputs were cleared by running, so this line is there only once training is over.
            page.get_by_text("for every seed: True").wait_for(timeout=1000 * SECONDS)
            page.get_by_text("race = RaceView").first.evaluate("node => node.scrollIntoView({block: 'start'})")
            page.wait_for_timeout(2000)
            page.screenshot(path=folder / "results.png")
            browser.close()
            if errors:
                sys.exit("JavaScript errors: " + "; ".join(errors))
        finally:
            lab.stop()


if __name__ == "__main__":
    main()
